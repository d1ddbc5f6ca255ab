"""States of sensors: since when, what changes, and which holes count."""

import numpy as np
import pytest

from domain.conditions import (
    BY_CODE,
    FROM_ARRIVAL,
    FROM_READINGS,
    REFRESH_US,
    WHOLE_MACHINE,
    Condition,
    GapWatch,
    SensorState,
    StateBook,
    sensor_conditions,
)
from domain.sensor_health import SensorFault

S = 1_000_000


def state(since_s: int, last_s: int, condition: Condition = Condition.STUCK) -> SensorState:
    """Return a state of machine 1."""
    return SensorState(
        machine_key=1,
        sensor="flow",
        condition=condition,
        since_us=since_s * S,
        last_seen_us=last_s * S,
    )


def test_every_condition_is_looked_for_and_every_fault_has_one() -> None:
    """Nobody can add one that is never written, or never taken away."""
    assert set(Condition) == FROM_READINGS | FROM_ARRIVAL
    assert not FROM_READINGS & FROM_ARRIVAL
    assert set(BY_CODE) == set(SensorFault) - {SensorFault.NONE}


def test_only_changes_are_written() -> None:
    """Beginning and end, and now and then that it goes on, with the beginning it had."""
    book, what = StateBook(), ("flow", Condition.STUCK)

    began = book.settle(1, {what: (5 * S, 6 * S)}, FROM_READINGS)
    same = book.settle(1, {what: (6 * S, 7 * S)}, FROM_READINGS)
    later = book.settle(1, {what: (7 * S, 6 * S + REFRESH_US)}, FROM_READINGS)
    ended = book.settle(1, {}, FROM_READINGS)

    assert (began.present, began.ended) == ((state(5, 6),), ())
    assert (same.present, same.ended) == ((), ())
    assert later.present == (state(5, 16),)
    assert (ended.present, ended.ended) == ((), (state(5, 16),))
    assert book.settle(1, {}, FROM_READINGS).ended == ()


def test_what_was_not_looked_for_stays() -> None:
    """Readings say nothing about silence, nor silence about a stuck sensor."""
    stuck, silent = state(1, 2), state(1, 2, Condition.SILENT)
    book = StateBook([stuck, silent])

    assert book.settle(1, {}, FROM_ARRIVAL).ended == (silent,)
    assert book.settle(2, {}, FROM_READINGS).ended == ()
    assert book.settle(1, {}, FROM_READINGS).ended == (stuck,)


def test_a_condition_that_becomes_another_ends_and_begins() -> None:
    """A stuck sensor that then stays away is no longer stuck."""
    book = StateBook([state(1, 2)])

    changes = book.settle(1, {("flow", Condition.DROPOUT): (8 * S, 9 * S)}, FROM_READINGS)

    assert changes.ended == (state(1, 2),)
    assert changes.present == (state(8, 9, Condition.DROPOUT),)


def test_a_sensor_is_ill_since_the_first_of_its_last_readings_in_a_row() -> None:
    """What was over before the last reading is not told."""
    instants = np.arange(4, dtype=np.int64) * S
    faults = np.array([[1, 1, 0], [1, 0, 0], [1, 2, 4], [1, 0, 4]], dtype=np.uint8)

    found = sensor_conditions(("a", "b", "c"), instants, faults)

    assert found == {
        ("a", Condition.STUCK): (0, 3 * S),
        ("c", Condition.UNIT_JUMP): (2 * S, 3 * S),
    }


def seconds(*at_s: float) -> np.ndarray:
    """Return instants."""
    return np.array([at * S for at in at_s], dtype=np.int64)


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_hole_is_told_while_the_model_looks_at_it(cut: int) -> None:
    """Within a batch or between two, until the window has passed it."""
    watch = GapWatch(period_s=0.5, window_s=60.0)
    times = seconds(0.0, 9.9, 20.1, 20.6, 21.0)

    watch.see(times[:cut])
    watch.see(times[cut:])

    hole = {(WHOLE_MACHINE, Condition.GAP): (9_900_000, 20_100_000)}
    assert watch.conditions(21 * S) == hole
    assert watch.conditions(80 * S) == hole
    assert watch.conditions(81 * S) == {}


def test_ordinary_pauses_and_what_nobody_looked_at_are_no_holes() -> None:
    """Twenty periods and ten seconds are patience; between two lives nobody looked."""
    watch = GapWatch(period_s=0.5, window_s=60.0)
    watch.see(seconds(0, 10, 20, 30))
    watch.look_away()
    watch.see(seconds(1000, 1001))
    watch.see(seconds())
    slow = GapWatch(period_s=60.0, window_s=3600.0)
    slow.see(seconds(0, 1200))

    assert watch.conditions(1001 * S) == {}
    assert slow.conditions(1200 * S) == {}
