"""When machines moved: written by the scorer, read by people.

A movement is keyed by machine and the instant at which it was told to begin; the scorer writes it
in the transaction that moves its offset, and what goes on is all a scorer that starts anew needs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from domain.told import Moved, Movement
from storage.connect import Connection, rows
from storage.history import instant, microseconds

BEFORE: Final = timedelta(minutes=5)
"""A movement that was over for so long when an incident began is another story."""

_PER_INCIDENT: Final = 4
"""Movements that are shown of one incident, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A movement with whose it is.

    Attributes:
        machine_key: `Machine.key`.
        model_version: What told it.
        movement: It.
    """

    machine_key: int
    model_version: int
    movement: Movement


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementRow:
    """A movement as people read it.

    Attributes:
        machine: Name of the machine.
        began: Instant of the reading at which it was told to move.
        settled: Instant of the reading at which it stood still again; None while it moves.
        sensor: The sensor that moved most.
        peak_score: How much the machine moved at the most; more than 1 is a movement.
        sensors: `{sensor, share, before, after}`, largest share first: the sensor's level in its
            unit when the movement began and when it had settled.
        model_version: What told it.
    """

    machine: str
    began: datetime
    settled: datetime | None
    sensor: str
    peak_score: float
    sensors: tuple[Moved, ...]
    model_version: int


def write(on: Connection, told: Sequence[Told]) -> None:
    """Write movements as they are now; one that is over stays as it was written."""
    if not told:
        return
    newest = {(one.machine_key, one.movement.began_us): one for one in told}
    ordered = [newest[key] for key in sorted(newest)]
    settled = [one.movement.settled_us for one in ordered]
    rows(
        on,
        "INSERT INTO movements (machine_key, began, settled, peak_score, sensors, model_version)"
        " SELECT k, b, s, p, m::jsonb, v FROM unnest(%s::int[], %s::timestamptz[],"
        " %s::timestamptz[], %s::float8[], %s::text[], %s::int[]) AS n (k, b, s, p, m, v)"
        " ON CONFLICT (machine_key, began) DO UPDATE SET settled = excluded.settled,"
        " peak_score = excluded.peak_score, sensors = excluded.sensors,"
        " model_version = excluded.model_version WHERE movements.settled IS NULL",
        (
            [one.machine_key for one in ordered],
            [instant(one.movement.began_us) for one in ordered],
            [None if at is None else instant(at) for at in settled],
            [one.movement.peak_score for one in ordered],
            [msgspec.json.encode(one.movement.sensors).decode() for one in ordered],
            [one.model_version for one in ordered],
        ),
    )


def going_on(on: Connection) -> dict[int, Movement]:
    """Return machine key → what it was doing when the last verdict on it was written."""
    found = rows(
        on,
        "SELECT DISTINCT ON (machine_key) machine_key, began, peak_score, sensors"
        " FROM movements WHERE settled IS NULL ORDER BY machine_key, began DESC",
    )
    return {
        key: Movement(began_us=microseconds(began), peak_score=peak, sensors=_sensors(sensors))
        for key, began, peak, sensors in found
    }


def listed(
    on: Connection,
    machine: str,
    *,
    before: datetime | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> tuple[MovementRow, ...]:
    """Return a machine's movements, newest first.

    Args:
        on: A session.
        machine: Its name.
        before: Only those that began before this.
        since: Only those that were not over by then.
        limit: At most this many.
    """
    found = rows(
        on,
        "SELECT m.name, v.began, v.settled, v.peak_score, v.sensors, v.model_version"
        " FROM movements v JOIN machines m ON m.key = v.machine_key WHERE m.name = %(machine)s"
        " AND (%(before)s::timestamptz IS NULL OR v.began < %(before)s)"
        " AND (%(since)s::timestamptz IS NULL OR v.settled IS NULL OR v.settled >= %(since)s)"
        " ORDER BY v.began DESC LIMIT %(limit)s",
        {"machine": machine, "before": before, "since": since, "limit": limit},
    )
    return tuple(_row(row) for row in found)


def of_incidents(on: Connection, numbers: Iterable[int]) -> dict[int, tuple[MovementRow, ...]]:
    """Return incident → its machine's movements within it and up to `BEFORE` it, oldest first.

    Incidents of machines that did not move are left out.
    """
    # Movements of a machine never overlap: the newest that began in time are those that may touch.
    found = rows(
        on,
        "SELECT i.id, m.name, v.began, v.settled, v.peak_score, v.sensors, v.model_version"
        " FROM incidents i JOIN machines m ON m.key = i.machine_key"
        " JOIN LATERAL (SELECT * FROM movements AS v WHERE v.machine_key = i.machine_key"
        " AND (i.closed IS NULL OR v.began <= i.last_seen)"
        " ORDER BY v.began DESC LIMIT %(most)s) AS v ON v.settled IS NULL"
        " OR v.settled >= i.began - %(before)s WHERE i.id = ANY(%(numbers)s::bigint[])"
        " ORDER BY i.id, v.began",
        {"most": _PER_INCIDENT, "before": BEFORE, "numbers": list(numbers)},
    )
    by_incident: dict[int, list[MovementRow]] = {}
    for number, *row in found:
        by_incident.setdefault(number, []).append(_row(row))
    return {number: tuple(told) for number, told in by_incident.items()}


def _row(row: Sequence[Any]) -> MovementRow:
    machine, began, settled, peak, told, version = row
    sensors = _sensors(told)
    return MovementRow(
        machine=machine,
        began=began,
        settled=settled,
        sensor=sensors[0].sensor,
        peak_score=peak,
        sensors=sensors,
        model_version=version,
    )


def _sensors(stored: Any) -> tuple[Moved, ...]:
    return tuple(msgspec.convert(stored, list[Moved]))
