"""Sensors that are ill themselves."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.class_files import load_class
from domain.machines import MachineClass, Sensor
from domain.readings import Matrix
from domain.sensor_health import AT_LEAST_ROWS, SensorFault, SensorWatch
from domain.simulation.fleet import Fleet
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


UNITS = MachineClass(
    name="units",
    sensors=(
        Sensor(name="temperature", unit="Cel", low=-40, high=150),
        Sensor(name="pressure", unit="bar"),
        Sensor(name="flow", unit="l/min"),
        Sensor(name="current", unit="A"),
    ),
    period_s=0.5,
)


def steady(rows: int, seed: int = 0) -> Matrix:
    """Return healthy readings of a class with units, shape (n, 4)."""
    rng = np.random.default_rng(seed)
    return rng.normal((89.5, 4.0, 125.0, 20.0), (0.7, 0.05, 1.6, 0.5), (rows, 4))


@pytest.fixture(scope="module")
def unit_watch() -> SensorWatch:
    """Return a watch over sensors whose units may be confused."""
    return SensorWatch.fit([history(f"m{seed}", steady(600, seed)) for seed in (1, 2)], UNITS)


@pytest.mark.parametrize(
    ("column", "factor", "offset"),
    [(0, 1.8, 32.0), (0, 1.0, 273.15), (1, 14.5038, 0.0), (2, 0.06, 0.0), (3, 1000.0, 0.0)],
)
def test_a_sensor_that_speaks_in_another_unit_is_told_until_it_is_mended(
    unit_watch: SensorWatch, column: int, factor: float, offset: float
) -> None:
    """From the first reading on, through a change of regime, and never another sensor."""
    values = steady(400, 3)
    values[250:, column] *= 0.9
    values[200:300, column] = values[200:300, column] * factor + offset

    faults = unit_watch.check(unit_watch.new_memory(), values)

    assert (faults[200:300, column] == SensorFault.UNIT_JUMP).all()
    faults[200:300, column] = SensorFault.NONE
    assert not faults.any()


def test_a_machine_that_goes_wrong_does_not_change_its_unit(unit_watch: SensorWatch) -> None:
    """What drifts there, jumps elsewhere or stops altogether is left to the model."""
    values = steady(400, 4)
    values[100:, 1] += np.linspace(0, 60, 300)
    values[100:, 2] = 0.0
    values[100:, 3] *= 1.7

    faults = unit_watch.check(unit_watch.new_memory(), values)

    assert not (faults == SensorFault.UNIT_JUMP).any()


def test_a_reading_that_fits_by_chance_is_left_out_alone(
    unit_watch: SensorWatch,
) -> None:
    """A reading that fits by chance is left out alone; what comes next is judged anew."""
    values = steady(300, 8)
    values[200, 0] = 89.5 * 1.8 + 32
    values[201:, 0] = 120.0 + values[201:, 0] - 89.5

    faults = unit_watch.check(unit_watch.new_memory(), values)

    assert np.argwhere(faults).tolist() == [[200, 0]]


def test_what_health_has_shown_before_is_no_other_unit() -> None:
    """A pump that idles at a sixtieth of its flow speaks in litres per minute all the same."""
    idling = steady(600)
    idling[300:, 2] /= 60
    watch = SensorWatch.fit([history("m", idling)], UNITS)

    faults = watch.check(watch.new_memory(), idling)

    assert not faults.any()
    older = watch.to_arrays()
    del older["usual"]
    unguarded = SensorWatch.from_arrays(older, UNITS)
    assert (unguarded.check(unguarded.new_memory(), idling)[300:, 2] == SensorFault.UNIT_JUMP).all()


@pytest.mark.parametrize("name", ["pump", "fan"])
def test_a_fleet_that_fails_never_speaks_in_another_unit(name: str) -> None:
    """Regimes, wear and every failure of the shipped classes, after an hour of learning."""
    start_us, hour_us = 1_750_000_000_000_000, 3_600_000_000
    names = [f"m{at}" for at in range(6)]
    fleet = Fleet.create(load_class(name), names, start_us=start_us, seed=3)
    learnt = [history(names[one.machine], one.values) for one in fleet.advance(start_us + hour_us)]
    watch = SensorWatch.fit(learnt, fleet.machine_class)
    for at, mode in enumerate(fleet.modes):
        onset_us = start_us + hour_us + 300_000_000
        fleet.inject(
            names[at % 6], mode, onset_us=onset_us, develop_s=90, duration_s=600, severity=2
        )

    lived = list(fleet.advance(start_us + 4 * hour_us))

    assert len(lived) == len(names)
    for one in lived:
        codes = watch.check(watch.new_memory(), one.values)
        assert not (codes == SensorFault.UNIT_JUMP).any()


def test_one_wild_value_does_not_blind_the_watch(unit_watch: SensorWatch) -> None:
    """The level is not carried away by a spike."""
    values = steady(200, 5)
    values[80, 1] = 1e12
    values[150:, 1] *= 14.5038

    faults = unit_watch.check(unit_watch.new_memory(), values)

    assert (faults[150:, 1] == SensorFault.UNIT_JUMP).all()


def test_a_level_that_is_not_known_yet_cannot_jump(unit_watch: SensorWatch) -> None:
    """The first readings of a machine say what its level is."""
    values = steady(40, 6)
    values[10:, 1] *= 14.5038

    assert not unit_watch.check(unit_watch.new_memory(), values).any()


@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_same_jumps(unit_watch: SensorWatch, cuts: list[int]) -> None:
    """What is half confirmed at the end of a batch goes on in the next."""
    values = steady(300, 7)
    values[120:180, 0] = values[120:180, 0] * 1.8 + 32
    values[150:152, 0] = np.nan
    memory, bounds = unit_watch.new_memory(), [0, *sorted(cuts), 300]

    parts = [unit_watch.check(memory, values[a:b]) for a, b in pairwise(bounds)]

    whole = unit_watch.check(unit_watch.new_memory(), values)
    assert (whole == SensorFault.UNIT_JUMP).sum() == 58
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_same_faults(watch: SensorWatch, cuts: list[int]) -> None:
    """A stream and a backtest agree."""
    values = healthy(5, rows=300).values.copy()
    values[40:80, 1], values[100:150, 2] = values[40, 1], np.nan
    memory, bounds = watch.new_memory(), [0, *sorted(cuts), 300]

    parts = [watch.check(memory, values[a:b]) for a, b in pairwise(bounds)]

    np.testing.assert_array_equal(np.concatenate(parts), watch.check(watch.new_memory(), values))
