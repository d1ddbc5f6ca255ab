"""What the scorer says: anomalous readings, incidents and the last known state of each machine.

Everything is keyed, so that a batch scored twice is written once: an anomaly by machine, instant
and model version, a live incident by machine and kind, a state by machine. The scorer writes a
batch in the transaction that moves its offset.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from domain.risk.outlook import Failure, IncidentMode
from domain.severity import Severity
from domain.told import SensorDid
from storage import endings, outbox
from storage.connect import Connection, rows

type Kind = Literal["machine", "sensor"]
type CloseReason = Literal["quiet", "silent", "maintenance", "repaired", "person"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's part in a score.

    Attributes:
        sensor: Its name.
        share: Its part of the score, 0 to 1.
        expected: What the model expected, in the sensor's unit; None where it cannot say.
        observed: What was read, in the sensor's unit; None where the sensor was missing.
    """

    sensor: str
    share: float
    expected: float | None
    observed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One anomalous reading.

    Attributes:
        machine_key: `Machine.key`.
        instant_us: Instant of the reading, microseconds UTC.
        model_version: What scored it.
        score: More than 1 is anomalous.
        kind: The machine itself, or a sensor that cannot be trusted.
        contributions: Largest first.
    """

    machine_key: int
    instant_us: int
    model_version: int
    score: float
    kind: Kind
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """The state of one incident after a batch.

    Attributes:
        machine_key: `Machine.key`.
        kind: The machine itself, or a sensor that cannot be trusted.
        began_us: Instant of its first anomalous reading.
        opened_us: Instant of the reading that opened it.
        last_seen_us: Instant of its latest anomalous reading.
        closed_us: Instant of the reading that closed it; None while it lives.
        peak_score: Highest score so far.
        anomalies: Anomalous readings so far.
        root_sensor: The sensor that contributed most.
        evidence: Mean contributions, largest first, with what was read at the peak.
        peaked_us: Instant of the reading with the highest score; None where it is not known.
        model_version: What scored it.
        severity: How bad it is; what is stored never becomes milder.
        close_reason: Why it closed; empty while it lives.
        failure_mode: The mode the machine is most like now; None leaves what is stored. One that is
            known is never forgotten for an unknown: after a repair nothing is like a failure.
        faults: What sensors did, of an incident of a sensor.
    """

    machine_key: int
    kind: Kind
    began_us: int
    opened_us: int
    last_seen_us: int
    closed_us: int | None = None
    peak_score: float
    anomalies: int
    root_sensor: str
    evidence: tuple[Contribution, ...] = ()
    peaked_us: int | None = None
    model_version: int
    severity: Severity = Severity.MINOR
    close_reason: CloseReason | None = None
    failure_mode: IncidentMode | None = None
    faults: tuple[SensorDid, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the scorer last knew of a machine.

    Attributes:
        machine_key: `Machine.key`.
        instant_us: Instant of its latest scored reading.
        score: Its score.
        model_version: What scored it.
        quality: Data quality for people: `{"ready": bool, "gap": bool, "faults": [{"sensor",
            "kind"}], "note": str}`; a gap is a hole in the window that was scored.
        failure: Risk of failure; None while the class has no risk model.
    """

    machine_key: int
    instant_us: int
    score: float
    model_version: int
    quality: dict[str, Any]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An incident that was open when the scorer started.

    Attributes:
        id: Its number.
        incident: What is known of it.
    """

    id: int
    incident: Incident


def write_anomalies(on: Connection, anomalies: Sequence[Anomaly]) -> int:
    """Write what is new of the given anomalies; return how many that was.

    An anomaly inside an incident of its machine and kind is tied to it, so incidents come first.
    """
    if not anomalies:
        return 0
    written = rows(
        on,
        "INSERT INTO anomalies (machine_key, instant, model_version, score, kind, contributions,"
        " incident_id) SELECT a.machine_key, a.instant, a.model_version, a.score, a.kind,"
        " a.contributions::jsonb, i.id FROM unnest(%s::int[], %s::timestamptz[], %s::int[],"
        " %s::float8[], %s::text[], %s::text[])"
        " AS a (machine_key, instant, model_version, score, kind, contributions)"
        " LEFT JOIN LATERAL (SELECT id FROM incidents WHERE machine_key = a.machine_key"
        " AND kind = a.kind AND began <= a.instant AND (closed IS NULL OR closed > a.instant)"
        " ORDER BY began DESC LIMIT 1) AS i ON true"
        " ON CONFLICT DO NOTHING RETURNING 1",
        (
            [one.machine_key for one in anomalies],
            [_instant(one.instant_us) for one in anomalies],
            [one.model_version for one in anomalies],
            [one.score for one in anomalies],
            [one.kind for one in anomalies],
            [_json(one.contributions) for one in anomalies],
        ),
    )
    return len(written)


def open_incident(on: Connection, incident: Incident) -> int:
    """Write a new incident, or refresh the live one of this machine and kind; return its number.

    Anomalies since it began, written before it was known, are tied to it; webhooks get it into
    their outbox.
    """
    found = rows(
        on,
        "INSERT INTO incidents (machine_key, kind, began, opened, last_seen, peak_score,"
        " anomalies, root_sensor, evidence, peaked, model_version, severity, failure_mode, faults)"
        " VALUES (%(machine_key)s, %(kind)s, %(began)s, %(opened)s, %(last_seen)s,"
        " %(peak_score)s, %(anomalies)s, %(root_sensor)s, %(evidence)s, %(peaked)s,"
        " %(model_version)s, %(severity)s, %(failure_mode)s, %(faults)s)"
        " ON CONFLICT (machine_key, kind) WHERE closed IS NULL"
        " DO UPDATE SET last_seen = greatest(incidents.last_seen, excluded.last_seen),"
        " peak_score = greatest(incidents.peak_score, excluded.peak_score),"
        " anomalies = greatest(incidents.anomalies, excluded.anomalies) RETURNING id, xmax = 0",
        _columns(incident),
    )
    number, is_new = int(found[0][0]), bool(found[0][1])
    if is_new:
        outbox.enqueue(on, [number], "opened")
    rows(
        on,
        "UPDATE anomalies SET incident_id = %s WHERE machine_key = %s AND kind = %s"
        " AND instant BETWEEN %s AND %s AND incident_id IS NULL",
        (
            number,
            incident.machine_key,
            incident.kind,
            _instant(incident.began_us),
            _instant(incident.last_seen_us),
        ),
    )
    return number


def update_incident(on: Connection, incident: Incident) -> bool:
    """Bring the live incident of this machine and kind up to date, closing it where it is closed.

    Returns:
        False when there is none any more, because a person closed it.
    """
    changed = rows(
        on,
        "WITH old AS (SELECT id, severity FROM incidents WHERE machine_key = %(machine_key)s"
        " AND kind = %(kind)s AND closed IS NULL FOR UPDATE)"
        " UPDATE incidents AS i SET last_seen = %(last_seen)s, peak_score = %(peak_score)s,"
        " anomalies = %(anomalies)s, root_sensor = %(root_sensor)s, evidence = %(evidence)s,"
        " peaked = coalesce(%(peaked)s, peaked), failure_mode = CASE WHEN"
        " %(failure_mode)s::jsonb->>'mode' = 'unknown' AND failure_mode->>'mode' <> 'unknown'"
        " THEN failure_mode ELSE coalesce(%(failure_mode)s, failure_mode) END,"
        " faults = %(faults)s, closed = %(closed)s, close_reason = %(close_reason)s,"
        " severity = CASE WHEN"
        " array_position(%(ranks)s, %(severity)s) > array_position(%(ranks)s, old.severity)"
        " THEN %(severity)s ELSE old.severity END,"
        " state = CASE WHEN %(closed)s IS NULL THEN state ELSE 'closed' END"
        " FROM old WHERE i.id = old.id RETURNING i.id, i.severity <> old.severity",
        _columns(incident) | {"ranks": [str(one) for one in Severity]},
    )
    if not changed:
        return False
    number, worse = changed[0]
    if incident.closed_us is not None:
        endings.settle_closed(on, [number])
    elif worse:
        outbox.enqueue(on, [number], "escalated")
    return True


def write_states(on: Connection, states: Sequence[State]) -> None:
    """Write the last known state of machines; an older instant never replaces a newer one."""
    if not states:
        return
    ordered = sorted(states, key=lambda one: one.machine_key)
    rows(
        on,
        "INSERT INTO machine_states (machine_key, instant, score, model_version, quality, failure)"
        " SELECT k, i, s, v, q::jsonb, f::jsonb FROM unnest(%s::int[], %s::timestamptz[],"
        " %s::float8[], %s::int[], %s::text[], %s::text[]) AS n (k, i, s, v, q, f)"
        " ON CONFLICT (machine_key) DO UPDATE SET instant = excluded.instant,"
        " score = excluded.score, model_version = excluded.model_version,"
        " quality = excluded.quality, failure = excluded.failure, updated_at = clock_timestamp()"
        " WHERE machine_states.instant <= excluded.instant",
        (
            [one.machine_key for one in ordered],
            [_instant(one.instant_us) for one in ordered],
            [one.score for one in ordered],
            [one.model_version for one in ordered],
            [_json(one.quality) for one in ordered],
            [None if one.failure is None else _json(one.failure) for one in ordered],
        ),
    )


def live_incidents(on: Connection) -> tuple[Live, ...]:
    """Return every incident that is not closed, so that a scorer goes on with it."""
    found = rows(
        on,
        "SELECT id, machine_key, kind, began, opened, last_seen, peak_score, anomalies,"
        " root_sensor, evidence, model_version, peaked, faults FROM incidents"
        " WHERE closed IS NULL ORDER BY id",
    )
    return tuple(
        Live(
            id=row[0],
            incident=Incident(
                machine_key=row[1],
                kind=row[2],
                began_us=_us(row[3]),
                opened_us=_us(row[4]),
                last_seen_us=_us(row[5]),
                peak_score=row[6],
                anomalies=row[7],
                root_sensor=row[8],
                evidence=tuple(msgspec.convert(row[9], list[Contribution])),
                model_version=row[10],
                peaked_us=None if row[11] is None else _us(row[11]),
                faults=tuple(msgspec.convert(row[12], list[SensorDid])),
            ),
        )
        for row in found
    )


def scored_until(on: Connection) -> dict[int, int]:
    """Return machine key → instant of its latest scored reading, microseconds UTC."""
    return {key: _us(at) for key, at in rows(on, "SELECT machine_key, instant FROM machine_states")}


def _columns(incident: Incident) -> dict[str, Any]:
    return {
        "machine_key": incident.machine_key,
        "kind": incident.kind,
        "began": _instant(incident.began_us),
        "opened": _instant(incident.opened_us),
        "last_seen": _instant(incident.last_seen_us),
        "closed": None if incident.closed_us is None else _instant(incident.closed_us),
        "peak_score": incident.peak_score,
        "anomalies": incident.anomalies,
        "root_sensor": incident.root_sensor,
        "evidence": _json(incident.evidence),
        "peaked": None if incident.peaked_us is None else _instant(incident.peaked_us),
        "model_version": incident.model_version,
        "severity": str(incident.severity),
        "close_reason": incident.close_reason,
        "faults": _json(incident.faults),
        "failure_mode": None if incident.failure_mode is None else _json(incident.failure_mode),
    }


def _instant(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _us(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
