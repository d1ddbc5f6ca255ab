"""What anything worth its name must beat: methods that need no thought, under the same protocol."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from threadpoolctl import threadpool_limits

from domain.readings import Matrix
from domain.scorecard.points import Numbers
from domain.scorecard.protocol import Verdicts, verdicts
from domain.scorecard.runs import Run

_QUANTILE: Final = 0.99
"""Of training scores: the usual threshold of who does not think about thresholds."""

_CLUSTERS: Final = 8

CLOCK_ROWS: Final = 60
"""Readings between two turns of the clock."""

type Method = Callable[[Matrix, Matrix, int], Numbers]
"""(standardised training rows, rows to score, seed) → scores, > 1 is anomalous."""


def always_alarm(train: Matrix, test: Matrix, seed: int) -> Numbers:
    """Everything is anomalous: the floor of F1 where half of the readings are."""
    del train, seed
    return np.full(len(test), 2.0)


def clock(train: Matrix, test: Matrix, seed: int) -> Numbers:
    """An alarm for every other minute, whatever happens: what turns of a verdict alone are worth.

    Minutes of data that is read once a second; `nab_standard` of changepoints rewards it richly.
    """
    del train, seed
    return np.where(np.arange(len(test)) // CLOCK_ROWS % 2, 2.0, 0.0)


def last_value(train: Matrix, test: Matrix, seed: int) -> Numbers:
    """The size of the step from the reading before."""
    del seed
    usual = np.linalg.norm(np.diff(train, axis=0), axis=1)
    steps = np.linalg.norm(np.diff(test, axis=0, prepend=train[-1:]), axis=1)
    return _over(steps, usual)


def isolation_forest(train: Matrix, test: Matrix, seed: int) -> Numbers:
    """Scikit-learn's forest on raw readings."""
    forest = IsolationForest(random_state=seed).fit(train)
    return _over(-forest.score_samples(test), -forest.score_samples(train))


def kmeans_raw(train: Matrix, test: Matrix, seed: int) -> Numbers:
    """Distance of a raw reading to the nearest of eight centres."""
    found = KMeans(min(_CLUSTERS, len(train)), n_init=3, random_state=seed).fit(train)
    return _over(found.transform(test).min(axis=1), found.transform(train).min(axis=1))


BASELINES: Final[Mapping[str, Method]] = {
    "always_alarm": always_alarm,
    "clock": clock,
    "last_value": last_value,
    "isolation_forest": isolation_forest,
    "kmeans_raw": kmeans_raw,
}


def judge_baseline(name: str, run: Run, *, seed: int) -> Verdicts:
    """Learn from the first part of a run and score the rest, by one of `BASELINES`."""
    filled = _filled(run.values)
    train, test = filled[: run.train_rows], filled[run.train_rows :]
    centre, spread = train.mean(axis=0), train.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    # One thread: pools of spinning threads are slower than none on cores that others use too.
    with threadpool_limits(1):
        score = BASELINES[name]((train - centre) / spread, (test - centre) / spread, seed)
    return verdicts(score, run.test.instants_us, run.period_s)


def _over(score: Numbers, usual: Numbers) -> Numbers:
    return score / max(float(np.quantile(usual, _QUANTILE)), 1e-9)


def _filled(values: Matrix) -> Matrix:
    """Carry the last value forward; before the first one 0 stands in."""
    known = np.isfinite(values)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], 0), axis=0)
    filled: Matrix = np.nan_to_num(np.take_along_axis(values, newest, axis=0))
    return filled
