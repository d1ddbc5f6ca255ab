"""Machine classes and machines in Postgres: load, register, admit who writes for the first time.

Everybody may register at once: names are unique keys, so whoever comes second finds the first.
"""

from collections.abc import Iterable, Sequence
from math import inf, isfinite
from typing import Any

from psycopg2.extras import Json, execute_values

from domain.errors import ConflictError, NotFoundError
from domain.machines import Machine, MachineClass, Sensor, checked_name
from domain.roster import Roster
from domain.wire import Stranger
from storage.connect import Connection, rows, translated

__all__ = [
    "admit",
    "admit_to",
    "load",
    "load_classes",
    "register_class",
    "register_machines",
    "with_classes_of_today",
]


def load(on: Connection) -> Roster:
    """Return every class and every machine."""
    return Roster.of(load_classes(on), _machines(rows(on, _SELECT_MACHINES)))


def load_classes(on: Connection) -> list[MachineClass]:
    """Return every class, by name."""
    return [_class(row) for row in rows(on, _SELECT_CLASSES + "ORDER BY name")]


def register_class(on: Connection, machine_class: MachineClass) -> MachineClass:
    """Register a class, or bring one of the same name up to date; return it as it is stored now.

    Stored readings are columns in the order of the sensors, so a sensor is never moved or removed:
    new sensors are appended, in whatever order they are given.

    Raises:
        ConflictError: The class is there and has sensors that the given one lacks.
    """
    rows(
        on,
        "INSERT INTO machine_classes (name, sensors, period_s, description) "
        "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        _parameters(machine_class),
    )
    stored = _class(
        rows(on, _SELECT_CLASSES + "WHERE name = %s FOR UPDATE", (machine_class.name,))[0]
    )
    merged = _merged(stored, machine_class)
    if merged != stored:
        _, sensors, period_s, description = _parameters(merged)
        rows(
            on,
            "UPDATE machine_classes SET sensors = %s, period_s = %s, description = %s "
            "WHERE name = %s",
            (sensors, period_s, description, merged.name),
        )
    return merged


def register_machines(
    on: Connection, names: Iterable[str], machine_class: str
) -> dict[str, Machine]:
    """Register machines of a class; return all of them by name, new or there before.

    Raises:
        BadInputError: A name cannot be one.
        NotFoundError: The class is not registered.
        ConflictError: A machine belongs to another class.
    """
    wanted = sorted({checked_name("machine", name) for name in names})
    if not rows(on, "SELECT FROM machine_classes WHERE name = %s", (machine_class,)):
        raise NotFoundError("machine class", machine_class, "Register the class first")
    _insert(on, [(name, machine_class) for name in wanted])
    found = {
        machine.name: machine
        for machine in _machines(
            rows(on, _SELECT_MACHINES + "WHERE name = ANY(%s::text[])", (wanted,))
        )
    }
    for machine in found.values():
        if machine.machine_class != machine_class:
            raise ConflictError(
                f"machine {machine.name!r} is registered as {machine.machine_class!r} and cannot "
                f"become {machine_class!r}: give the new machine another name"
            )
    return found


def admit_to(on: Connection, names: Iterable[str], machine_class: str) -> list[Machine]:
    """Return machines by their names; those that nobody registered are registered in a class.

    Unlike `register_machines` it leaves a machine in the class it is of.
    """
    wanted = sorted(set(names))
    _insert(on, [(name, machine_class) for name in wanted])
    return _machines(rows(on, _SELECT_MACHINES + "WHERE name = ANY(%s::text[])", (wanted,)))


def with_classes_of_today(on: Connection, roster: Roster) -> Roster:
    """Return the roster with every class as it is stored now."""
    for machine_class in load_classes(on):
        if roster.classes.get(machine_class.name) != machine_class:
            roster = roster.with_class(machine_class)
    return roster


def admit(on: Connection, roster: Roster, strangers: Sequence[Stranger]) -> Roster:
    """Return a roster that also knows whoever of the strangers can be known.

    Machines that someone else registered meanwhile are found; of the others those are registered
    whose sensors are exactly those of one class. The rest stay strangers.

    Args:
        on: A session.
        roster: What is known; its classes as they are now (`with_classes_of_today`).
        strangers: Machines that wrote without being in it.
    """
    matched = [
        (stranger.name, fitting.name)
        for stranger in strangers
        if (fitting := roster.match_class(stranger.sensors)) is not None
    ]
    known = rows(
        on,
        _SELECT_MACHINES + "WHERE name = ANY(%s::text[])",
        ([stranger.name for stranger in strangers],),
    )
    there = {name for _, name, _ in known}
    new = sorted(pair for pair in matched if pair[0] not in there)
    if new:
        _insert(on, new)
        known = rows(
            on,
            _SELECT_MACHINES + "WHERE name = ANY(%s::text[])",
            ([stranger.name for stranger in strangers],),
        )
    return roster.with_machines(_machines(known))


_SELECT_CLASSES = "SELECT name, sensors, period_s, description FROM machine_classes "
_SELECT_MACHINES = "SELECT key, name, machine_class FROM machines "


def _insert(on: Connection, pairs: Sequence[tuple[str, str]]) -> None:
    if not pairs:
        return
    with translated(), on.cursor() as cursor:
        # In the order of names, so that two who register the same fleet do not wait in a circle.
        execute_values(
            cursor,
            "INSERT INTO machines (name, machine_class) VALUES %s ON CONFLICT DO NOTHING",
            sorted(pairs),
            page_size=1000,
        )


def _merged(stored: MachineClass, given: MachineClass) -> MachineClass:
    missing = [name for name in stored.sensor_names if name not in given.position]
    if missing:
        raise ConflictError(
            f"machine class {stored.name!r} is registered with sensors that are missing now "
            f"({', '.join(missing[:5])}): a sensor is never removed. Give the class another name"
        )
    ours = {sensor.name: sensor for sensor in given.sensors}
    kept = tuple(ours[name] for name in stored.sensor_names)
    added = tuple(sensor for sensor in given.sensors if sensor.name not in stored.position)
    return MachineClass(
        name=stored.name,
        sensors=kept + added,
        period_s=given.period_s,
        description=given.description,
    )


def _parameters(machine_class: MachineClass) -> tuple[Any, ...]:
    # JSON knows no infinity: a bound that is none is null.
    sensors = [
        {
            "name": sensor.name,
            "unit": sensor.unit,
            "low": sensor.low if isfinite(sensor.low) else None,
            "high": sensor.high if isfinite(sensor.high) else None,
        }
        for sensor in machine_class.sensors
    ]
    return machine_class.name, Json(sensors), machine_class.period_s, machine_class.description


def _class(row: tuple[Any, ...]) -> MachineClass:
    name, sensors, period_s, description = row
    return MachineClass(
        name=name,
        sensors=tuple(
            Sensor(
                name=sensor["name"],
                unit=sensor["unit"],
                low=-inf if sensor["low"] is None else sensor["low"],
                high=inf if sensor["high"] is None else sensor["high"],
            )
            for sensor in sensors
        ),
        period_s=period_s,
        description=description,
    )


def _machines(found: Iterable[tuple[Any, ...]]) -> list[Machine]:
    return [Machine(key=key, name=name, machine_class=kind) for key, name, kind in found]
