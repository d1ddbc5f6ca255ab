"""Sensor fault, regime change, wear and drift are told apart, on simulated fleets of each."""

from collections.abc import Callable

import numpy as np
import pytest

from domain.class_files import load_class
from domain.readings import Matrix
from domain.risk.steps import steps_of
from domain.simulation.fleet import Fleet
from tuning.causes import Cause, Recent, diagnose
from tuning.drift import Reference

START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
MACHINES = tuple(f"m{at}" for at in range(6))
PUMP = load_class("pump")
SENSORS = PUMP.machine_class.sensor_names
SD = np.array([sensor.sd for sensor in PUMP.spec.sensors])

type Change = Callable[[Fleet], None]


def lived(change: Change, seed: int) -> tuple[Reference, list[Matrix]]:
    """Return what four hours taught, and the minutes of the three hours after a change."""
    fleet = Fleet.create(PUMP, MACHINES, start_us=START_US, period_s=5.0, seed=seed)
    learnt = fleet.advance(START_US + 4 * HOUR_US)
    change(fleet)
    minutes = [
        steps_of(instants, values, 60_000_000)[1]
        for _, instants, values in fleet.advance(START_US + 7 * HOUR_US)
    ]
    return Reference.of(np.concatenate([one.values for one in learnt])), minutes


def cause(reference: Reference, minutes: list[Matrix], *, stuck: int | None = None) -> Cause:
    """Diagnose; `stuck` is a machine whose first sensor the watch does not trust."""
    fleet = [
        Recent(
            machine=name,
            values=values,
            faulty=np.arange(len(SENSORS)) == (0 if at == stuck else -1),
        )
        for at, (name, values) in enumerate(zip(MACHINES, minutes, strict=True))
    ]
    found = diagnose(reference, fleet, SENSORS)
    assert found is not None
    return found.cause


def _nothing(_fleet: Fleet) -> None:
    pass


def _wear(fleet: Fleet) -> None:
    fleet.inject(
        "m2",
        "bearing_wear",
        onset_us=START_US + 4 * HOUR_US,
        develop_s=9000,
        duration_s=20_000,
        severity=2,
    )


SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


@SEEDS
def test_a_healthy_fleet_has_no_cause(seed: int) -> None:
    """Regimes and wandering that training saw are nothing new."""
    assert cause(*lived(_nothing, seed)) is Cause.NONE


@SEEDS
def test_wear_is_of_one_machine(seed: int) -> None:
    """Several sensors of one machine leave together; the others stay."""
    assert cause(*lived(_wear, seed)) is Cause.WEAR


@SEEDS
def test_one_sensor_of_one_machine_is_a_fault_of_the_sensor(seed: int) -> None:
    """Whether the sensor watch saw it or not."""
    reference, minutes = lived(_nothing, seed)
    assert cause(reference, minutes, stuck=1) is Cause.SENSOR_FAULT
    spread = reference.edges[3, 7] - reference.edges[3, 1]
    minutes[4][60:, 3] += 3 * spread
    assert cause(reference, minutes) is Cause.SENSOR_FAULT


def _scale(reference: Reference) -> Matrix:
    scale: Matrix = reference.edges[:, 7] - reference.edges[:, 1]
    return scale


@SEEDS
def test_what_moves_the_fleet_at_once_is_another_regime(seed: int) -> None:
    """Half of the sensors stand elsewhere from one hour on, in every machine."""
    reference, minutes = lived(_nothing, seed)
    for one in minutes:
        one[70:, ::2] += 3 * _scale(reference)[::2]
    assert cause(reference, minutes) is Cause.REGIME_CHANGE


@SEEDS
def test_what_moves_the_fleet_slowly_is_drift(seed: int) -> None:
    """As a season does: some sensors climb by the minute, in every machine."""
    reference, minutes = lived(_nothing, seed)
    for one in minutes:
        ramp = np.linspace(0, 4, len(one))[:, None]
        one[:, 1:5] += ramp * _scale(reference)[1:5]
    assert cause(reference, minutes) is Cause.DRIFT


def test_too_little_is_no_ground_for_a_cause() -> None:
    """A fleet that was just switched on."""
    reference, minutes = lived(_nothing, 1)
    few = [Recent(machine="m", values=minutes[0][:10], faulty=np.zeros(len(SENSORS), bool))]

    assert diagnose(reference, few, SENSORS) is None
