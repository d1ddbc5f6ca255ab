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
import numpy.typing as npt
from sklearn.cluster import KMeans

from domain.readings import Flags, Matrix

LAGS_S: Final = (0.0, 3.0, 12.0, 48.0, 192.0, 768.0)
"""Time constants of the response; sums of these exponentials come near any lag up to minutes."""

RIDGE: Final = 1e-6
"""Penalty per row: weighted regimes sum to one for each lag, so plain least squares is singular."""

_HALF: Final = 5  # readings before and after a possible jump
_JUMP: Final = 12.0  # a jump is that many healthy differences high
_MIN_JUMPS: Final = 4
_SAMPLE: Final = 1500
_APART: Final = 2.5  # a cloud cut in two is 1.3 apart, a uniform stretch 1.7
_SPREADS: Final = 10.0  # one unit of distance; the kernel's clip is then at 30 of them
_EXACT: Final = 0.01  # of its range: no sensor counts for more than one that is so exact
_AFTER: Final = 12  # groups of readings after a jump that are drawn more often: short regimes


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoints:
    """Where a class of machines runs.

    Attributes:
        weights: Shape (S,); of a sensor that jumps with the regime 1 / (`_SPREADS` spreads within
            regimes), else 0.
        centres: Shape (R, S), R >= 1; levels times `weights`.
    """

    weights: Matrix
    centres: Matrix


def find_regimes(values: Sequence[Matrix], *, most: int, seed: int) -> tuple[OperatingPoints, ...]:
    """Propose the operating points of a class.

    Args:
        values: Per machine shape (n, S); NaN is missing.
        most: At most this many regimes; >= 1.
        seed: Of the clustering.

    Returns:
        Proposals, the one with a single regime first; it is alone when no sensor jumps or levels
        do not fall into clear clusters. Which is worth its regimes is decided by what they explain.
    """
    sensors = values[0].shape[1]
    single = OperatingPoints(weights=np.zeros(sensors), centres=np.zeros((1, sensors)))
    steps = [_steps(one) for one in values]
    jumping = _jumping(steps)
    rows = np.concatenate(values)
    if most == 1 or not jumping.any() or len(rows) < _SAMPLE:
        return (single,)
    low, high = np.nanpercentile(rows, (1, 99), axis=0)
    weights = np.where(jumping & (high > low), 1 / np.where(high > low, high - low, 1.0), 0.0)
    near = np.concatenate([_near(*one) for one in zip(steps, values, strict=True)])
    sample = np.concatenate([_draw(rows, seed), _draw(rows[near], seed)])
    sample = sample[~np.isnan(sample[:, weights > 0]).any(axis=1)]
    found = [_points(sample, weights, count, seed) for count in range(2, most + 1)]
    return (single, *(one for one in found if one is not None))


def _points(sample: Matrix, weights: Matrix, count: int, seed: int) -> OperatingPoints | None:
    """Find so many operating points, and weigh each sensor by how well it tells them.

    Ranges let a vibration, which a fault moves as far as a regime does, choose the regime as much
    as a speed that is exact to a hundredth of it. So groups are found by ranges, and once more in
    units of the spread within them.
    """
    first = clusters_apart(np.nan_to_num(sample * weights), count, seed)
    if first is None:
        return None
    told = weights / (_SPREADS * _within(np.nan_to_num(sample * weights), first))
    again = clusters_apart(np.nan_to_num(sample * told), count, seed)
    if again is None:
        return OperatingPoints(weights=weights, centres=first)
    return OperatingPoints(weights=told, centres=again)


def _within(scaled: Matrix, centres: Matrix) -> Matrix:
    """Return the spread of each sensor within the groups around the centres, shape (S,)."""
    near = np.argmin(((scaled[:, None] - centres) ** 2).sum(axis=2), axis=1)
    middles = np.stack([np.median(scaled[near == at], axis=0) for at in range(len(centres))])
    low, high = np.percentile(scaled - middles[near], (16, 84), axis=0)
    spread: Matrix = np.maximum((high - low) / 2, _EXACT)
    return spread


def _draw(rows: Matrix, seed: int) -> Matrix:
    return rows[np.random.default_rng(seed).permutation(len(rows))[:_SAMPLE]]


def _steps(values: Matrix) -> Flags:
    """Mark, per sensor, level changes far above what the sensor does otherwise.

    Returns:
        Shape (n // HALF - 2, S) or fewer rows; row i says that the level changes over the
        readings i * HALF to (i + 3) * HALF.
    """
    if len(values) < 4 * _HALF:
        return np.zeros((0, values.shape[1]), dtype=np.bool_)
    windows = np.lib.stride_tricks.sliding_window_view(values, _HALF, axis=0)[::_HALF]
    levels = np.median(windows, axis=2)
    steps = np.abs(levels[2:] - levels[:-2])  # a ramp within one window still shows over two
    steps[np.isnan(steps)] = 0.0
    # A quantised sensor has a usual step of 0: its own quanta must not pass for regimes.
    usual = np.maximum(_JUMP * np.median(steps, axis=0), _JUMP / 8 * _spread(values))
    marked: Flags = steps > np.maximum(usual, 1e-12)
    return marked


def _jumping(steps: Sequence[Flags]) -> Flags:
    """Return which sensors jump again and again, and in most machines: others had a failure."""
    begun = [np.diff(one, axis=0, prepend=False) & one for one in steps]
    counts = np.array([one.sum(axis=0) for one in begun])
    common: Flags = (counts.sum(axis=0) >= _MIN_JUMPS) & ((counts > 0).mean(axis=0) >= 0.5)
    return common


def _near(steps: Flags, values: Matrix) -> Flags:
    """Return which readings, shape (n,), lie within a while after any sensor's jump."""
    near = np.zeros(len(values), dtype=np.bool_)
    if steps.any():
        reach = np.convolve(steps.any(axis=1), np.ones(_AFTER))[: len(steps)] > 0
        near[: len(steps) * _HALF] = np.repeat(reach, _HALF)
    return near


def _spread(values: Matrix) -> Matrix:
    empty = np.isnan(values).all(axis=0)
    spread: Matrix = np.nanstd(np.where(empty, 0.0, values), axis=0)
    return spread


def clusters_apart(sample: Matrix, count: int, seed: int) -> Matrix | None:
    """Return so many centres, shape (count, S), if their clusters are apart.

    Clusters that cut one cloud in two would let a sensor's own noise choose the regime, and with it
    what is expected of the sensor.
    """
    if len(np.unique(sample, axis=0)) < count:
        return None
    found = KMeans(count, n_init=5, random_state=seed).fit(sample)
    centres: Matrix = found.cluster_centers_.astype(np.float64)
    members = [sample[found.labels_ == at] for at in range(count)]
    apart = all(
        _gap(members[one], members[other]) > _APART for one in range(count) for other in range(one)
    )
    return centres if apart else None


def _gap(one: Matrix, other: Matrix) -> float:
    """Return the distance of two clusters in deviations along the line between them."""
    line = np.median(one, axis=0) - np.median(other, axis=0)
    length = float(np.sqrt(line @ line))
    if length == 0:
        return 0.0
    spread = sum(float(np.ptp(np.percentile(each @ line, (16, 84)))) for each in (one, other)) / 2
    return length * length / max(spread, 1e-12)


def fit_response(lagged: Sequence[Matrix], values: Sequence[Matrix]) -> Matrix:
    """Learn each sensor's healthy level from the regimes' weighted past.

    Machines stand at different levels; each is centred on its own mean first, so that only what
    regimes change is learnt, and the class's mean level is added again.

    Args:
        lagged: Per machine shape (n, T * R); each lag's R columns sum to 1.
        values: Per machine shape (n, S); NaN is missing.

    Returns:
        Shape (S, T * R).
    """
    seen = [~np.isnan(one) for one in values]
    centres = [_mean(one, known) for one, known in zip(values, seen, strict=True)]
    out = np.zeros((values[0].shape[1], lagged[0].shape[1]))
    whole = np.all([known.all(axis=0) for known in seen], axis=0)
    groups = [np.flatnonzero(whole), *np.flatnonzero(~whole).reshape(-1, 1)]
    for group in groups:
        if len(group):
            out[group] = _group_response(lagged, values, centres, seen, group)
    # This adds the class's level whatever the regime.
    share = np.mean([past.mean(axis=0) for past in lagged], axis=0)
    pooled = np.stack(centres)
    level = np.nan_to_num(_mean(pooled, ~np.isnan(pooled)))
    lags = round(float(share.sum()))
    response: Matrix = out + ((level - out @ share) / lags)[:, None]
    return response


def _group_response(
    lagged: Sequence[Matrix],
    values: Sequence[Matrix],
    centres: Sequence[Matrix],
    seen: Sequence[Flags],
    group: npt.NDArray[np.intp],
) -> Matrix:
    """Return the response (G, T * R) of sensors that were measured at the same instants."""
    gram = np.zeros((lagged[0].shape[1],) * 2)
    dots, rows = np.zeros((len(gram), len(group))), 0
    for past, one, centre, known in zip(lagged, values, centres, seen, strict=True):
        at = known[:, group[0]]
        if at.any():
            inputs = past[at] - past[at].mean(axis=0)
            gram += inputs.T @ inputs
            dots += inputs.T @ (one[at][:, group] - centre[group])
            rows += len(inputs)
    ridge = RIDGE * max(rows, 1) * np.eye(len(gram))
    response: Matrix = np.linalg.solve(gram + ridge, dots).T
    return response


def _mean(values: Matrix, seen: Flags) -> Matrix:
    """Return the mean of each sensor, shape (S,); NaN where it was never measured."""
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
