"""Sensors that are ill themselves."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.machines import MachineClass, Sensor
from domain.sensor_health import AT_LEAST_ROWS, SensorFault, SensorWatch
from tests.unit.learning_samples import healthy, history, machine_class


@pytest.fixture(scope="module")
def watch() -> SensorWatch:
    """Return a watch that learnt from three healthy machines."""
    return SensorWatch.fit([healthy(seed) for seed in range(3)], machine_class())


def test_healthy_readings_have_no_fault(watch: SensorWatch) -> None:
    """What the history looks like is no fault."""
    assert not watch.check(watch.new_memory(), healthy(9).values).any()


def test_a_value_that_repeats_longer_than_any_healthy_one_is_stuck(watch: SensorWatch) -> None:
    """The fault begins once patience is over and names the sensor alone."""
    values = healthy(9).values.copy()
    values[100:140, 2] = values[100, 2]

    faults = watch.check(watch.new_memory(), values)

    begin = 100 + AT_LEAST_ROWS - 1
    assert (faults[begin:140, 2] == SensorFault.STUCK).all()
    faults[begin:140, 2] = SensorFault.NONE
    assert not faults.any()


def test_a_quantised_sensor_repeats_itself_without_being_stuck() -> None:
    """How long is too long is learnt from each sensor's history."""
    rounded = [history(f"m{at}", np.round(healthy(at).values / 8) * 8) for at in range(3)]
    watch = SensorWatch.fit(rounded, machine_class())

    assert watch.stuck_rows.min() > AT_LEAST_ROWS
    assert not watch.check(watch.new_memory(), rounded[0].values).any()


def test_a_sensor_that_never_moved_is_never_called_stuck() -> None:
    """A constant in the history says nothing about being stuck."""
    values = healthy(0).values.copy()
    values[:, 1] = 32.0
    watch = SensorWatch.fit([history("m", values)], machine_class())

    assert watch.stuck_rows[1] == np.inf
    assert not watch.check(watch.new_memory(), values).any()


def test_a_sensor_that_stays_away_has_dropped_out(watch: SensorWatch) -> None:
    """A short absence is none, a long one is."""
    values = healthy(9).values.copy()
    values[50:55, 0] = np.nan
    values[200:260, 3] = np.nan

    faults = watch.check(watch.new_memory(), values)

    assert not faults[:, 0].any()
    assert (faults[200 + AT_LEAST_ROWS : 260, 3] == SensorFault.DROPOUT).all()
    assert not faults[260:, 3].any()


def test_a_value_beyond_what_physics_allows_is_a_fault_at_once() -> None:
    """The range of the class decides, both ways."""
    ranged = MachineClass(name="toy", sensors=(Sensor(name="s0", low=0.0, high=20.0),))
    watch = SensorWatch.fit([healthy(1, sensors=1)], ranged)

    faults = watch.check(watch.new_memory(), np.array([[10.0], [-1.0], [21.0], [20.0]]))

    assert faults[:, 0].tolist() == [0, SensorFault.OUT_OF_RANGE, SensorFault.OUT_OF_RANGE, 0]


def test_a_stuck_sensor_of_one_machine_does_not_teach_patience() -> None:
    """The median over machines keeps contamination out."""
    histories = [healthy(at) for at in range(3)]
    broken = histories[0].values.copy()
    broken[300:400, 0] = 11.0
    watch = SensorWatch.fit([history("m0", broken), *histories[1:]], machine_class())

    assert watch.stuck_rows[0] == AT_LEAST_ROWS


@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_same_faults(watch: SensorWatch, cuts: list[int]) -> None:
    """A stream and a backtest agree."""
    values = healthy(5, rows=300).values.copy()
    values[40:80, 1], values[100:150, 2] = values[40, 1], np.nan
    memory, bounds = watch.new_memory(), [0, *sorted(cuts), 300]

    parts = [watch.check(memory, values[a:b]) for a, b in pairwise(bounds)]

    np.testing.assert_array_equal(np.concatenate(parts), watch.check(watch.new_memory(), values))
