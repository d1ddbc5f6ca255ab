"""Labels: when a machine truly was going wrong, apart from the stream of readings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    """

    machine: str
    kind: str
    source: str
    onset_us: int
    end_us: int | None = None
    severity: float = 1.0
    sensors: tuple[str, ...] = ()
    note: str = ""


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
            "(machine_key, kind, source, onset, ended, severity, sensors, note) VALUES %s "
            "ON CONFLICT (machine_key, source, kind, onset) DO UPDATE SET ended = excluded.ended, "
            "severity = excluded.severity, sensors = excluded.sensors, note = excluded.note",
            [
                (
                    keys[one.machine],
                    one.kind,
                    one.source,
                    instant(one.onset_us),
                    None if one.end_us is None else instant(one.end_us),
                    one.severity,
                    list(one.sensors),
                    one.note,
                )
                for one in wanted.values()
            ],
            template="(%s, %s, %s, %s, %s, %s, %s::text[], %s)",
            page_size=len(wanted),
        )
    return len(wanted)


def listed(
    on: Connection,
    *,
    machines: Sequence[str] | None = None,
    start_us: int | None = None,
    end_us: int | None = None,
) -> list[Label]:
    """Return labels that touch a period, by onset.

    Args:
        on: A session.
        machines: Names; all machines by default.
        start_us: Leave out what ended before.
        end_us: Leave out what began at this instant or later.
    """
    found = rows(
        on,
        "SELECT m.name, f.kind, f.source, f.onset, f.ended, f.severity, f.sensors, f.note "
        "FROM failures AS f JOIN machines AS m ON m.key = f.machine_key "
        "WHERE (%(machines)s::text[] IS NULL OR m.name = ANY(%(machines)s::text[])) "
        "AND (%(start)s::timestamptz IS NULL OR f.ended IS NULL OR f.ended >= %(start)s) "
        "AND (%(end)s::timestamptz IS NULL OR f.onset < %(end)s) ORDER BY f.onset, f.id",
        {
            "machines": None if machines is None else list(machines),
            "start": None if start_us is None else instant(start_us),
            "end": None if end_us is None else instant(end_us),
        },
    )
    return [
        Label(
            machine=machine,
            kind=kind,
            source=source,
            onset_us=microseconds(onset),
            end_us=None if ended is None else microseconds(ended),
            severity=severity,
            sensors=tuple(sensors),
            note=note,
        )
        for machine, kind, source, onset, ended, severity, sensors, note in found
    ]


def _keys(on: Connection, machines: list[str]) -> dict[str, int]:
    keys = dict(
        rows(on, "SELECT name, key FROM machines WHERE name = ANY(%s::text[])", (machines,))
    )
    if missing := [name for name in machines if name not in keys]:
        raise NotFoundError("machine", missing[0], "GET /api/v1/machines lists them")
    return keys
