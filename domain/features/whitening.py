"""Whitening for drift: how far apart healthy features will be once the model has served a while.

A covariance over the training period knows how a machine varies within it, not how it wanders until
the model is replaced. Variograms (half the mean squared difference over a lag) show how variance
grows with time; a power of the lag, fitted to the longer half of the lags that the history holds,
extrapolates each feature's growth to the horizon (Cressie 1993, "Statistics for Spatial Data",
section 2.4). Features that are alike keep the correlation that they have over the longest lag.

Only for detectors that measure plain distances: one that learns a covariance from the whitened
features (PCA, ellipsoids, mixtures) would find the training period's again and undo the whitening.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix

LONGEST: Final = 1 / 3
"""Longest lag, as a share of a history: of a longer one there are hardly two independent pairs."""

LAGS: Final = 6
"""Lags between the longest and an eighth of it."""

FLOOR: Final = 0.1
"""Smallest eigenvalue of the covariance, relative to a healthy feature's variance of 1: what never
moved on its own in training may by so much."""


def whitening_of(machines: Sequence[Matrix], *, horizon_rows: float) -> Matrix:
    """Return the symmetric root W of the precision at the horizon; features @ W are white.

    Symmetric, so that each whitened feature stays next to its own sensor.

    Args:
        machines: Per machine standardised features, shape (n, F), oldest first; finite.
        horizon_rows: Readings after the training period; > 0.

    Returns:
        Shape (F, F); the identity if no machine has enough rows for a lag.
    """
    longest = max(int(LONGEST * len(one)) for one in machines)
    if longest < 8:
        return np.eye(machines[0].shape[1])
    lags = np.unique(np.geomspace(longest / 8, longest, LAGS).astype(np.int64))
    grown = np.stack([np.diag(variogram(machines, int(lag))) for lag in lags])
    power = _powers(np.log(lags), grown)
    # A stationary feature is one variogram away from its mean, a random walk two (its mean lies
    # as far back as the horizon lies ahead).
    growth = (1 + power) * max(horizon_rows / longest, 1.0) ** power
    stretch = np.sqrt(growth)
    covariance = variogram(machines, longest) * stretch[:, None] * stretch
    return _root(covariance)


def variogram(machines: Sequence[Matrix], lag: int) -> Matrix:
    """Return half the mean product of differences over a lag, shape (F, F), pooled over machines.

    Args:
        machines: As for `whitening_of`.
        lag: Rows, >= 1; less than the rows of at least one machine.
    """
    steps = np.concatenate([one[lag:] - one[:-lag] for one in machines if len(one) > lag])
    products: Matrix = steps.T @ steps / (2 * len(steps))
    return products


def _powers(lags: npt.NDArray[np.float64], grown: Matrix) -> npt.NDArray[np.float64]:
    """Return each feature's power of growth: 0 is stationary, 1 a random walk; clipped to these."""
    logs = np.log(np.maximum(grown, 1e-12))
    centred = lags - lags.mean()
    slopes = centred @ (logs - logs.mean(axis=0)) / (centred @ centred)
    clipped: npt.NDArray[np.float64] = np.clip(slopes, 0.0, 1.0)
    return clipped


def _root(covariance: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(covariance)
    root: Matrix = (vectors / np.sqrt(np.maximum(values, FLOOR))) @ vectors.T
    return root
