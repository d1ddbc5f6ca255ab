"""How long readings are kept: the owner says so in days, partitions are dropped whole."""

from datetime import date

from storage.connect import Connection, rows
from storage.history import instant

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
"""A partition is dropped under a lock that stops readers and writers: if it does not come soon,
the next round tries again, and nobody has waited long behind us."""


def days(on: Connection) -> int | None:
    """Return how many whole days before today readings are kept; None: all, as nobody has said.

    History that is replayed may be years old: nothing is dropped that nobody asked to drop.
    """
    found = rows(on, "SELECT days FROM retention")
    return int(found[0][0]) if found else None


def set_days(on: Connection, number: int) -> None:
    """Keep readings of so many whole days before today.

    Raises:
        BadInputError: It is less than one day.
    """
    rows(
        on,
        "INSERT INTO retention (one, days) VALUES (1, %s) "
        "ON CONFLICT (one) DO UPDATE SET days = excluded.days",
        (number,),
    )


def apply(on: Connection, now_us: int) -> tuple[date, ...]:
    """Drop the days that are older than what is kept; their rollups stay.

    Args:
        on: A session; the partitions are gone when its transaction is committed.
        now_us: The present, microseconds UTC; never later than the server's own clock.

    Returns:
        The days that were dropped, ascending.

    Raises:
        ServiceUnavailableError: Somebody uses them; try again later.
    """
    rows(on, _LOCK_TIMEOUT)
    found = rows(on, "SELECT apply_readings_retention(%s)", (instant(now_us),))
    return tuple(found[0][0])
