"""Operating regimes (start, idle, load) and how each sensor answers to them.

A machine that changes from idle to load is not ill. The sensors that jump with a regime are found
first, their levels are clustered to operating points, and every sensor's healthy level is then a
linear function of the exponentially weighted past of the regimes: a current follows at once, a
temperature with its lag. What is left is the residual that features are made of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from domain.readings import Matrix

LAGS_S: Final = (0.0, 3.0, 12.0, 48.0, 192.0, 768.0)
"""Time constants of the response; sums of these exponentials come near any lag up to minutes."""

RIDGE: Final = 1e-6
"""Penalty per row: weighted regimes sum to one for each lag, so plain least squares is singular."""

_HALF: Final = 5  # readings before and after a possible jump
_JUMP: Final = 12.0  # a jump is that many healthy differences high
_MIN_JUMPS: Final = 4
_SEPARATE: Final = 0.6  # silhouette above which clusters are regimes and not noise
_SAMPLE: Final = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoints:
    """Where a class of machines runs.

    Attributes:
        weights: Shape (S,); 1 / range of a sensor that jumps with the regime, else 0.
        centres: Shape (R, S), R >= 1; levels times `weights`.
    """

    weights: Matrix
    centres: Matrix


def find_regimes(values: Sequence[Matrix], *, most: int, seed: int) -> OperatingPoints:
    """Find the operating points of a class.

    Args:
        values: Per machine shape (n, S); NaN is missing.
        most: At most this many regimes; >= 1.
        seed: Of the clustering.

    Returns:
        One regime when no sensor jumps, or when its levels do not fall into clear clusters.
    """
    sensors = values[0].shape[1]
    single = OperatingPoints(weights=np.zeros(sensors), centres=np.zeros((1, sensors)))
    jumping = sum(_jumps(one) for one in values) >= _MIN_JUMPS
    rows = np.concatenate(values)
    rows = rows[~np.isnan(rows[:, jumping]).any(axis=1)]
    if most == 1 or not jumping.any() or len(rows) < _SAMPLE:
        return single
    low, high = np.percentile(rows, (1, 99), axis=0)
    weights = np.where(jumping & (high > low), 1 / np.where(high > low, high - low, 1.0), 0.0)
    scaled = np.nan_to_num(rows * weights)
    sample = scaled[np.random.default_rng(seed).permutation(len(scaled))[:_SAMPLE]]
    centres = _clusters(sample, most, seed)
    return single if centres is None else OperatingPoints(weights=weights, centres=centres)


def _jumps(values: Matrix) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count, per sensor, level changes far above what the sensor does otherwise."""
    if len(values) < 4 * _HALF:
        return np.zeros(values.shape[1], dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(values, _HALF, axis=0)[::_HALF]
    levels = np.median(windows, axis=2)
    steps = np.abs(levels[2:] - levels[:-2])  # a ramp within one window still shows over two
    steps[np.isnan(steps)] = 0.0
    usual = np.median(steps, axis=0) + 1e-9 * (1 + np.nanmax(np.abs(levels), axis=0))
    # A quantised sensor has a usual step of 0: its own quanta must not pass for regimes.
    usual = np.maximum(usual, np.nanstd(values, axis=0) / 8)
    return (steps > np.minimum(_JUMP * usual, np.inf)).sum(axis=0)


def _clusters(sample: Matrix, most: int, seed: int) -> Matrix | None:
    best, best_quality = None, _SEPARATE
    for count in range(2, most + 1):
        found = KMeans(count, n_init=2, random_state=seed).fit(sample)
        if len(set(found.labels_)) < count:
            break
        quality = float(silhouette_score(sample, found.labels_))
        if quality > best_quality:
            best, best_quality = found.cluster_centers_, quality
    return best


def fit_response(lagged: Sequence[Matrix], values: Sequence[Matrix]) -> Matrix:
    """Learn each sensor's healthy level from the regimes' weighted past.

    Machines stand at different levels; each is centred on its own mean first, so that only what
    regimes change is learnt, and the class's mean level is added again.

    Args:
        lagged: Per machine shape (n, T * R), rows sum to T.
        values: Per machine shape (n, S); NaN is missing.

    Returns:
        Shape (S, T * R).
    """
    sensors, lags = values[0].shape[1], len(LAGS_S)
    centre = np.nanmean([_column_means(one) for one in values], axis=0)
    out = np.empty((sensors, lagged[0].shape[1]))
    for sensor in range(sensors):
        inputs, targets = [], []
        for past, one in zip(lagged, values, strict=True):
            seen = ~np.isnan(one[:, sensor])
            if seen.any():
                inputs.append(past[seen] - past[seen].mean(axis=0))
                targets.append(one[seen, sensor] - one[seen, sensor].mean())
        out[sensor] = _ridge(np.concatenate(inputs), np.concatenate(targets)) if inputs else 0.0
        # Rows of `lagged` sum to the number of lags: this adds the level whatever the regime.
        share = np.mean([past.mean(axis=0) for past in lagged], axis=0)
        out[sensor] += (np.nan_to_num(centre[sensor]) - out[sensor] @ share) / lags
    return out


def _column_means(values: Matrix) -> Matrix:
    seen = ~np.isnan(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ridge(inputs: Matrix, targets: Matrix) -> Matrix:
    gram = inputs.T @ inputs + RIDGE * len(inputs) * np.eye(inputs.shape[1])
    solution: Matrix = np.linalg.solve(gram, inputs.T @ targets)
    return solution
