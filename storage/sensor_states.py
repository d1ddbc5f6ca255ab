"""The stored states of sensors: what is wrong now, and since when."""

from collections.abc import Iterable, Sequence

from domain.conditions import Condition, SensorState, StateChanges
from storage.connect import Connection, rows
from storage.history import instant, microseconds


def write(on: Connection, changes: Iterable[StateChanges]) -> None:
    """Write states that began or go on, and take away those that are over.

    In the scorer's transaction; written twice it comes to the same.

    Args:
        on: A session.
        changes: In the order in which they happened.
    """
    for one in changes:
        _take_away(on, one.ended)
        _keep(on, one.present)


def every(on: Connection) -> tuple[SensorState, ...]:
    """Return the states of all machines, so that a scorer goes on with them."""
    found = rows(
        on,
        "SELECT machine_key, sensor, condition, since, last_seen FROM sensor_states"
        " ORDER BY machine_key, sensor, condition",
    )
    return tuple(
        SensorState(
            machine_key=key,
            sensor=sensor,
            condition=Condition(condition),
            since_us=microseconds(since),
            last_seen_us=microseconds(last_seen),
        )
        for key, sensor, condition, since, last_seen in found
    )


def heard_before(on: Connection) -> dict[int, int]:
    """Return machine key → when the scorer last heard it, microseconds UTC by its own clock.

    A silent machine was heard before its silence; another one when its state was last written.
    """
    found = rows(
        on,
        "SELECT s.machine_key, coalesce(silent.since, s.updated_at) FROM machine_states AS s"
        " LEFT JOIN sensor_states AS silent ON silent.machine_key = s.machine_key"
        " AND silent.condition = 'silent'",
    )
    return {key: microseconds(at) for key, at in found}


def silent_since(on: Connection) -> dict[int, int]:
    """Return machine key → since when it has been silent, of those that are."""
    found = rows(on, "SELECT machine_key, since FROM sensor_states WHERE condition = 'silent'")
    return {key: microseconds(since) for key, since in found}


def _keep(on: Connection, states: Sequence[SensorState]) -> None:
    if not states:
        return
    rows(
        on,
        "INSERT INTO sensor_states (machine_key, sensor, condition, since, last_seen)"
        " SELECT * FROM unnest(%s::int[], %s::text[], %s::text[], %s::timestamptz[],"
        " %s::timestamptz[]) ON CONFLICT (machine_key, sensor, condition)"
        " DO UPDATE SET since = excluded.since, last_seen = excluded.last_seen",
        (
            *_keys(states),
            [instant(one.since_us) for one in states],
            [instant(one.last_seen_us) for one in states],
        ),
    )


def _take_away(on: Connection, states: Sequence[SensorState]) -> None:
    if states:
        rows(
            on,
            "DELETE FROM sensor_states AS s USING unnest(%s::int[], %s::text[], %s::text[])"
            " AS gone (machine_key, sensor, condition) WHERE s.machine_key = gone.machine_key"
            " AND s.sensor = gone.sensor AND s.condition = gone.condition",
            _keys(states),
        )


def _keys(states: Sequence[SensorState]) -> tuple[list[int], list[str], list[str]]:
    return (
        [one.machine_key for one in states],
        [one.sensor for one in states],
        [one.condition.value for one in states],
    )
