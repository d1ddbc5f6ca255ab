"""What a person sees of the fleet: machines with what is known of them, models, sweeps, rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from domain.errors import NotFoundError
from domain.risk.outlook import Failure
from storage.connect import Connection, rows

_FRESH_S = 15
"""A worker that has not refreshed its row for this long does not count any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRow:
    """One machine with what is known of it.

    Attributes:
        key: `Machine.key`.
        name: Its name.
        machine_class: Name of its class.
        period_s: Nominal seconds between two readings of its class.
        registered_at: When the platform first heard of it.
        last_reading: Instant of its newest stored reading; None when it never sent one.
        scored_at: Instant of its newest scored reading; None when it was never scored.
        score: Score of that reading.
        model_version: What scored it.
        quality: Data quality as the scorer saw it.
        incidents: Live incidents, oldest first: `{id, kind, began, root_sensor, peak_score}`.
        conditions: What is wrong with its sensors, oldest first: `{sensor, condition, since,
            last_seen}`; the sensor is empty where the machine as a whole is meant.
        failure: Risk of failure as the scorer last told it; None while there is no risk model.
    """

    key: int
    name: str
    machine_class: str
    period_s: float
    registered_at: datetime
    last_reading: datetime | None
    scored_at: datetime | None
    score: float | None
    model_version: int | None
    quality: dict[str, Any]
    incidents: tuple[dict[str, Any], ...]
    conditions: tuple[dict[str, Any], ...]
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One registered model version, without its package.

    Attributes:
        machine_class: The class it judges.
        version: Its number in the registry.
        champion: Whether it is the one in use.
        run_id: MLflow run that made it.
        sha256: Checksum of its package.
        package_bytes: Size of its package.
        metrics: Label-free figures of the sweep.
        params: What the sweep chose.
        trained_at: When it was registered.
        promoted_at: When it became the champion; None when it is not.
        promoted_by: Who promoted it.
        reason: Why.
    """

    machine_class: str
    version: int
    champion: bool
    run_id: str
    sha256: str
    package_bytes: int
    metrics: dict[str, Any]
    params: dict[str, Any]
    trained_at: datetime
    promoted_at: datetime | None
    promoted_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRate:
    """What one stage of the pipeline does now, over all its workers.

    Attributes:
        stage: produce, consume or score.
        per_second: Readings per second.
        total: Readings since the workers started.
        lag: Messages not taken yet; None where that has no meaning.
        workers: How many workers reported within the last seconds.
    """

    stage: str
    per_second: float
    total: int
    lag: int | None
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One sweep.

    Attributes:
        id: Its name.
        machine_class: The class it trained for.
        state: queued, running, succeeded, failed or cancelled.
        trials: Trials finished so far.
        run_id: Parent run in MLflow.
        version: Version it registered.
        outcome: In words: promoted, refused and why, or the error.
        started_at: UTC; while it is queued, when it was asked for.
        ended_at: UTC; None until then.
        asked_by: Who asked for it over HTTP; None for others.
    """

    id: str
    machine_class: str
    state: str
    trials: int
    run_id: str | None
    version: int | None
    outcome: str
    started_at: datetime
    ended_at: datetime | None
    asked_by: str | None


_MACHINES = """
SELECT m.key, m.name, m.machine_class, c.period_s, m.created_at, r.instant, s.instant, s.score,
       s.model_version, coalesce(s.quality, '{}'), coalesce(i.live, '[]'),
       coalesce(w.wrong, '[]'), s.failure
FROM machines m
JOIN machine_classes c ON c.name = m.machine_class
LEFT JOIN machine_states s ON s.machine_key = m.key
LEFT JOIN LATERAL (
    SELECT instant FROM readings WHERE machine_key = m.key ORDER BY instant DESC LIMIT 1
) r ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('id', id, 'kind', kind, 'began', began, 'state', state,
        'root_sensor', root_sensor, 'peak_score', peak_score) ORDER BY began) AS live
    FROM incidents WHERE machine_key = m.key AND closed IS NULL
) i ON true
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('sensor', sensor, 'condition', condition, 'since', since,
        'last_seen', last_seen) ORDER BY since, sensor, condition) AS wrong
    FROM sensor_states WHERE machine_key = m.key
) w ON true
"""


def machines(
    on: Connection, *, after: str = "", limit: int = 100, name: str | None = None
) -> tuple[MachineRow, ...]:
    """Return machines by name.

    Args:
        on: A session.
        after: Only names that sort after this one.
        limit: At most this many.
        name: Only the machine of this name.
    """
    found = rows(
        on,
        _MACHINES + "WHERE m.name > %(after)s AND (%(name)s::text IS NULL OR m.name = %(name)s)"
        " ORDER BY m.name LIMIT %(limit)s",
        {"after": after, "limit": limit, "name": name},
    )
    return tuple(
        MachineRow(
            key=row[0],
            name=row[1],
            machine_class=row[2],
            period_s=row[3],
            registered_at=row[4],
            last_reading=row[5],
            scored_at=row[6],
            score=row[7],
            model_version=row[8],
            quality=row[9],
            incidents=tuple(row[10]),
            conditions=tuple(row[11]),
            failure=None if row[12] is None else msgspec.convert(row[12], Failure),
        )
        for row in found
    )


# The champion is the last promoted or rolled-back version of its class.
_MODELS = """
WITH champion AS (
    SELECT DISTINCT ON (machine_class) machine_class, version, at, actor, reason
    FROM model_events WHERE event IN ('promoted', 'rolled_back')
    ORDER BY machine_class, id DESC
)
SELECT m.machine_class, m.version, c.version IS NOT NULL, m.run_id, m.sha256,
       octet_length(m.package), m.metrics, m.params, m.created_at, c.at, c.actor, c.reason
FROM models m
LEFT JOIN champion c ON c.machine_class = m.machine_class AND c.version = m.version
"""


def models(
    on: Connection,
    *,
    champions_only: bool = False,
    after: tuple[str, int] | None = None,
    limit: int = 200,
) -> tuple[ModelRow, ...]:
    """Return registered versions, by class and newest first.

    Args:
        on: A session.
        champions_only: Only those in use.
        after: Class and version behind which to go on.
        limit: At most this many.
    """
    name, version = after or (None, 0)
    found = rows(
        on,
        _MODELS + "WHERE (NOT %(only)s OR c.version IS NOT NULL) AND (%(name)s::text IS NULL "
        "OR (m.machine_class, -m.version) > (%(name)s, %(below)s)) "
        "ORDER BY m.machine_class, m.version DESC LIMIT %(limit)s",
        {"only": champions_only, "name": name, "below": -version, "limit": limit},
    )
    return tuple(
        ModelRow(
            machine_class=row[0],
            version=row[1],
            champion=row[2],
            run_id=row[3],
            sha256=row[4],
            package_bytes=row[5],
            metrics=row[6],
            params=row[7],
            trained_at=row[8],
            promoted_at=row[9],
            promoted_by=row[10],
            reason=row[11],
        )
        for row in found
    )


_SWEEPS = (
    "SELECT id, machine_class, state, trials, run_id, version, outcome, started_at, ended_at, "
    "asked_by FROM sweeps "
)


def sweeps(
    on: Connection, *, before: tuple[datetime, str] | None = None, limit: int = 50
) -> tuple[SweepRow, ...]:
    """Return sweeps, newest first.

    Args:
        on: A session.
        before: When a sweep began, and its id: only those behind it.
        limit: At most this many.
    """
    at, sweep = before or (None, "")
    found = rows(
        on,
        _SWEEPS + "WHERE %(at)s::timestamptz IS NULL OR (started_at, id) < (%(at)s, %(id)s) "
        "ORDER BY started_at DESC, id DESC LIMIT %(limit)s",
        {"at": at, "id": sweep, "limit": limit},
    )
    return tuple(_sweep(row) for row in found)


def sweep(on: Connection, sweep_id: str) -> SweepRow:
    """Return one sweep.

    Raises:
        NotFoundError: There is none of this id.
    """
    found = rows(on, _SWEEPS + "WHERE id = %s", (sweep_id,))
    if not found:
        raise NotFoundError("sweep", sweep_id, "GET /api/v1/sweeps lists them")
    return _sweep(found[0])


def rates(on: Connection) -> tuple[StageRate, ...]:
    """Return what each stage does now; a stage without a fresh worker is left out."""
    found = rows(
        on,
        "SELECT stage, sum(per_second), sum(total), sum(lag), count(*) FROM pipeline_rates"
        " WHERE updated_at > clock_timestamp() - make_interval(secs => %s)"
        " GROUP BY stage ORDER BY stage",
        (_FRESH_S,),
    )
    return tuple(
        StageRate(
            stage=stage,
            per_second=float(per_second),
            total=int(total),
            lag=None if lag is None else int(lag),
            workers=workers,
        )
        for stage, per_second, total, lag, workers in found
    )


def _sweep(row: Sequence[Any]) -> SweepRow:
    names = ("id", "machine_class", "state", "trials", "run_id", "version", "outcome")
    known = dict(zip(names, row, strict=False))
    return SweepRow(**known, started_at=row[7], ended_at=row[8], asked_by=row[9])
