"""Machines in motion: healthy signals and how they are cut into calls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.class_files import load_class
from domain.errors import BadInputError, NotFoundError
from domain.readings import Matrix
from domain.simulation import Chunk, Fleet
from tests.unit.wire_samples import examples

S = 1_000_000
START = 1_767_323_045 * S
PUMP = load_class("pump")
COLUMN = PUMP.machine_class.position


def fleet(machines: int = 1, *, seed: int = 0, gap_rate: float = 0.0) -> Fleet:
    """Return pumps `m0`, `m1`, … that begin at START."""
    names = [f"m{at}" for at in range(machines)]
    return Fleet.create(PUMP, names, start_us=START, seed=seed, gap_rate=gap_rate)


def joined(chunks: list[Chunk], machine: int) -> tuple[bytes, bytes]:
    """Return one machine's instants and values of several calls, as bytes."""
    mine = [chunk for chunk in chunks if chunk.machine == machine]
    return (
        np.concatenate([chunk.instants_us for chunk in mine]).tobytes(),
        np.concatenate([chunk.values for chunk in mine]).tobytes(),
    )


def _with_failures(machines: int) -> Fleet:
    made = fleet(machines, gap_rate=0.01)
    for at, mode in enumerate(made.modes):
        made.inject(f"m{at % 2}", mode, onset_us=START + (20 + 7 * at) * S, duration_s=40)
    return made


_WHOLE = _with_failures(3).advance(START + 150 * S)


@examples(1)
@given(st.lists(st.integers(0, 150 * S), max_size=12))
def test_how_time_is_cut_changes_no_bit(cuts: list[int]) -> None:
    """Failures of all kinds and gaps included; and a smaller fleet holds the same machines."""
    made = _with_failures(2)
    chunks = [chunk for cut in (*cuts, 150 * S) for chunk in made.advance(START + cut)]

    for machine in range(2):
        assert joined(chunks, machine) == joined(_WHOLE, machine)


def test_a_failure_may_be_told_late_and_in_any_order() -> None:
    """What is injected before its onset acts as if it had been known from the start."""
    late, early = fleet(), fleet()
    told = [("cavitation", 100), ("sensor_stuck", 90), ("sensor_dropout", 120)]
    for mode, onset_s in told:
        early.inject("m0", mode, onset_us=START + onset_s * S)
    chunks = late.advance(START + 80 * S)
    for mode, onset_s in reversed(told):
        late.inject("m0", mode, onset_us=START + onset_s * S)
    chunks += late.advance(START + 300 * S)

    assert joined(chunks, 0) == joined(early.advance(START + 300 * S), 0)
    assert late.truth() == early.truth()


def test_a_seed_means_the_same_sensors_whenever_it_is_run() -> None:
    """Which one sticks or drops out does not hang on the clock; the next of a kind is another."""
    modes = ("sensor_stuck", "sensor_dropout")
    runs = []
    for onset_s in (90, 97, 260):
        made = fleet()
        failures = [
            made.inject("m0", mode, onset_us=START + (onset_s + 400 * again) * S)
            for mode in modes
            for again in range(6)
        ]
        runs.append([one.sensors for one in failures])

    assert runs[0] == runs[1] == runs[2]
    assert len(set(runs[0])) > 2


def test_failures_that_are_told_again_in_another_order_are_the_same() -> None:
    """A producer that starts anew says which one of its kind each was."""
    first, second = fleet(), fleet()
    told = [first.inject("m0", "sensor_stuck", onset_us=START + at * S) for at in (300, 100, 200)]
    for one in sorted(told, key=lambda each: each.onset_us):
        second.inject("m0", one.kind, onset_us=one.onset_us, nth=one.nth)

    assert [one.nth for one in told] == [0, 1, 2]
    assert second.truth() == first.truth()


def test_machines_and_seeds_differ() -> None:
    """Neither machines of a fleet nor fleets of another seed repeat each other."""
    one, other = (joined(fleet(2).advance(START + 60 * S), at) for at in range(2))
    again = joined(fleet(2, seed=1).advance(START + 60 * S), 0)

    assert len({one, other, again}) == 3


def test_readings_keep_their_period_and_end_before_the_instant_asked_for() -> None:
    """Machines tick apart from each other; asking for the past gives nothing."""
    made = fleet(2)
    first, second = made.advance(START + 10 * S)

    assert set(np.diff(first.instants_us)) == {500_000}
    assert len(first.instants_us) == 20
    assert START <= first.instants_us[0] < START + S // 2
    assert first.instants_us[0] != second.instants_us[0]
    assert first.instants_us[-1] < START + 10 * S
    assert made.advance(START + 10 * S) == []


@pytest.fixture(scope="module")
def hours() -> Matrix:
    """Return three hours of one healthy pump."""
    return fleet().advance(START + 3 * 3600 * S)[0].values


def test_regimes_take_turns(hours: Matrix) -> None:
    """Load most of the time, idling in minutes, and the start shows in the current."""
    speed = hours[:, COLUMN["shaft_speed"]]
    idle = speed < 1100
    changes = np.flatnonzero(np.diff(idle))
    stays_s = np.diff(changes)[::2] * 0.5  # the first change is into idling

    assert 0.05 < idle.mean() < 0.3
    assert len(stays_s) > 10
    assert stays_s.min() > 25
    assert stays_s.max() < 100
    assert hours[:, COLUMN["motor_current"]].max() > 4


def test_noise_is_as_declared(hours: Matrix) -> None:
    """Standard deviation, memory and correlation of a stretch under load."""
    load = hours[:, COLUMN["shaft_speed"]] > 1465
    voltage, power = hours[load, COLUMN["supply_voltage"]], hours[load, COLUMN["motor_power"]]
    vibration = hours[load, COLUMN["vibration_de"]]

    assert 2.0 < voltage.std() < 3.0
    assert abs(np.corrcoef(voltage[1:], voltage[:-1])[0, 1]) < 0.15
    assert np.corrcoef(vibration[1:], vibration[:-1])[0, 1] > 0.7
    assert 0.2 < np.corrcoef(voltage, power)[0, 1] < 0.7


def test_sensors_have_their_resolution(hours: Matrix) -> None:
    """Pressure knows steps of 0.02 bar only, and no number is longer than its sensor's step."""
    pressure = hours[:, COLUMN["discharge_pressure"]]

    np.testing.assert_array_equal(pressure, np.round(pressure * 50) / 50)
    assert max(len(repr(value)) for value in hours[:2000].ravel().tolist()) <= 8


def test_a_level_drifts_while_healthy() -> None:
    """A temperature wanders by several short-term deviations within hours."""
    made = fleet(4)
    column = COLUMN["ambient_temperature"]
    moved = [
        np.ptp(chunk.values[:, column].reshape(-1, 1200).mean(axis=1))
        for chunk in made.advance(START + 4 * 3600 * S)
    ]

    assert max(moved) > 3 * 0.1


def test_gaps_are_rare_and_bounded() -> None:
    """Readings drop out for some periods, and none is sent twice."""
    made = fleet(gap_rate=0.01)
    steps = np.diff(made.advance(START + 3600 * S)[0].instants_us)

    assert 0.004 < (steps > 500_000).mean() < 0.02
    assert steps.min() == 500_000
    assert steps.max() <= 20 * 500_000


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["a", "a"], {}, "named twice"),
        (["a b"], {}, "cannot name a machine"),
        (["a"], {"period_s": -1.0}, "period_s is -1.0"),
        (["a"], {"gap_rate": 1.0}, "gap_rate 1.0"),
        (["a"], {"num_sensors": 0}, "1 to 1000"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(
    names: list[str], options: dict[str, float], words: str
) -> None:
    """Before anything is simulated."""
    with pytest.raises(BadInputError, match=words):
        Fleet.create(PUMP, names, start_us=0, **options)  # type: ignore[arg-type] # cases


def test_too_long_an_advance_is_refused() -> None:
    """Rather than fill the memory."""
    with pytest.raises(BadInputError, match="Advance in smaller steps"):
        fleet().advance(START + 10**15)


def test_an_empty_fleet_sends_nothing() -> None:
    """And names its class all the same."""
    made = Fleet.create(PUMP, [], start_us=0, num_sensors=4, period_s=1.0)

    assert made.advance(S) == []
    assert made.machine_class.name == "pump-4"


def test_what_is_not_there_is_told() -> None:
    """Unknown machines and modes name what exists; wrong numbers and the past are refused."""
    made = fleet()
    made.advance(START + 10 * S)

    with pytest.raises(NotFoundError, match="no machine 'x'"):
        made.inject("x", "imbalance", onset_us=START + 20 * S)
    with pytest.raises(NotFoundError, match="bearing_wear, overheating"):
        made.inject("m0", "rust", onset_us=START + 20 * S)
    with pytest.raises(BadInputError, match="All must be > 0"):
        made.inject("m0", "imbalance", onset_us=START + 20 * S, severity=0)
    with pytest.raises(BadInputError, match="already sent"):
        made.inject("m0", "imbalance", onset_us=START)
