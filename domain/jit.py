"""Compiled functions, typed.

Recurrences such as a gated baseline depend on their own past, so numpy cannot vectorise them over
time. numba compiles them; its decorator has no types, hence this one place that gives it some.
"""

from collections.abc import Callable
from typing import Any, cast

import numba


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
