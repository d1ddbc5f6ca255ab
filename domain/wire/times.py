"""RFC 3339 instants to and from microseconds."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from domain.readings import Instants

MAX_FRACTION = 30
"""Digits of a second that are read; no clock has more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_LENGTH = len("2026-01-02T03:04:05.123456Z")


def parse_instant(text: str) -> int:
    """Return microseconds UTC of an RFC 3339 instant; finer digits are cut off, not rounded.

    Raises:
        ValueError: It is no such instant, or names no offset from UTC; the message says which.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("is not RFC 3339 with an offset, such as 2026-01-02T03:04:05.123456Z")
    date, clock, fraction, offset = match.groups()
    if len(fraction or "") > MAX_FRACTION:
        raise ValueError(f"has more than {MAX_FRACTION} digits of a second")
    micros = (fraction or "")[:6].ljust(6, "0")
    instant = datetime.fromisoformat(f"{date}T{clock}.{micros}{offset.upper()}")
    return (instant - _EPOCH) // _MICROSECOND


def format_instants(instants_us: Instants) -> list[bytes]:
    """Return each instant as RFC 3339 with six digits and `Z`.

    Args:
        instants_us: Shape (n,), microseconds UTC of the years 0001 to 9999.
    """
    whole = instants_text(instants_us).tobytes()
    return [whole[at : at + _LENGTH] for at in range(0, len(whole), _LENGTH)]


def instants_text(instants_us: Instants) -> npt.NDArray[np.uint8]:
    """Return each instant's bytes as `format_instants` does; shape (n, 27)."""
    moments = instants_us.view("M8[us]")
    days = moments.astype("M8[D]")
    months = days.astype("M8[M]")
    years = months.astype("M8[Y]")
    in_day = (moments - days).astype(np.int64)
    text = np.empty((len(instants_us), _LENGTH), dtype=np.uint8)
    text[:] = np.frombuffer(b"0000-00-00T00:00:00.000000Z", dtype=np.uint8)
    _digits(text, 0, 4, years.astype(np.int64) + 1970)
    _digits(text, 5, 2, (months - years).astype(np.int64) + 1)
    _digits(text, 8, 2, (days - months.astype("M8[D]")).astype(np.int64) + 1)
    _digits(text, 11, 2, in_day // 3_600_000_000)
    _digits(text, 14, 2, in_day // 60_000_000 % 60)
    _digits(text, 17, 2, in_day // 1_000_000 % 60)
    _digits(text, 20, 6, in_day % 1_000_000)
    return text


def format_instant(instant_us: int) -> str:
    """Return one instant as RFC 3339 with six digits and `Z`."""
    # The columns of `format_instants` cost ten times as much for a single one.
    try:
        moment = _EPOCH + timedelta(microseconds=instant_us)
    except OverflowError:
        # Beyond the calendar's years, as a broken clock may be; the message about it shows it.
        return format_instants(np.array([instant_us], dtype=np.int64))[0].decode()
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _digits(
    text: npt.NDArray[np.uint8], at: int, width: int, numbers: npt.NDArray[np.int64]
) -> None:
    for place in range(width - 1, -1, -1):
        text[:, at + place] += (numbers % 10).astype(np.uint8)
        numbers = numbers // 10
