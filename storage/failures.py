"""Labels: when a machine truly was going wrong, apart from the stream of readings."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values

from domain.errors import NotFoundError
from storage.connect import Connection, rows, translated
from storage.history import instant, microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One failure of one machine.

    Attributes:
        machine: Name of the machine.
        kind: Failure mode.
        source: Who says so: simulator, operator, file or feedback.
        onset_us: First instant of the failure, microseconds UTC.
        end_us: Last instant; None while it lasts.
        severity: 1 is the failure at its full strength.
        sensors: Names of the sensors that show it; may be empty.
        note: Free text.
        failed_us: When it no longer did its work, which is what risk foretells; None: at its onset.
        id: Number of the stored label; 0 before that.
    """

    machine: str
    kind: str
    source: str
    onset_us: int
    end_us: int | None = None
    severity: float = 1.0
    sensors: tuple[str, ...] = ()
    note: str = ""
    failed_us: int | None = None
    id: int = 0


def add(on: Connection, labels: Iterable[Label]) -> int:
    """Record labels; one that is there already is brought up to date.

    A label is the same as another of its machine, source, kind and onset.

    Returns:
        How many were recorded or changed.

    Raises:
        NotFoundError: A machine is not registered; nothing was recorded.
        BadInputError: A failure ends before its onset; nothing was recorded.
    """
    wanted = {(one.machine, one.source, one.kind, one.onset_us): one for one in labels}
    if not wanted:
        return 0
    keys = _keys(on, sorted({one.machine for one in wanted.values()}))
    with translated(), on.cursor() as cursor:
        execute_values(
            cursor,
            "INSERT INTO failures "
            "(machine_key, kind, source, onset, ended, failed, severity, sensors, note) VALUES %s "
            "ON CONFLICT (machine_key, source, kind, onset) DO UPDATE SET ended = excluded.ended, "
            "failed = excluded.failed, severity = excluded.severity, sensors = excluded.sensors, "
            "note = excluded.note",
            [
                (keys[one.machine], one.kind, one.source, instant(one.onset_us), *_facts(one))
                for one in wanted.values()
            ],
            template="(%s, %s, %s, %s, %s, %s, %s, %s::text[], %s)",
            page_size=len(wanted),
        )
    return len(wanted)


def record(on: Connection, label: Label) -> Label:
    """Record one label, as `add` does, and return it as it is stored.

    Raises:
        NotFoundError: The machine is not registered.
        BadInputError: It ends, or the machine failed, before its onset.
    """
    add(on, [label])
    found = rows(
        on,
        f"{_SELECT} WHERE m.name = %s AND f.source = %s AND f.kind = %s AND f.onset = %s",
        (label.machine, label.source, label.kind, instant(label.onset_us)),
    )
    return _label(found[0])


def get(on: Connection, number: int) -> Label:
    """Return one label.

    Raises:
        NotFoundError: There is none of this number.
    """
    found = rows(on, f"{_SELECT} WHERE f.id = %s", (number,))
    if not found:
        raise NotFoundError("label", str(number), "GET /api/v1/labels lists them")
    return _label(found[0])


def correct(on: Connection, number: int, label: Label) -> Label:
    """Replace what a label says; machine and source stay.

    Raises:
        NotFoundError: There is none of this number.
        BadInputError: It ends, or the machine failed, before its onset.
        ConflictError: Another label says the same already.
    """
    get(on, number)
    rows(
        on,
        "UPDATE failures SET kind = %s, onset = %s, ended = %s, failed = %s, severity = %s, "
        "sensors = %s::text[], note = %s, recorded_at = clock_timestamp() WHERE id = %s",
        (label.kind, instant(label.onset_us), *_facts(label), number),
    )
    return get(on, number)


def remove(on: Connection, number: int) -> None:
    """Take a label back.

    Raises:
        NotFoundError: There is none of this number.
    """
    if not rows(on, "DELETE FROM failures WHERE id = %s RETURNING 1", (number,)):
        raise NotFoundError("label", str(number), "GET /api/v1/labels lists them")


def recorded_since(on: Connection, machine_class: str, since: datetime) -> int:
    """Return how many labels of a class people gave or changed since a time."""
    found = rows(
        on,
        "SELECT count(*) FROM failures AS f JOIN machines AS m ON m.key = f.machine_key "
        "WHERE m.machine_class = %s AND f.source <> 'simulator' AND f.recorded_at > %s",
        (machine_class, since),
    )
    return int(found[0][0])


def fingerprint(on: Connection, machine_class: str) -> str:
    """Return what changes whenever a label of a class that has begun does; empty without labels."""
    found = rows(
        on,
        "SELECT f.id, f.kind, f.onset, f.ended, f.failed FROM failures AS f "
        "JOIN machines AS m ON m.key = f.machine_key WHERE m.machine_class = %s "
        "AND f.onset <= clock_timestamp() ORDER BY f.id",
        (machine_class,),
    )
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16] if found else ""


def listed(  # noqa: PLR0913 - keyword-only, each leaves something out
    on: Connection,
    *,
    machines: Sequence[str] | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
    after: int = 0,
    limit: int | None = None,
) -> list[Label]:
    """Return labels that touch a period, by onset.

    Args:
        on: A session.
        machines: Names; all machines by default.
        start_us: Leave out what ended before.
        end_us: Leave out what began at this instant or later.
        after: Only numbers above this one; then, or with a limit, by number instead of onset.
        limit: At most this many.
    """
    order = "f.onset, f.id" if not after and limit is None else "f.id"
    found = rows(
        on,
        f"{_SELECT} "
        "WHERE (%(machines)s::text[] IS NULL OR m.name = ANY(%(machines)s::text[])) "
        "AND (%(start)s::timestamptz IS NULL OR f.ended IS NULL OR f.ended >= %(start)s) "
        "AND (%(end)s::timestamptz IS NULL OR f.onset < %(end)s) AND f.id > %(after)s "
        f"ORDER BY {order} LIMIT %(limit)s",
        {
            "machines": None if machines is None else list(machines),
            "start": None if start_us is None else instant(start_us),
            "end": None if end_us is None else instant(end_us),
            "after": after,
            "limit": limit,
        },
    )
    return [_label(row) for row in found]


_SELECT = (
    "SELECT f.id, m.name, f.kind, f.source, f.onset, f.ended, f.failed, f.severity, f.sensors, "
    "f.note FROM failures AS f JOIN machines AS m ON m.key = f.machine_key"
)


def _facts(label: Label) -> tuple[Any, ...]:
    """Return the columns beside the key: ended, failed, severity, sensors, note."""
    return (
        None if label.end_us is None else instant(label.end_us),
        None if label.failed_us is None else instant(label.failed_us),
        label.severity,
        list(label.sensors),
        label.note,
    )


def _label(row: tuple[Any, ...]) -> Label:
    number, machine, kind, source, onset, ended, failed, severity, sensors, note = row
    return Label(
        id=number,
        machine=machine,
        kind=kind,
        source=source,
        onset_us=microseconds(onset),
        end_us=None if ended is None else microseconds(ended),
        failed_us=None if failed is None else microseconds(failed),
        severity=severity,
        sensors=tuple(sensors),
        note=note,
    )


def _keys(on: Connection, machines: list[str]) -> dict[str, int]:
    keys = dict(
        rows(on, "SELECT name, key FROM machines WHERE name = ANY(%s::text[])", (machines,))
    )
    if missing := [name for name in machines if name not in keys]:
        raise NotFoundError("machine", missing[0], "GET /api/v1/machines lists them")
    return keys
