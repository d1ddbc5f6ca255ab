"""Decimal text to the nearest double, compiled.

Short numbers take Clinger's exact path; longer ones the algorithm of Lemire, "Number parsing at a
gigabyte per second" (2021), after Eisel. What neither settles is left to the arbiter.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from domain.jit import njit_uncounted

type Bytes = npt.NDArray[np.uint8]
MAX_POWER = 80
"""Powers of ten from -80 to 80 are tabulated: more than any sensor's unit spans."""


def _powers_of_five() -> npt.NDArray[np.uint64]:
    """Return 128 leading bits of each power of five, rounded as the paper's appendix says."""
    table = np.empty((2 * MAX_POWER + 1, 2), dtype=np.uint64)
    for power in range(-MAX_POWER, MAX_POWER + 1):
        five = 5 ** abs(power)
        if power >= 0:
            leading = five << 128 >> five.bit_length()
        else:
            leading = (1 << 2 * five.bit_length() + 128) // five + 1
            leading >>= leading.bit_length() - 128
        table[power + MAX_POWER] = leading >> 64, leading & 0xFFFF_FFFF_FFFF_FFFF
    return table


_MAX_DIGITS = 18
"""So many digits fit into 64 bits; a double's shortest text has at most 17."""

_EXACT = 1 << 53
"""Integers up to here are doubles."""

_FIVES = _powers_of_five()
_TENS = 10.0 ** np.arange(23)


class Cell(NamedTuple):
    """Where a number is put: one place, seen as a double and as its bits.

    Attributes:
        number: Shape (1,).
        bits: The same memory.
    """

    number: npt.NDArray[np.float64]
    bits: npt.NDArray[np.uint64]


@njit_uncounted
def read_number(text: Bytes, at: int, cell: Cell) -> int:
    """Read a JSON number into a cell.

    Args:
        text: Bytes; what follows the number must not be a digit.
        at: Where the number begins.
        cell: Where to put it.

    Returns:
        Where the number ends, or -1 if it is not one or not ours to settle.
    """
    negative = text[at] == 45  # -
    first = at + negative
    mantissa, at = read_digits(text, first, 0)
    power, whole = 0, text[at] != 46  # .
    if at == first or (at > first + 1 and text[first] == 48):
        return -1
    if not whole:
        begin = at + 1
        mantissa, at = read_digits(text, begin, mantissa)
        power = begin - at
        if power == 0:
            return -1
    if at - first > _MAX_DIGITS and _significant(text, first, at) > _MAX_DIGITS:
        return -1
    if text[at] == 101 or text[at] == 69:  # e, E
        whole = False
        exponent, at = _exponent(text, at + 1)
        power += exponent
    if mantissa == 0:
        # -0 is an integer, which has no negative zero.
        cell.number[0] = -0.0 if negative and not whole else 0.0
    elif mantissa <= _EXACT and -22 <= power <= 22:
        number = float(-mantissa if negative else mantissa)
        cell.number[0] = number / _TENS[-power] if power < 0 else number * _TENS[power]
    elif -MAX_POWER <= power <= MAX_POWER:
        found = nearest(np.uint64(mantissa), power)
        cell.bits[0] = found | np.uint64(negative) << np.uint64(63)
        at = at if found else -1
    else:
        at = -1
    return at


@njit_uncounted
def read_digits(text: Bytes, at: int, number: int) -> Any:
    """Return a number with the digits that follow appended, and where they end."""
    while True:
        digit = int(text[at]) - 48  # signed on purpose: five times as fast as unsigned
        if digit < 0 or digit > 9:
            return number, at
        number = number * 10 + digit
        at += 1


@njit_uncounted
def _significant(text: Bytes, at: int, end: int) -> int:
    """Return how many digits there are after leading zeros."""
    while at < end and (text[at] == 48 or text[at] == 46):
        at += 1
    return end - at


@njit_uncounted
def _exponent(text: Bytes, at: int) -> Any:
    """Return a signed exponent and where it ends, -1 if there is none or it is too long."""
    down = text[at] == 45
    if down or text[at] == 43:  # -, +
        at += 1
    exponent, end = read_digits(text, at, 0)
    return -exponent if down else exponent, end if 0 < end - at < 9 else -1


@njit_uncounted
def nearest(mantissa: Any, power: int) -> Any:
    """Return the bits of the double nearest to mantissa * 10**power, 0 where that is undecided."""
    one, zeros = np.uint64(1), 0
    while mantissa < np.uint64(0x8000_0000_0000_0000):
        mantissa <<= one
        zeros += 1
    high, low = _product(mantissa, _FIVES[power + MAX_POWER, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        carry, _ = _product(mantissa, _FIVES[power + MAX_POWER, 1])
        low += carry
        if low < carry:
            high += one
    if low == np.uint64(0xFFFF_FFFF_FFFF_FFFF) and (power < -27 or power > 55):
        return np.uint64(0)
    upper = high >> np.uint64(63)
    shift = upper + np.uint64(9)
    found = high >> shift
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - zeros + 1023
    if exponent <= 0:
        return np.uint64(0)
    if low <= one and -4 <= power <= 23 and found & np.uint64(3) == one and found << shift == high:
        found &= ~one  # exactly between two doubles: to the even one
    found = (found + (found & one)) >> one
    if found >= np.uint64(1 << 53):
        found = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 2047:
        return np.uint64(0)
    return (found & ~np.uint64(1 << 52)) | (np.uint64(exponent) << np.uint64(52))


@njit_uncounted
def _product(one: Any, other: Any) -> Any:
    """Return both halves of a product of two 64-bit numbers."""
    half, mask = np.uint64(32), np.uint64(0xFFFF_FFFF)
    low = (one & mask) * (other & mask)
    left, right = (one >> half) * (other & mask), (one & mask) * (other >> half)
    middle = (low >> half) + (left & mask) + (right & mask)
    high = (one >> half) * (other >> half) + (left >> half) + (right >> half) + (middle >> half)
    return high, (middle << half) | (low & mask)
