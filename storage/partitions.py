"""One partition of `readings` per UTC day: made ahead, on demand for late rows, dropped whole."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import numpy as np

from domain.readings import Instants
from storage.connect import Connection, rows

DAY_US = 86_400_000_000
"""Microseconds of a UTC day; leap seconds do not exist in Unix time."""

type Days = set[date]

_EPOCH = date(1970, 1, 1)


def days_of(instants_us: Instants) -> tuple[date, ...]:
    """Return the UTC days that hold the instants, ascending.

    Args:
        instants_us: Shape (n,), microseconds UTC.
    """
    if not len(instants_us):
        return ()
    first, last = (int(edge) // DAY_US for edge in (instants_us.min(), instants_us.max()))
    # Nearly every batch lies within one day; only one that does not pays for sorting.
    numbers = [first] if first == last else np.unique(instants_us // DAY_US).tolist()
    return tuple(_EPOCH + timedelta(days=number) for number in numbers)


def ahead(now_us: int, *, days: int = 3) -> tuple[date, ...]:
    """Return yesterday, today and the given number of days to come."""
    today = _EPOCH + timedelta(days=now_us // DAY_US)
    return tuple(today + timedelta(days=offset) for offset in range(-1, days + 1))


def ensure(on: Connection, days: Iterable[date]) -> int:
    """Make the partitions that are missing; safe beside other processes that do the same.

    Returns:
        How many were made.
    """
    wanted = sorted(set(days))
    return int(rows(on, "SELECT ensure_readings_partitions(%s::date[])", (wanted,))[0][0])


def existing(on: Connection) -> tuple[date, ...]:
    """Return the days that have a partition, ascending."""
    found = rows(
        on,
        "SELECT inhrelid::regclass::text FROM pg_inherits "
        "WHERE inhparent = 'readings'::regclass ORDER BY 1",
    )
    return tuple(
        datetime.strptime(name.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC).date()
        for (name,) in found
    )
