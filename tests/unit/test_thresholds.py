"""Where health ends."""

import numpy as np
import pytest
from scipy.stats import genpareto

from domain.detectors.contract import Detector
from domain.detectors.prototypes import Prototypes
from domain.readings import Matrix
from domain.thresholds import out_of_fold, peaks, return_level, threshold_of, trimmed


def nearest_known(features: Matrix) -> Detector:
    """Memorise every row: in its own sample such a detector scores 0."""
    return Prototypes(centres=features.copy())


def test_out_of_fold_scores_do_not_know_their_neighbourhood() -> None:
    """A memorising detector is found out: its held-out blocks are far from what it knows."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=(300, 2)), axis=0)

    scores = np.concatenate(out_of_fold([walk], nearest_known, blocks=5))

    assert len(scores) == 300
    assert nearest_known(walk).score(walk).max() == 0
    assert np.median(scores) > 0.5


def test_each_machine_is_cut_on_its_own() -> None:
    """Every machine is known when a part of it is scored, short ones included."""
    machines = [np.full((40, 1), 10.0 * at) for at in range(4)] + [np.full((3, 1), 99.0)]

    assert np.concatenate(out_of_fold(machines, nearest_known, blocks=5)).max() < 1e-9


def test_the_threshold_is_the_quantile_times_the_margin() -> None:
    """On ordinary tails nothing else has a say."""
    scores = np.abs(np.random.default_rng(0).normal(3, 1, size=5000))

    found = threshold_of(scores, quantile=0.99, margin=1.25)

    assert found == pytest.approx(1.25 * np.quantile(scores, 0.99))


def test_a_failure_in_the_scores_does_not_lift_the_threshold() -> None:
    """Beyond the tail that the bulk implies, high scores are taken for a failure."""
    healthy = np.abs(np.random.default_rng(0).normal(3, 0.3, size=900))
    scores = np.concatenate([healthy, np.full(50, 500.0)])

    assert threshold_of(scores, quantile=0.999, margin=1.0) < 20


def test_scores_of_zero_give_a_threshold_that_can_divide() -> None:
    """A detector that knows everything still has a threshold above 0."""
    assert threshold_of(np.zeros(10), quantile=0.99, margin=1.0) > 0


def test_trimming_leaves_out_what_looks_least_healthy() -> None:
    """Contamination moves a mean, but not a trimmed one."""
    rows = np.concatenate([np.random.default_rng(0).normal(size=(95, 1)), np.full((5, 1), 100.0)])

    def mean(features: Matrix) -> Detector:
        return Prototypes(centres=features.mean(axis=0, keepdims=True))

    assert trimmed(rows, mean, share=0.0).to_arrays()["centres"][0, 0] > 4
    assert abs(trimmed(rows, mean, share=0.05).to_arrays()["centres"][0, 0]) < 0.5
    assert len(trimmed(rows[:3], nearest_known, share=0.4).to_arrays()["centres"]) == 2
    assert len(trimmed(rows[:2], nearest_known, share=0.4).to_arrays()["centres"]) == 2


@pytest.mark.parametrize("shape", [-0.3, -0.1, 0.0])
def test_the_return_level_is_that_of_the_distribution(shape: float) -> None:
    """Scores with a known tail: what is exceeded once in 100,000 rows is found from 20,000."""
    scores = 3 + genpareto.rvs(shape, scale=0.5, size=20_000, random_state=4)

    found = return_level([scores], return_rows=1e5, apart_rows=1)

    truth = 3 + genpareto.ppf(1 - 1e-5, shape, scale=0.5)
    assert found == pytest.approx(truth, rel=0.2)


def test_a_longer_return_period_lies_higher() -> None:
    """Who wants fewer false alarms gets a higher threshold."""
    scores = np.abs(np.random.default_rng(0).normal(3, 1, size=4000))

    levels = [return_level([scores], return_rows=rows, apart_rows=5) for rows in (1e4, 1e6, 1e8)]

    assert np.quantile(scores, 0.99) < levels[0] < levels[1] < levels[2]


def test_neighbouring_excesses_are_one_peak_and_blocks_are_apart() -> None:
    """Overlapping windows show one event many times; blocks are not neighbours in time."""
    first = np.array([0.0, 5, 7, 0, 6, 0, 0, 0, 0, 9])
    second = np.array([8.0, 0, 0])

    assert peaks([first, second], 1.0, 3).tolist() == [7.0, 9.0, 8.0]
    assert peaks([first, second], 10.0, 3).tolist() == []


def test_a_failure_in_the_scores_does_not_lift_the_return_level() -> None:
    """A period that held a failure is cut at what its bulk implies, as with the other threshold."""
    healthy = np.abs(np.random.default_rng(0).normal(3, 0.3, size=900))
    scores = np.concatenate([healthy, np.full(40, 500.0)])

    assert return_level([scores], return_rows=1e5, apart_rows=3) < 20


@pytest.mark.parametrize("scores", [np.zeros(10), np.full(50, 2.0), np.array([1.0])])
def test_scores_without_a_tail_have_a_return_level(scores: np.ndarray) -> None:
    """Nothing is extrapolated where nothing varies."""
    level = return_level([scores], return_rows=1e5, apart_rows=3)

    assert level == pytest.approx(max(scores.max(), 1e-9))


def test_few_peaks_have_an_exponential_tail() -> None:
    """Three peaks say how high, not of which shape."""
    scores = np.concatenate([np.ones(97), [2.0, 3.0, 4.0]])

    level = return_level([scores[::-1]], return_rows=1e4, apart_rows=1)

    assert 1 <= level < 4 * np.log(1e4)
