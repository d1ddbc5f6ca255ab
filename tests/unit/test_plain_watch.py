"""Faults of sensors and gaps where no model exists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.conditions import Condition, SensorState, StateBook, StateChanges
from domain.machines import MachineClass, Sensor
from domain.plain_watch import LEAST_ROWS, PlainWatch
from domain.readings import Matrix

PUMP = MachineClass(
    name="pump",
    sensors=(Sensor(name="vibration", high=50.0), Sensor(name="flow"), Sensor(name="mode")),
    period_s=1.0,
)
S = 1_000_000


def _values(count: int, seed: int = 0) -> Matrix:
    """Return healthy readings: two that vary, one that stays for long, as a switch does."""
    made = np.random.default_rng(seed).normal(size=(count, 3))
    made[:, 2] = np.repeat([0.0, 1.0], 50)[np.arange(count) % 100]
    return made


class _Stream:
    """Machines that speak one after the other, and what is told of them."""

    def __init__(self, stored: tuple[SensorState, ...] = ()) -> None:
        self.told = {one.key: one for one in stored}
        self.watch = PlainWatch(StateBook(stored))

    def speak(self, key: int, first: int, values: Matrix, step: int = 0) -> None:
        at = (first + np.arange(len(values), dtype=np.int64)) * S
        for start in range(0, len(values), step or len(values)):
            part = slice(start, start + (step or len(values)))
            self._take(self.watch.see(key, PUMP, at[part], values[part]))

    def _take(self, changes: StateChanges) -> None:
        for one in changes.ended:
            del self.told[one.key]
        self.told |= {one.key: one for one in changes.present}

    @property
    def wrong(self) -> set[tuple[int, str, str]]:
        return {(key, sensor, str(condition)) for key, sensor, condition in self.told}


def test_a_stuck_a_missing_and_an_impossible_sensor_are_told_and_taken_back() -> None:
    """Once it is known how the class looks in health; what repeats itself healthily is let be."""
    stream = _Stream()
    for key in (1, 2, 3):
        stream.speak(key, 0, _values(200, key))
    assert stream.wrong == set()
    ill = _values(40, 9)
    ill[:, 1] = 7.0
    ill[-30:, 0] = np.nan
    stream.speak(1, 200, ill)
    hot = _values(1, 10)
    hot[0, 0] = 80.0
    stream.speak(2, 200, hot)

    assert stream.wrong == {(1, "flow", "stuck"), (1, "vibration", "dropout")} | {
        (2, "vibration", "out_of_range")
    }
    stream.speak(1, 240, _values(5, 11))
    stream.speak(2, 201, _values(5, 12))
    assert stream.wrong == set()


def test_before_enough_was_seen_nothing_is_called_stuck_and_then_at_once() -> None:
    """A sensor that was stuck while limits were learnt from others is told as they are known."""
    stream = _Stream()
    ill = _values(LEAST_ROWS - 1, 1)
    ill[-60:, 1] = 7.0
    stream.speak(1, 0, ill)
    assert stream.wrong == set()
    for key in (2, 3, 4):
        stream.speak(key, 0, _values(200, key))
    more = _values(3, 5)
    more[:, 1] = 7.0
    stream.speak(1, LEAST_ROWS - 1, more)

    assert stream.wrong == {(1, "flow", "stuck")}


def test_what_was_told_before_a_restart_stands_until_limits_are_known_again() -> None:
    """Forgetting how a class looks heals no sensor."""
    before = SensorState(
        machine_key=1, sensor="flow", condition=Condition.STUCK, since_us=0, last_seen_us=S
    )
    stream = _Stream((before,))
    stream.speak(1, 100, _values(5))
    assert stream.wrong == {(1, "flow", "stuck")}
    stream.speak(1, 105, _values(220))
    assert stream.wrong == set()


def test_a_sensor_that_is_stuck_now_teaches_nothing_of_health() -> None:
    """A history that comes at once, of a class with one machine."""
    stream = _Stream()
    ill = _values(300, 1)
    ill[-60:, 1] = 7.0
    stream.speak(1, 0, ill)

    assert stream.wrong == {(1, "flow", "stuck")}


def test_a_gap_needs_no_limits_and_is_told_for_a_while() -> None:
    """From the first reading on."""
    stream = _Stream()
    stream.speak(1, 0, _values(5))
    stream.speak(1, 100, _values(5))
    assert stream.wrong == {(1, "", "gap")}
    (state,) = stream.told.values()
    assert (state.since_us, state.last_seen_us) == (4 * S, 100 * S)
    stream.speak(1, 105, _values(400))
    assert stream.wrong == set()


@pytest.mark.parametrize("again", [0, 150])
def test_what_is_not_newer_changes_nothing(again: int) -> None:
    """A batch delivered twice, or late."""
    stream = _Stream()
    stream.speak(1, 0, _values(200))
    stuck = np.full((60, 3), 3.0)
    stream.speak(1, again, stuck[: 200 - again])

    assert stream.wrong == set()


@given(st.integers(1, 80))
def test_any_split_into_batches_tells_the_same(step: int) -> None:
    """As the stream comes, or as it is read from Postgres."""
    whole, parts = _Stream(), _Stream()
    ill = _values(80, 3)
    ill[20:, 1] = 7.0
    for stream in (whole, parts):
        for key in (1, 2, 3):
            stream.speak(key, 0, _values(200, key))
    whole.speak(1, 200, ill)
    parts.speak(1, 200, ill, step)

    assert whole.wrong == parts.wrong == {(1, "flow", "stuck")}
    assert {one.since_us for one in whole.told.values()} == {229 * S}


def test_a_class_that_gained_a_sensor_is_learnt_anew() -> None:
    """Its limits have another shape."""
    stream = _Stream()
    stream.speak(1, 0, _values(200))
    wider = MachineClass(name="pump", sensors=(*PUMP.sensors, Sensor(name="heat")), period_s=1.0)
    values = np.random.default_rng(1).normal(size=(200, 4))
    changes = stream.watch.see(1, wider, (300 + np.arange(200, dtype=np.int64)) * S, values)

    assert changes.present == ()
