"""NAB's score against values worked out by hand from its published formula."""

from math import exp, tanh

import numpy as np
import pytest

from domain.scorecard.nab import Nab, change_points, window_points
from domain.scorecard.points import Event

WINDOW = (Event(first=100, last=149),)
SECOND_US = 1_000_000


def _score(*alarms: int) -> float:
    score = window_points(WINDOW, np.array(alarms, dtype=np.intp)).score
    assert score is not None
    return score


def test_perfect_and_silent() -> None:
    """An alarm at a window's first row is 100, none at all is 0."""
    assert _score(100) == pytest.approx(100.0)
    assert _score() == 0.0


def test_only_the_first_alarm_of_a_window_counts() -> None:
    """Later ones are neither rewarded nor punished."""
    assert _score(100, 101, 140) == pytest.approx(100.0)


def test_a_later_hit_is_worth_less() -> None:
    """Half way into the window it is (2 s(2.5) - 1) / (2 s(5) - 1), s the logistic function."""
    worth = (2 / (1 + exp(-2.5)) - 1) / (2 / (1 + exp(-5)) - 1)

    assert _score(125) == pytest.approx(100 * (worth + 1) / 2)
    assert _score(149) < _score(125) < _score(101)


def test_false_alarms_cost_a_ninth_and_less_behind_a_window() -> None:
    """Before any window and far behind one they cost .11, right behind it hardly anything."""
    assert _score(10, 100) == pytest.approx(100 - 100 * 0.11 / 2)
    assert _score(100, 900) == pytest.approx(100 - 100 * 0.11 / 2)
    assert 100 - 100 * 0.02 / 2 < _score(100, 150) < 100


def test_files_add_up_and_no_window_is_no_score() -> None:
    """The sum of points over the sum of windows."""
    added = Nab(points=1.0, windows=1, met=1) + Nab(points=-1.0, windows=1, false=2)

    assert (added.score, added.met, added.false) == (50.0, 1, 2)
    assert Nab().score is None


def test_windows_met_and_false_alarms_are_counted() -> None:
    """A window counts once; an alarm outside of all windows is false."""
    alarms = window_points(WINDOW, np.array([10, 100, 101, 900], dtype=np.intp))
    truth, told = np.zeros((2, 200), dtype=bool)
    truth[[50, 150]], told[[10, 60, 61, 140]] = True, True
    changes = change_points(np.arange(200) * SECOND_US, truth, told)

    assert (alarms.met, alarms.false) == (1, 2)
    assert (changes.windows, changes.met, changes.false) == (2, 1, 2)


def _changes(told: list[int], truth: list[int], rows: int = 200) -> float:
    flags = np.zeros((2, rows), dtype=bool)
    flags[0, truth], flags[1, told] = True, True
    score = change_points(np.arange(rows) * SECOND_US, *flags).score
    assert score is not None
    return score


def test_a_changepoint_is_met_within_a_minute() -> None:
    """At once is 100; half way (1 - .11) / 2 points; a second late is a miss and an alarm."""
    assert _changes([50], [50]) == pytest.approx(100.0)
    assert _changes([80], [50]) == pytest.approx(100 * (0.445 + 1) / 2)
    assert _changes([111], [50]) == pytest.approx(-100 * 0.11 / 2)
    assert _changes([], [50]) == 0.0


def test_a_hit_fades_along_a_hyperbolic_tangent() -> None:
    """SKAB's own profile, steepness 1."""
    place = -np.pi / 2 + np.pi * 5 / 60
    worth = 0.445 - 0.555 * tanh(place) / tanh(np.pi / 2)

    assert _changes([55], [50]) == pytest.approx(100 * (worth + 1) / 2)


def test_of_two_windows_that_overlap_the_first_ends_early() -> None:
    """One alarm cannot meet both changepoints."""
    assert _changes([65], [50, 60]) < _changes([50, 65], [50, 60]) < 100
