"""Anomalous readings as people read them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.connect import Connection, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyRow:
    """One anomalous reading.

    Attributes:
        machine: Name of the machine.
        instant: Instant of the reading.
        model_version: What scored it.
        score: More than 1.
        kind: The machine itself, or a sensor that cannot be trusted.
        contributions: `{sensor, share, expected, observed}`, largest first.
        incident_id: The incident it belongs to.
        detected_at: When its verdict was written.
    """

    machine: str
    instant: datetime
    model_version: int
    score: float
    kind: str
    contributions: tuple[dict[str, Any], ...]
    incident_id: int | None
    detected_at: datetime


def listed(
    on: Connection,
    *,
    machine: str | None = None,
    since: datetime | None = None,
    before: tuple[datetime, str, int] | None = None,
    limit: int = 100,
) -> tuple[AnomalyRow, ...]:
    """Return anomalous readings, newest first.

    Args:
        on: A session.
        machine: Only this machine's.
        since: Not older than this.
        before: Instant, machine and model version of the last row of the page before.
        limit: At most this many.
    """
    found = rows(
        on,
        "SELECT m.name, a.instant, a.model_version, a.score, a.kind, a.contributions,"
        " a.incident_id, a.detected_at FROM anomalies a JOIN machines m ON m.key = a.machine_key"
        " WHERE (%(machine)s::text IS NULL OR m.name = %(machine)s)"
        " AND (%(since)s::timestamptz IS NULL OR a.instant >= %(since)s)"
        " AND (%(instant)s::timestamptz IS NULL"
        " OR (a.instant, m.name, a.model_version) < (%(instant)s, %(name)s, %(version)s))"
        " ORDER BY a.instant DESC, m.name DESC, a.model_version DESC LIMIT %(limit)s",
        {"machine": machine, "since": since, "limit": limit}
        | dict(zip(("instant", "name", "version"), before or (None, None, None), strict=True)),
    )
    return tuple(
        AnomalyRow(
            machine=row[0],
            instant=row[1],
            model_version=row[2],
            score=row[3],
            kind=row[4],
            contributions=tuple(row[5]),
            incident_id=row[6],
            detected_at=row[7],
        )
        for row in found
    )


def recorded_version(on: Connection, machine: str, at: datetime) -> int | None:
    """Return the version that a stored verdict names for a machine's reading of this instant.

    None where none is kept: verdicts that were normal are, but for the newest, not stored.

    Args:
        on: A session.
        machine: Name of the machine.
        at: Instant of the reading, with a zone.
    """
    found = rows(
        on,
        "SELECT model_version FROM ("
        "SELECT model_version, detected_at AS told, machine_key, instant FROM anomalies UNION ALL "
        "SELECT model_version, updated_at, machine_key, instant FROM machine_states) AS verdicts "
        "WHERE instant = %s AND machine_key = (SELECT key FROM machines WHERE name = %s) "
        "ORDER BY told DESC LIMIT 1",
        (at, machine),
    )
    return int(found[0][0]) if found else None
