"""How a window is usually scored: pydantic at both ends, pandas' windows, sklearn's estimators.

It answers what ours answers for a window, in the way of a careful user of these libraries: a
baseline per sensor that follows it while it looks healthy (a loop over readings, for it depends on
its own past), means over four lengths of window (`rolling`), one PCA over all of them with
Hotelling's T² and the residual Q, a score per reading, and of the last reading each sensor's share
with what was expected and observed. It leaves out what ours looks at besides: stuck sensors, other
units, the spread of a young window, regimes, the package's own verification.
"""

from collections import deque

import numpy as np
import pandas as pd
from pydantic import AwareDatetime, BaseModel
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from benchmarks.serving import model
from domain.readings import Matrix

_LENGTHS = (20, 10, 7, 4)
"""Of the windows, in readings: those of the measured model."""

_GATE = 4.0
_RATE = 1 - np.exp(-0.5 / 600)


class Reading(BaseModel):
    """One reading of twenty sensors."""

    timestamp: AwareDatetime
    values: dict[str, float]


class Window(BaseModel):
    """Several readings, oldest first."""

    machine_class: str
    readings: list[Reading]


class Share(BaseModel):
    """One sensor's part in the last score."""

    sensor: str
    share: float
    expected: float
    observed: float


class Answer(BaseModel):
    """The verdict on the last reading, and a score for each."""

    timestamp: AwareDatetime
    score: float
    threshold: float
    is_anomaly: bool
    contributions: list[Share]
    scores: list[float]


class Usual:
    """The fitted estimators.

    Args:
        training: Healthy readings, shape (n, S).
    """

    def __init__(self, training: Matrix) -> None:
        self._level = StandardScaler().fit(training)
        features = self._features(self._level.transform(training))[0]
        self._scaler = StandardScaler().fit(features)
        self._pca = PCA(0.9).fit(self._scaler.transform(features))
        self._limit = 1.0
        self._limit = float(np.quantile(self._distances(features)[0], 0.999)) * 4 / 3

    def answer(self, asked: Window) -> Answer:
        """Score a window."""
        names, given = model.CLASS.sensor_names, [one.values for one in asked.readings]  # noqa: PD011 - a field, no frame
        values = np.array([[each[name] for name in names] for each in given])
        features, base = self._features(self._level.transform(values))
        scores, parts = self._distances(features)
        shares = parts[-1].reshape(len(_LENGTHS), len(names)).sum(axis=0)
        shares /= shares.sum()
        expected = self._level.inverse_transform(base[None])[0]
        return Answer(
            timestamp=asked.readings[-1].timestamp,
            score=scores[-1],
            threshold=1.0,
            is_anomaly=bool(scores[-1] > 1),
            contributions=[
                Share(
                    sensor=names[at],
                    share=shares[at],
                    expected=expected[at],
                    observed=values[-1, at],
                )
                for at in np.argsort(-shares)
            ],
            scores=scores.tolist(),
        )

    def _features(self, deviations: Matrix) -> tuple[Matrix, Matrix]:
        """Return features, shape (n, 4 * S), and the last baseline, shape (S,)."""
        base = np.zeros(deviations.shape[1])
        residuals = np.empty_like(deviations)
        recent: deque[Matrix] = deque(maxlen=_LENGTHS[0])
        for at, row in enumerate(deviations):
            residuals[at] = row - base
            recent.append(residuals[at])
            healthy = np.abs(np.mean(recent, axis=0)) <= _GATE
            base = np.where(healthy, base + _RATE * residuals[at], base)
        frame = pd.DataFrame(residuals)
        means = [frame.rolling(length, min_periods=1).mean().to_numpy() for length in _LENGTHS]
        return np.hstack(means), base

    def _distances(self, features: Matrix) -> tuple[Matrix, Matrix]:
        """Return each reading's score, shape (n,), and the features' parts in it, (n, 4 * S)."""
        scaled = self._scaler.transform(features)
        reduced = self._pca.transform(scaled)
        rest = (scaled - self._pca.inverse_transform(reduced)) ** 2
        t2 = (reduced**2 / self._pca.explained_variance_).sum(axis=1)
        q = rest.sum(axis=1) / max(self._pca.noise_variance_, 1e-9)
        return np.sqrt(t2 + q) / self._limit, rest
