"""Scores of readings and events, against values worked out by hand or by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from domain.scorecard.points import Confusion, Event, delays, events, roc_auc, vus_pr

TRUTH = np.array([0, 0, 1, 1, 1, 0, 0, 1, 0, 0], dtype=bool)
TOLD = np.array([0, 1, 0, 1, 1, 1, 0, 0, 0, 0], dtype=bool)


def test_the_four_counts_and_what_follows_from_them() -> None:
    """Two hits, two false, two missed, four left alone."""
    found = Confusion.of(TRUTH, TOLD)

    assert (found.tp, found.fp, found.fn, found.tn) == (2, 2, 2, 4)
    assert found.f1 == pytest.approx(f1_score(TRUTH, TOLD))
    assert found.far == pytest.approx(100 * 2 / 6)
    assert found.mar == pytest.approx(50.0)


def test_counts_of_runs_add_up() -> None:
    """Micro-averaging: the sum of the counts, not the mean of the scores."""
    total = Confusion.of(TRUTH, TOLD) + Confusion.of(TRUTH, TRUTH)

    assert (total.tp, total.fp, total.fn, total.tn) == (6, 2, 2, 10)


def test_nothing_to_count_is_zero() -> None:
    """No division by zero where there is no reading."""
    assert (Confusion().f1, Confusion().far, Confusion().mar) == (0.0, 0.0, 0.0)


def test_events_are_runs_with_both_ends() -> None:
    """Also a run that lasts to the last reading."""
    assert events(TRUTH) == (Event(first=2, last=4), Event(first=7, last=7))
    assert events(np.array([True, True])) == (Event(first=0, last=1),)
    assert events(np.array([False])) == ()


def test_the_delay_is_counted_from_the_first_reading_of_the_event() -> None:
    """An event that was never told has none."""
    assert delays(events(TRUTH), TOLD) == (1, None)


def test_roc_auc_agrees_with_scikit_learn() -> None:
    """Ties included."""
    rng = np.random.default_rng(0)
    truth, score = rng.random(500) < 0.3, np.round(rng.normal(size=500), 1)

    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score))
    assert np.isnan(roc_auc(np.zeros(3, dtype=bool), np.arange(3.0)))


def test_vus_pr_without_a_buffer_is_average_precision_times_existence() -> None:
    """With one event that is met by the highest score, existence is 1 throughout."""
    truth = np.zeros(200, dtype=bool)
    truth[50:80] = True
    score = np.random.default_rng(1).normal(size=200) + 2 * truth
    score[60] = 99

    value = vus_pr(truth, score, largest_buffer=0, thresholds=200)

    assert value == pytest.approx(average_precision_score(truth, score), rel=1e-9)


def test_vus_pr_forgives_what_is_near() -> None:
    """An alarm just beside its event is worth more than one far away."""
    truth = np.zeros(300, dtype=bool)
    truth[100:110] = True
    near, far = np.zeros(300), np.zeros(300)
    near[92:102], far[200:210] = 1, 1

    assert vus_pr(truth, near, largest_buffer=20) > vus_pr(truth, far, largest_buffer=20)
    assert np.isnan(vus_pr(np.zeros(5, dtype=bool), np.zeros(5), largest_buffer=2))


def test_a_perfect_score_fills_the_volume() -> None:
    """Without a buffer nothing is left to lose."""
    truth = np.zeros(100, dtype=bool)
    truth[40:60] = True

    assert vus_pr(truth, truth.astype(float), largest_buffer=0) > 0.95
