"""Compiled functions, typed.

Recurrences such as a gated baseline depend on their own past, so numpy cannot vectorise them over
time. numba compiles them; its decorator has no types, hence this one place that gives it some.
"""

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np
import numpy.typing as npt
from numba.core import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

type Words = npt.NDArray[np.float64]
"""One state's memory, 8 bytes a word; its arrays are parts of it."""

type Addresses = npt.NDArray[np.int64]


def njit[F: Callable[..., Any]](function: F) -> F:
    """Compile `function` to machine code at its first call, cached beside its source.

    Floating-point order is kept (no fastmath): a stream and a backtest must agree to the last bit.
    """
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def njit_uncounted[F: Callable[..., Any]](function: F) -> F:
    """Compile as `njit` does, without reference counts; for code that creates no array.

    Passing arrays from function to function otherwise costs an atomic increment and decrement of
    each, which tripled the time of a scanner made of small functions. A function that creates an
    array fails to compile, at its first call.
    """
    compiled = numba.njit(  # type: ignore[call-overload]  # its stubs leave _nrt out
        cache=True, nogil=True, error_model="numpy", _nrt=False
    )
    return cast("F", compiled(function))


def addresses_of(blocks: list[Words], words: int) -> Addresses:
    """Return where blocks lie, so that one call of compiled code can go through many of them.

    Compiled code cannot read a list of arrays without a copy of each, and a call for each costs
    more than its work. Whoever passes addresses on must hold the blocks meanwhile.

    Args:
        blocks: Shape (words,) each.
        words: What compiled code takes a block to be.

    Raises:
        ValueError: A block has another size: reading it would be reading something else.
    """
    if any(len(block) != words for block in blocks):
        raise ValueError(f"a state has not the {words} words of this model: it is of another one")
    found = [block.__array_interface__["data"][0] for block in blocks]
    return np.array(found, dtype=np.int64)


def _to_pointer(_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    kind: Any = types.CPointer
    return kind(types.float64)(address), generate


_pointer = cast("Callable[[int], Any]", intrinsic(_to_pointer))


@njit
def block_at(address: int, words: int) -> Words:
    """Return the block at an address; for compiled code alone."""
    block: Words = carray(_pointer(address), (words,))
    return block
