"""Windows of maintenance, and at their end the word that a machine was repaired."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.errors import BadInputError, ConflictError, NotFoundError
from storage.connect import Connection, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceRow:
    """One window, in the time of readings.

    Attributes:
        id: Its number.
        machine: Name of the machine; None where a class is meant.
        machine_class: Name of the class; None where one machine is meant.
        starts: First instant.
        ends: Last instant; None until somebody ends it.
        learn_anew: Whether the machine was repaired, so that its level is learnt anew from the end.
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
    learn_anew: bool
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
    learn_anew: bool = False,
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
        learn_anew: The machine was repaired: from `ends` on its level is learnt anew. Nobody knows
            that before, so that the end must have come.
        note: Why.
        who: Who enters it.

    Raises:
        BadInputError: Both or neither of machine and class, it ends before it starts, or the level
            is to be learnt anew after an end that is not there or has not come.
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
    if learn_anew:
        _check_over(on, ends)
    made = rows(
        on,
        "INSERT INTO maintenance (machine_key, machine_class, starts, ends, learn_anew, note,"
        " created_by) SELECT %(key)s, %(class)s, s.at, %(ends)s, %(anew)s, %(note)s, %(who)s"
        " FROM (SELECT coalesce(%(starts)s::timestamptz, clock_timestamp()) AS at) AS s"
        " WHERE %(ends)s::timestamptz IS NULL OR %(ends)s::timestamptz >= s.at RETURNING id",
        {"key": key, "class": machine_class, "starts": starts, "ends": ends}
        | {"anew": learn_anew, "note": note, "who": who},
    )
    if not made:
        raise BadInputError(f"it ends at {ends}, which has passed", "maintenance", "Say its start")
    return show(on, made[0][0])


def repaired(  # noqa: PLR0913 - keyword-only
    on: Connection,
    *,
    machine: str | None = None,
    machine_class: str | None = None,
    at: datetime | None = None,
    note: str = "",
    who: str,
) -> MaintenanceRow:
    """Say that a machine was repaired and its level is to be learnt anew; a window without length.

    Args:
        on: A session.
        machine: This machine, or...
        machine_class: ...all machines of this class.
        at: Since when, with a zone; now by default.
        note: Why.
        who: Who says so.

    Raises:
        BadInputError: Both or neither of machine and class, or the instant has not come.
        NotFoundError: There is no such machine or class.
    """
    since: datetime = at or rows(on, "SELECT clock_timestamp()")[0][0]
    return add(
        on,
        machine=machine,
        machine_class=machine_class,
        starts=since,
        ends=since,
        learn_anew=True,
        note=note,
        who=who,
    )


def keep_level(on: Connection, number: int) -> MaintenanceRow:
    """Take back that the level is to be learnt anew; what was judged by it stays as it is.

    Raises:
        NotFoundError: There is none of this number.
        ConflictError: Nobody said so of it.
    """
    show(on, number)
    if not rows(
        on,
        "UPDATE maintenance SET learn_anew = false WHERE id = %s AND learn_anew RETURNING 1",
        (number,),
    ):
        raise ConflictError(f"nobody said that the level is learnt anew after maintenance {number}")
    return show(on, number)


def end(on: Connection, number: int, *, learn_anew: bool = False) -> MaintenanceRow:
    """End a window now.

    Args:
        on: A session.
        number: Of the window.
        learn_anew: The machine was repaired: its level is learnt anew from now on.

    Raises:
        NotFoundError: There is none of this number.
        ConflictError: It has ended, or has not begun.
    """
    known = show(on, number)
    ended = rows(
        on,
        "UPDATE maintenance SET ends = clock_timestamp(), learn_anew = %s WHERE id = %s"
        " AND starts <= clock_timestamp() AND (ends IS NULL OR ends > clock_timestamp())"
        " RETURNING 1",
        (learn_anew, number),
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


_SELECT = (
    "SELECT w.id, m.name, w.machine_class, w.starts, w.ends, w.learn_anew,"
    " w.starts <= clock_timestamp() AND (w.ends IS NULL OR w.ends > clock_timestamp()) AS active,"
    " w.note, w.created_by, w.created_at"
    " FROM maintenance AS w LEFT JOIN machines AS m ON m.key = w.machine_key"
)


def _row(row: tuple[Any, ...]) -> MaintenanceRow:
    return MaintenanceRow(**dict(zip(MaintenanceRow.__dataclass_fields__, row, strict=True)))


def _check_over(on: Connection, ends: datetime | None) -> None:
    """Raise where an end after which the level is learnt anew is not there or has not come."""
    if ends is None:
        raise BadInputError(
            "the level is learnt anew from the end on, and there is none",
            "maintenance",
            "Say it when it ends: `millwright maintenance end ID --learn-anew`",
        )
    if rows(on, "SELECT %s::timestamptz > clock_timestamp()", (ends,))[0][0]:
        raise BadInputError(
            f"the level is to be learnt anew from {ends} on, which has not come",
            "maintenance",
            "Say it when the machine is repaired",
        )


def _machine_key(on: Connection, name: str) -> int:
    found = rows(on, "SELECT key FROM machines WHERE name = %s", (name,))
    if not found:
        raise NotFoundError("machine", name[:128], "GET /api/v1/machines lists them")
    return int(found[0][0])
