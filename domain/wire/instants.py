"""RFC 3339 text to microseconds, compiled; anything but UTC as `Z` is left to the arbiter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from domain.jit import njit_uncounted
from domain.readings import Instants
from domain.wire.numbers import Bytes, read_digits
from domain.wire.times import MAX_FRACTION, parse_instant

_MANY = 8
"""Fewer instants are read before the compiled reader is called."""

_LAYOUT = np.frombuffer(b'"0000-00-00T00:00:00', dtype=np.uint8)


def parse_instants(texts: Sequence[str]) -> Instants:
    """Return what `parse_instant` gives for each; if all are UTC as `Z`, many times as fast.

    Raises:
        ValueError: One is no such instant.
        OverflowError: One is, but is out of the calendar in UTC.
    """
    found = np.empty(len(texts), dtype=np.int64)
    if len(texts) >= _MANY:
        lines = '"' + '"\n"'.join(texts) + '"\n'
        if read_instants(np.frombuffer(lines.encode(errors="replace"), dtype=np.uint8), found):
            return found
    found[:] = [parse_instant(text) for text in texts]
    return found


@njit_uncounted
def read_instant(text: Bytes, at: int) -> Any:
    """Read a quoted RFC 3339 instant in UTC, as `times.parse_instant` would.

    Args:
        text: Bytes; a newline ends the message.
        at: Where the opening quote should be.

    Returns:
        Microseconds UTC and where the text ends; (0, -1) if it is no instant or has an offset.
    """
    for place in range(len(_LAYOUT)):
        digit = 48 <= text[at + place] <= 57
        if not digit if _LAYOUT[place] == 48 else text[at + place] != _LAYOUT[place]:
            return 0, -1
    year, month, day = _number(text, at + 1, 4), _number(text, at + 6, 2), _number(text, at + 9, 2)
    hour, minute = _number(text, at + 12, 2), _number(text, at + 15, 2)
    second = _number(text, at + 18, 2)
    if year < 1 or not 1 <= month <= 12 or not 1 <= day <= _length(year, month):
        return 0, -1
    if hour > 23 or minute > 59 or second > 59:
        return 0, -1
    micros, at = _fraction(text, at + len(_LAYOUT))
    if at < 0 or text[at] != 90 or text[at + 1] != 34:  # Z"
        return 0, -1
    seconds = ((_day(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return seconds * 1_000_000 + micros, at + 2


@njit_uncounted
def read_instants(text: Bytes, instants: Instants) -> bool:
    """Read quoted instants, each on a line of its own, as many as `instants` has places.

    Args:
        text: Bytes that end with a newline.
        instants: Shape (n,), filled with microseconds UTC.

    Returns:
        Whether the text holds just so many, all of them in UTC.
    """
    at = 0
    for index in range(len(instants)):
        if at >= len(text):
            return False
        instant, at = read_instant(text, at)
        if at < 0 or text[at] != 10:
            return False
        instants[index] = instant
        at += 1
    return at == len(text)


@njit_uncounted
def _fraction(text: Bytes, at: int) -> Any:
    """Return microseconds, finer digits cut off, and where the fraction ends."""
    if text[at] != 46:  # .
        return 0, at
    _, end = read_digits(text, at + 1, 0)
    digits = end - at - 1
    if digits < 1 or digits > MAX_FRACTION:
        return 0, -1
    micros = _number(text, at + 1, min(digits, 6))
    for _ in range(digits, 6):
        micros *= 10
    return micros, end


@njit_uncounted
def _number(text: Bytes, at: int, count: int) -> int:
    number = 0
    for place in range(at, at + count):
        number = number * 10 + int(text[place]) - 48
    return number


@njit_uncounted
def _length(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@njit_uncounted
def _day(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 of the Gregorian calendar, with years that begin in March."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
