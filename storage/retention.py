"""How long readings are kept: the owner says so in days, partitions are dropped whole.

With an archive nothing is dropped by its age alone. A day's partition is then held against writers,
copied, and dropped in the transaction that held it, if it has exactly as many rows as were copied.
"""

from dataclasses import dataclass
from datetime import date

from storage.connect import Connection, rows
from storage.history import instant

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
"""A partition is dropped under a lock that stops readers and writers: if it does not come soon,
the next round tries again, and nobody has waited long behind us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the owner said.

    Attributes:
        days: Whole days before today that are kept.
        archive: Folder for what is dropped; None to drop it for good.
    """

    days: int
    archive: str | None = None


def rule(on: Connection) -> Rule | None:
    """Return what the owner said; None: everything is kept, as nobody has said anything.

    History that is replayed may be years old: nothing is dropped that nobody asked to drop.
    """
    found = rows(on, "SELECT days, archive FROM retention")
    return Rule(days=int(found[0][0]), archive=found[0][1]) if found else None


def days(on: Connection) -> int | None:
    """Return how many whole days before today readings are kept; None: all."""
    found = rule(on)
    return found.days if found else None


def set_days(on: Connection, number: int, archive: str | None = None) -> None:
    """Keep readings of so many whole days before today.

    Args:
        on: A session.
        number: Days; at least 1.
        archive: Folder that every consumer reaches, for what is dropped; None for no archive.

    Raises:
        BadInputError: It is less than one day.
    """
    rows(
        on,
        "INSERT INTO retention (one, days, archive) VALUES (1, %s, %s) "
        "ON CONFLICT (one) DO UPDATE SET days = excluded.days, archive = excluded.archive",
        (number, archive),
    )


def turn_off(on: Connection) -> None:
    """Keep everything from now on."""
    rows(on, "DELETE FROM retention")


def due(on: Connection, now_us: int) -> tuple[date, ...]:
    """Return the days that are stored and older than what is kept, ascending."""
    found = rows(on, "SELECT readings_days_past_retention(%s)", (instant(now_us),))
    return tuple(day for (day,) in found)


def apply(on: Connection, now_us: int) -> tuple[date, ...]:
    """Drop the days that are older than what is kept, unless there is an archive; rollups stay.

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


def alone(on: Connection) -> bool:
    """Say whether this transaction is the only one that archives, until it ends."""
    locked = rows(on, "SELECT pg_try_advisory_xact_lock(hashtext('millwright archive'))")
    return bool(locked[0][0])


def hold(on: Connection, day: date) -> None:
    """Keep writers out of a day until the transaction ends; readers go on.

    Raises:
        ServiceUnavailableError: Somebody writes to it just now; try again later.
    """
    rows(on, _LOCK_TIMEOUT)
    rows(on, "SELECT hold_readings_day(%s)", (day,))


def drop_archived(on: Connection, day: date, archived: int, now_us: int) -> bool:
    """Drop a day that was archived; return whether it was.

    It is not if it is to be kept, or if its rows are not as many as were archived.

    Args:
        on: The session that holds the day.
        day: Which.
        archived: Readings of it that are in the archive.
        now_us: The present, microseconds UTC; never later than the server's own clock.

    Raises:
        ServiceUnavailableError: Somebody uses it; try again later.
    """
    found = rows(
        on,
        "SELECT drop_archived_readings_day(%s, %s, %s)",
        (day, archived, instant(now_us)),
    )
    return bool(found[0][0])
