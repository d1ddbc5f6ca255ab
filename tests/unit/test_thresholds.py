"""Where health ends."""

import numpy as np
import pytest

from domain.detectors.contract import Detector
from domain.detectors.prototypes import Prototypes
from domain.readings import Matrix
from domain.thresholds import out_of_fold, threshold_of, trimmed


def nearest_known(features: Matrix) -> Detector:
    """Memorise every row: in its own sample such a detector scores 0."""
    return Prototypes(centres=features.copy())


def test_out_of_fold_scores_do_not_know_their_neighbourhood() -> None:
    """A memorising detector is found out: its held-out blocks are far from what it knows."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=(300, 2)), axis=0)

    scores = out_of_fold([walk], nearest_known, blocks=5)

    assert len(scores) == 300
    assert nearest_known(walk).score(walk).max() == 0
    assert np.median(scores) > 0.5


def test_each_machine_is_cut_on_its_own() -> None:
    """Every machine is known when a part of it is scored, short ones included."""
    machines = [np.full((40, 1), 10.0 * at) for at in range(4)] + [np.full((3, 1), 99.0)]

    assert out_of_fold(machines, nearest_known, blocks=5).max() < 1e-9


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
