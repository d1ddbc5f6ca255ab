"""An alarm is late only since there was something to see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.scorecard.points import Event
from domain.scorecard.visible import visible_from

EVENT = Event(first=100, last=199)


def _values(steps: dict[int, tuple[int, float]]) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(300, 3))
    for sensor, (first, by) in steps.items():
        values[first:, sensor] += by
    return values


@given(late=st.integers(0, 59), by=st.floats(6, 100), look=st.integers(60, 120))
def test_it_is_where_a_sensor_leaves_its_level(late: int, by: float, look: int) -> None:
    """However late, and however wide the others are."""
    values = _values({1: (100 + late, by)}) * np.array([1000.0, 1.0, 0.001])

    assert visible_from(values, EVENT, look_rows=look) == pytest.approx(100 + late, abs=1)


def test_the_clearest_sensor_says_when() -> None:
    """A small movement before is a small movement."""
    assert visible_from(_values({0: (110, 1.0), 2: (140, 20.0)}), EVENT, look_rows=60) == 140


def test_what_moved_before_the_label_is_seen_from_its_beginning() -> None:
    """An event begins with its label, whatever was there before."""
    assert visible_from(_values({0: (90, 20.0)}), EVENT, look_rows=60) == 100


@pytest.mark.parametrize(
    ("event", "values"),
    [
        (EVENT, np.ones((300, 2))),
        (EVENT, np.full((300, 2), np.nan)),
        (Event(first=0, last=0), np.zeros((1, 1))),
        (Event(first=299, last=299), np.random.default_rng(1).normal(size=(300, 2))),
    ],
)
def test_where_nothing_moves_or_nobody_measured_it_is_the_first_reading(
    event: Event, values: np.ndarray
) -> None:
    """The delay counts from the label then, as the other one does."""
    assert visible_from(values, event, look_rows=60) == event.first


def test_missing_readings_are_no_step() -> None:
    """A sensor that falls silent shows nothing."""
    values = _values({1: (130, 10.0)})
    values[100:, 0] = np.nan

    assert visible_from(values, EVENT, look_rows=60) == 130
