"""Incidents as people read them, and what a person may do with one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from domain.errors import ConflictError, NotFoundError
from domain.risk.outlook import IncidentMode
from domain.similar import most_similar
from domain.told import SensorDid
from storage import endings, outbox
from storage.connect import Connection, rows

_NOT_KEPT = IncidentMode(mode="unknown", reason="it was not kept when this incident went on")

_PAST = 500
"""Past incidents of a class that are compared; older ones say little of today's machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One incident.

    Attributes:
        id: Its number.
        machine: Name of the machine.
        kind: The machine itself, or a sensor that cannot be trusted.
        state: open, acknowledged or closed.
        began: Instant of its first anomalous reading.
        opened: Instant of the reading that opened it.
        last_seen: Instant of its latest anomalous reading.
        closed: When it ended; None while it lives.
        peak_score: Highest score.
        anomalies: Anomalous readings in it.
        root_sensor: The sensor that contributed most.
        evidence: `{sensor, share, expected, observed}`, largest first; what was read and expected
            is that of the reading with the highest score.
        model_version: What scored it.
        acknowledged_by: Who looked at it.
        feedback: What a person found: true, false or maintenance.
        note: In that person's words.
        severity: minor, major or critical; it never becomes milder.
        close_reason: quiet, silent, maintenance, repaired or person; None while it lives.
        feedback_by: Whose feedback it is.
        peaked: Instant of the reading with the highest score; None where it was not kept.
        failure_mode: The failure mode it was most like, or unknown and why.
        faults: What sensors did, in words too; only of an incident of a sensor.
    """

    id: int
    machine: str
    kind: str
    state: str
    began: datetime
    opened: datetime
    last_seen: datetime
    closed: datetime | None
    peak_score: float
    anomalies: int
    root_sensor: str
    evidence: tuple[dict[str, Any], ...]
    model_version: int
    acknowledged_by: str | None
    feedback: str | None
    note: str
    severity: str
    close_reason: str | None
    feedback_by: str | None
    peaked: datetime | None
    failure_mode: IncidentMode
    faults: tuple[SensorDid, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """A past incident that looks like another one.

    Attributes:
        id: Its number.
        machine: Whose it was; of the same class.
        likeness: Cosine between the profiles of their evidence, 0 to 1.
        began: When it began.
        closed: When it ended.
        root_sensor: The sensor that contributed most.
        feedback: What a person found then.
        note: In that person's words.
    """

    id: int
    machine: str
    likeness: float
    began: datetime
    closed: datetime | None
    root_sensor: str
    feedback: str | None
    note: str


_INCIDENTS = (
    "SELECT i.id, m.name, i.kind, i.state, i.began, i.opened, i.last_seen, i.closed, i.peak_score,"
    " i.anomalies, i.root_sensor, i.evidence, i.model_version, i.acknowledged_by, i.feedback,"
    " i.note, i.severity, i.close_reason, i.feedback_by, i.peaked,"
    " i.failure_mode, i.faults FROM incidents i"
    " JOIN machines m ON m.key = i.machine_key"
)


def incidents(
    on: Connection,
    *,
    machine: str | None = None,
    live: bool | None = None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[IncidentRow, ...]:
    """Return incidents, newest first.

    Args:
        on: A session.
        machine: Only this machine's.
        live: Only those that are not closed, or only those that are.
        before: Only numbers below this one.
        limit: At most this many.
    """
    found = rows(
        on,
        _INCIDENTS + " WHERE (%(machine)s::text IS NULL OR m.name = %(machine)s)"
        " AND (%(live)s::boolean IS NULL OR (i.closed IS NULL) = %(live)s)"
        " AND (%(before)s::bigint IS NULL OR i.id < %(before)s)"
        " ORDER BY i.id DESC LIMIT %(limit)s",
        {"machine": machine, "live": live, "before": before, "limit": limit},
    )
    return tuple(_incident(row) for row in found)


def closed_lately(on: Connection, *, within: timedelta, limit: int) -> tuple[IncidentRow, ...]:
    """Return incidents that ended so shortly before the newest scored reading, the latest first.

    Not before the present: a replayed or accelerated fleet lives in a time of its own.
    """
    found = rows(
        on,
        _INCIDENTS  # noqa: S608 - a constant
        + " WHERE i.closed >= (SELECT max(instant) FROM machine_states) - %s::interval"
        " ORDER BY i.closed DESC, i.id DESC LIMIT %s",
        (within, limit),
    )
    return tuple(_incident(row) for row in found)


def incident(on: Connection, number: int) -> IncidentRow:
    """Return one incident.

    Raises:
        NotFoundError: There is none of this number.
    """
    found = rows(on, _INCIDENTS + " WHERE i.id = %s", (number,))
    if not found:
        raise NotFoundError("incident", str(number), "GET /api/v1/incidents lists them")
    return _incident(found[0])


def acknowledge(on: Connection, number: int, who: str) -> IncidentRow:
    """Note that a person looks at it.

    Raises:
        NotFoundError: There is none of this number.
        ConflictError: It is closed.
    """
    _change(on, number, "state = 'acknowledged', acknowledged_by = %s", (who,))
    outbox.enqueue(on, [number], "acknowledged")
    return incident(on, number)


def close(on: Connection, number: int, who: str, note: str = "") -> IncidentRow:
    """End it; what is anomalous after this becomes another incident.

    Raises:
        NotFoundError: There is none of this number.
        ConflictError: It is closed already.
    """
    _change(
        on,
        number,
        "state = 'closed', close_reason = 'person',"
        " closed = greatest(last_seen, clock_timestamp()),"
        " acknowledged_by = coalesce(acknowledged_by, %s),"
        " note = CASE WHEN %s = '' THEN note ELSE %s END",
        (who, note, note),
    )
    endings.settle_closed(on, [number])
    return incident(on, number)


def similar(on: Connection, number: int) -> tuple[Similar, ...]:
    """Return past incidents of the same class and kind that look like one, the likest first.

    Raises:
        NotFoundError: There is none of this number.
    """
    one = incident(on, number)
    found = rows(
        on,
        _INCIDENTS  # noqa: S608 - constant
        + " WHERE m.machine_class = (SELECT machine_class FROM machines WHERE name ="
        " %(machine)s) AND i.kind = %(kind)s AND i.id <> %(id)s AND i.began <= %(began)s"
        " ORDER BY i.id DESC LIMIT %(most)s",
        {"machine": one.machine, "kind": one.kind, "id": one.id, "began": one.began}
        | {"most": _PAST},
    )
    past = {row.id: row for row in map(_incident, found)}
    likest = most_similar(_profile(one), [(key, _profile(row)) for key, row in past.items()])
    return tuple(
        Similar(
            id=key,
            machine=past[key].machine,
            likeness=likeness,
            began=past[key].began,
            closed=past[key].closed,
            root_sensor=past[key].root_sensor,
            feedback=past[key].feedback,
            note=past[key].note,
        )
        for key, likeness in likest
    )


def _profile(one: IncidentRow) -> dict[str, float]:
    return {part["sensor"]: float(part["share"]) for part in one.evidence}


def _change(on: Connection, number: int, assignments: str, values: tuple[Any, ...]) -> None:
    changed = rows(
        on,
        # The assignments are our own literals; values are parameters.
        f"UPDATE incidents SET {assignments} WHERE id = %s AND closed IS NULL RETURNING 1",  # noqa: S608
        (*values, number),
    )
    if not changed:
        known = incident(on, number)
        raise ConflictError(f"incident {known.id} was closed at {known.closed}")


def _incident(row: tuple[Any, ...]) -> IncidentRow:
    names = IncidentRow.__dataclass_fields__
    given = dict(zip(names, row, strict=True))
    mode = _NOT_KEPT
    if given["failure_mode"] is not None:
        mode = msgspec.convert(given["failure_mode"], IncidentMode)
    told = {
        "evidence": tuple(given["evidence"]),
        "failure_mode": mode,
        "faults": tuple(msgspec.convert(given["faults"], list[SensorDid])),
    }
    return IncidentRow(**(given | told))
