"""Windows of maintenance, and all that is known of single machines beside their model."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.care import Care, Window
from domain.errors import BadInputError, ConflictError, NotFoundError
from storage.connect import Connection, rows
from storage.history import microseconds

_KEPT_DAYS = 30
"""Readings that are scored later than this after a window were forgotten by everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceRow:
    """One window, in the time of readings.

    Attributes:
        id: Its number.
        machine: Name of the machine; None where a class is meant.
        machine_class: Name of the class; None where one machine is meant.
        starts: First instant.
        ends: Last instant; None until somebody ends it.
        active: Whether it is on now.
        note: Why.
        created_by: Who entered it.
        created_at: When.
    """

    id: int
    machine: str | None
    machine_class: str | None
    starts: datetime
    ends: datetime | None
    active: bool
    note: str
    created_by: str
    created_at: datetime


def add(  # noqa: PLR0913 - keyword-only
    on: Connection,
    *,
    machine: str | None = None,
    machine_class: str | None = None,
    starts: datetime | None = None,
    ends: datetime | None = None,
    note: str = "",
    who: str,
) -> MaintenanceRow:
    """Enter a window.

    Args:
        on: A session.
        machine: Of this machine, or...
        machine_class: ...of all machines of this class.
        starts: With a zone; now by default.
        ends: With a zone; until it is ended by default.
        note: Why.
        who: Who enters it.

    Raises:
        BadInputError: Both or neither of machine and class, or it ends before it starts.
        NotFoundError: There is no such machine or class.
    """
    if (machine is None) == (machine_class is None):
        raise BadInputError("name a machine or a class, one of the two", "maintenance")
    if starts is not None and ends is not None and ends < starts:
        raise BadInputError(f"it ends at {ends} and starts at {starts}", "maintenance")
    key = _machine_key(on, machine) if machine is not None else None
    if machine_class is not None and not rows(
        on, "SELECT FROM machine_classes WHERE name = %s", (machine_class,)
    ):
        raise NotFoundError("machine class", machine_class[:128], "GET /api/v1/machines names them")
    made = rows(
        on,
        "INSERT INTO maintenance (machine_key, machine_class, starts, ends, note, created_by)"
        " SELECT %(key)s, %(class)s, s.at, %(ends)s, %(note)s, %(who)s"
        " FROM (SELECT coalesce(%(starts)s::timestamptz, clock_timestamp()) AS at) AS s"
        " WHERE %(ends)s::timestamptz IS NULL OR %(ends)s::timestamptz >= s.at RETURNING id",
        {"key": key, "class": machine_class, "starts": starts, "ends": ends}
        | {"note": note, "who": who},
    )
    if not made:
        raise BadInputError(f"it ends at {ends}, which has passed", "maintenance", "Say its start")
    return show(on, made[0][0])


def end(on: Connection, number: int) -> MaintenanceRow:
    """End a window now.

    Raises:
        NotFoundError: There is none of this number.
        ConflictError: It has ended, or has not begun.
    """
    known = show(on, number)
    ended = rows(
        on,
        "UPDATE maintenance SET ends = clock_timestamp() WHERE id = %s"
        " AND starts <= clock_timestamp() AND (ends IS NULL OR ends > clock_timestamp())"
        " RETURNING 1",
        (number,),
    )
    if not ended:
        raise ConflictError(
            f"maintenance {number} is not on now: from {known.starts} to {known.ends or 'no end'}"
        )
    return show(on, number)


def listed(
    on: Connection,
    *,
    active: bool | None = None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[MaintenanceRow, ...]:
    """Return windows, the newest first.

    Args:
        on: A session.
        active: Only those that are on now, or only the others.
        before: Only numbers below this one.
        limit: At most this many.
    """
    found = rows(
        on,
        f"SELECT * FROM ({_SELECT}) AS w WHERE (%(active)s::boolean IS NULL"  # noqa: S608 - constant
        " OR active = %(active)s) AND (%(before)s::bigint IS NULL OR id < %(before)s)"
        " ORDER BY id DESC LIMIT %(limit)s",
        {"active": active, "before": before, "limit": limit},
    )
    return tuple(_row(row) for row in found)


def show(on: Connection, number: int) -> MaintenanceRow:
    """Return one window.

    Raises:
        NotFoundError: There is none of this number.
    """
    found = rows(on, f"{_SELECT} WHERE w.id = %s", (number,))
    if not found:
        raise NotFoundError("maintenance", str(number), "`millwright maintenance list` shows them")
    return _row(found[0])


def care(on: Connection) -> dict[str, Care]:
    """Return machine → what is its own: moved limits and maintenance; others have nothing."""
    factors: dict[str, dict[str, float]] = {}
    for name, sensor, factor in rows(
        on,
        "SELECT m.name, l.sensor, l.factor FROM sensor_limits AS l"
        " JOIN machines AS m ON m.key = l.machine_key ORDER BY m.name, l.sensor",
    ):
        factors.setdefault(name, {})[sensor] = float(factor)
    windows: dict[str, list[Window]] = {}
    for name, starts, ends in rows(
        on,
        "SELECT m.name, w.starts, w.ends FROM maintenance AS w JOIN machines AS m"
        " ON m.key = w.machine_key OR m.machine_class = w.machine_class"
        " WHERE w.ends IS NULL OR w.created_at > clock_timestamp() - make_interval(days => %s)"
        " ORDER BY m.name, w.id",
        (_KEPT_DAYS,),
    ):
        one = Window(
            starts_us=microseconds(starts), ends_us=None if ends is None else microseconds(ends)
        )
        windows.setdefault(name, []).append(one)
    return {
        name: Care(factors=factors.get(name, {}), windows=tuple(windows.get(name, ())))
        for name in factors.keys() | windows.keys()
    }


_SELECT = (
    "SELECT w.id, m.name, w.machine_class, w.starts, w.ends, w.starts <= clock_timestamp()"
    " AND (w.ends IS NULL OR w.ends > clock_timestamp()) AS active, w.note, w.created_by,"
    " w.created_at FROM maintenance AS w LEFT JOIN machines AS m ON m.key = w.machine_key"
)


def _row(row: tuple[Any, ...]) -> MaintenanceRow:
    return MaintenanceRow(**dict(zip(MaintenanceRow.__dataclass_fields__, row, strict=True)))


def _machine_key(on: Connection, name: str) -> int:
    found = rows(on, "SELECT key FROM machines WHERE name = %s", (name,))
    if not found:
        raise NotFoundError("machine", name[:128], "GET /api/v1/machines lists them")
    return int(found[0][0])
