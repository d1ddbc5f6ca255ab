"""The fleet as people see it: machines with what is known of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from domain.risk.outlook import Failure
from storage.connect import Connection, rows


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
