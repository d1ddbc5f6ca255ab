"""When a machine was, or may have been, going wrong: what no model should learn as health."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.connect import Connection, rows
from storage.history import instant, microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A period of one machine that is not known to be healthy.

    Attributes:
        machine: Name of the machine.
        from_us: First instant, microseconds UTC.
        to_us: Last instant; None while it lasts.
    """

    machine: str
    from_us: int
    to_us: int | None


def vouched(
    on: Connection, machines: Sequence[str], start_us: int, end_us: int
) -> dict[str, list[tuple[int, int]]]:
    """Return the periods of machines that a person called healthy: alarms that were false.

    Args:
        on: A session.
        machines: Names.
        start_us: Leave out what ended before, microseconds UTC.
        end_us: Leave out what began at this instant or later.

    Returns:
        Machine → first and last instants, the oldest first.
    """
    found = rows(
        on,
        "SELECT m.name, i.began, i.last_seen FROM incidents AS i "
        "JOIN machines AS m ON m.key = i.machine_key "
        "WHERE m.name = ANY(%s::text[]) AND i.kind = 'machine' AND i.feedback = 'false' "
        "AND i.last_seen >= %s AND i.began < %s ORDER BY i.began, i.id",
        (list(machines), instant(start_us), instant(end_us)),
    )
    periods: dict[str, list[tuple[int, int]]] = {}
    for machine, began, last_seen in found:
        periods.setdefault(machine, []).append((microseconds(began), microseconds(last_seen)))
    return periods


def suspected(
    on: Connection,
    machines: Sequence[str],
    start_us: int,
    end_us: int,
    *,
    incidents: bool = True,
) -> list[Suspicion]:
    """Return failures, incidents and maintenance of machines that touch a period, by beginning.

    An incident that a person called a false alarm is none. A simulator's truth is left out as
    well: it is the answer sheet of an exam, and a plant has no such thing. Incidents of a sensor
    are not here: the pipeline leaves out what an ill sensor says, and keeps the other sensors.

    Args:
        on: A session.
        machines: Names.
        start_us: Leave out what ended before, microseconds UTC.
        end_us: Leave out what began at this instant or later.
        incidents: Whether incidents count; else only what people said does.
    """
    found = rows(
        on,
        """
        SELECT m.name, s.began, s.ended FROM machines AS m JOIN (
            SELECT machine_key, onset AS began, ended FROM failures WHERE source <> 'simulator'
            UNION ALL
            SELECT machine_key, began, closed FROM incidents
            WHERE %(incidents)s AND kind = 'machine' AND feedback IS DISTINCT FROM 'false'
            UNION ALL
            SELECT k.key, w.starts, w.ends FROM maintenance AS w JOIN machines AS k
            ON k.key = w.machine_key OR k.machine_class = w.machine_class
        ) AS s ON s.machine_key = m.key
        WHERE m.name = ANY(%(machines)s::text[])
        AND (s.ended IS NULL OR s.ended >= %(start)s) AND s.began < %(end)s
        ORDER BY s.began, m.name
        """,
        {
            "machines": list(machines),
            "start": instant(start_us),
            "end": instant(end_us),
            "incidents": incidents,
        },
    )
    return [
        Suspicion(
            machine=machine,
            from_us=microseconds(began),
            to_us=None if ended is None else microseconds(ended),
        )
        for machine, began, ended in found
    ]
