"""Doubles to their shortest decimal text, compiled, for those that a sensor sends.

A double nearest to a decimal of at most 15 digits is written as that decimal: no other one of so
few digits is nearer (IEEE 754, DBL_DIG). Whoever measures writes such numbers; what comes out of a
formula has 17 digits and is left to a general encoder.
"""

from typing import Any

import numpy as np

from domain.jit import njit_uncounted
from domain.wire.numbers import Bytes

LONGEST = 20
"""Bytes of the longest number written here: a sign, 15 digits, a point, and zeros before them."""

_SMALLEST, _LARGEST = 1e-5, 1e9
"""Beyond these other encoders turn to exponents, sooner or later."""

_FEW_DIGITS = 1e15
_TENS = 10.0 ** np.arange(16)
_WHOLE_TENS = 10 ** np.arange(16, dtype=np.int64)
_TRIES = np.array([3, 6, 10])
"""Decimals to try. One try suffices for most; zeros at the end are cut off afterwards."""


@njit_uncounted
def write_number(text: Bytes, at: int, value: float) -> int:
    """Write a finite double.

    Args:
        text: Where to write; `LONGEST` bytes are left.
        at: Where to begin.
        value: The number.

    Returns:
        Where the text ends, or -1 if the number is not ours to write.
    """
    if value == 0.0:
        return _write(text, _sign(text, at, 1.0 / value), 0, 0)
    size = abs(value)
    if not _SMALLEST <= size < _LARGEST:
        return -1
    for decimals in _TRIES:
        whole = np.floor(size * _TENS[decimals] + 0.5)
        if whole < _FEW_DIGITS and whole / _TENS[decimals] == size:
            return _write(text, _sign(text, at, value), np.int64(whole), decimals)
    return -1


@njit_uncounted
def write_integer(text: Bytes, at: int, number: int, width: int) -> int:
    """Write a number >= 0 with zeros before it up to a width; return where it ends."""
    digits = 1
    while digits < 19 and number >= 10**digits:
        digits += 1
    end = at + max(width, digits)
    for place in range(end - 1, at - 1, -1):
        text[place] = 48 + number % 10
        number //= 10
    return end


@njit_uncounted
def _sign(text: Bytes, at: int, value: float) -> int:
    if value < 0:
        text[at] = 45  # -
        return at + 1
    return at


@njit_uncounted
def _write(text: Bytes, at: int, number: Any, decimals: int) -> int:
    while decimals > 1 and number % 10 == 0:
        number //= 10
        decimals -= 1
    scale = _WHOLE_TENS[decimals]
    end = write_integer(text, at, number // scale, 1)
    text[end] = 46  # .
    return write_integer(text, end + 1, number % scale, max(1, decimals))
