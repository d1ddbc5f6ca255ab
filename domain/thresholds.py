"""Where health ends: thresholds from scores that no label was needed for.

`margin` goes a factor beyond a high quantile; `evt` extrapolates the tail to the score that health
exceeds once in a return period. Both look at scores of rows that the detector did not see.
Hysteresis and k of n come after: `domain.incidents` has them, for they tell when an incident opens
and closes and change no score.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from scipy.stats import lmoment

from domain.detectors.contract import Detector
from domain.readings import Flags, Matrix, Vector

MAX_FIT_ROWS: Final = 4000
"""Rows that a detector is fitted to, evenly drawn: windows overlap, more say nothing new."""

TAIL: Final = 3.0
"""A threshold lies at most so many upper spreads (median to 90 % quantile, of the logarithm) above
the median: beyond it the training period held a failure, which must not become health."""

THRESHOLDS: Final = ("margin", "evt")
"""Ways to find a threshold, as `PipelineSpec.threshold` names them."""

TAIL_QUANTILE: Final = 0.95
"""What is above it counts as the tail of the scores."""

FEWEST_PEAKS: Final = 10
"""With fewer peaks the shape of their tail is not known, and taken to be exponential."""

SHAPES: Final = (-0.5, 0.5)
"""Shapes of the tail that are believed; estimates from some dozen peaks stray further."""


def folds[D: Detector](
    machines: Sequence[Matrix], fit: Callable[[Matrix], D], *, blocks: int
) -> list[tuple[D, Matrix]]:
    """Give every row to a detector that did not see its neighbourhood.

    Neighbouring windows overlap, so rows drawn at random would be known to the detector; blocks
    are contiguous, and each machine is cut on its own.

    Args:
        machines: Features of each machine, shape (n, F), oldest first.
        fit: Fits a detector to pooled features.
        blocks: How many contiguous parts; >= 2.

    Returns:
        Each block of each machine, oldest first within a block, with its detector.
    """
    parts = [np.array_split(one, blocks) for one in machines]
    given: list[tuple[D, Matrix]] = []
    for left_out in range(blocks):
        kept = [part for one in parts for at, part in enumerate(one) if at != left_out]
        detector = fit(np.concatenate(kept))
        given.extend((detector, one[left_out]) for one in parts if len(one[left_out]))
    return given


def out_of_fold(
    machines: Sequence[Matrix], fit: Callable[[Matrix], Detector], *, blocks: int
) -> list[Vector]:
    """Return the scores of the blocks that `folds` gives, each by its detector."""
    return [detector.score(rows) for detector, rows in folds(machines, fit, blocks=blocks)]


def in_blocks(machines: Sequence[Flags], *, blocks: int) -> list[Flags]:
    """Return what is known of the rows in the blocks and the order of `folds`."""
    parts = [np.array_split(one, blocks) for one in machines]
    return [one[at] for at in range(blocks) for one in parts if len(one[at])]


def threshold_of(scores: Vector, *, quantile: float, margin: float) -> float:
    """Return the score at which health ends.

    Args:
        scores: Out-of-fold scores of mostly healthy rows, >= 0; at least one.
        quantile: In (0.5, 1].
        margin: >= 1; how much further than the quantile.
    """
    high = min(float(np.quantile(scores, quantile)), _believable(scores))
    return max(high * margin, 1e-9)


def return_level(blocks: Sequence[Vector], *, return_rows: float, apart_rows: int) -> float:
    """Return the score that health exceeds once in `return_rows` readings, by its tail.

    Peaks over a threshold: excesses over `TAIL_QUANTILE` follow a generalised Pareto distribution,
    whose two parameters are found by L-moments (Hosking and Wallis 1987), which a few dozen peaks
    suffice for. Windows overlap, so excesses that are near each other are one peak, the largest.

    Args:
        blocks: Out-of-fold scores >= 0 of contiguous rows, oldest first; at least one row.
        return_rows: > 0.
        apart_rows: Excesses with fewer rows between them are one peak; >= 1.
    """
    scores = np.concatenate(blocks)
    base = min(float(np.quantile(scores, TAIL_QUANTILE)), _believable(scores))
    # What may be a failure counts as a peak, but not with a height that health would never have.
    tops = np.minimum(peaks(blocks, base, apart_rows), _believable(scores))
    excess = tops - base
    if not len(excess) or excess.max() <= 0:
        return max(base, 1e-9)
    shape, scale = _pareto(excess)
    expected = max(return_rows * len(excess) / len(scores), 1.0)  # peaks in a return period
    height = np.log(expected) if abs(shape) < 1e-6 else np.expm1(shape * np.log(expected)) / shape
    return max(float(base + scale * height), 1e-9)


def peaks(blocks: Sequence[Vector], base: float, apart_rows: int) -> Vector:
    """Return the largest score of each run of excesses over `base`, shape (p,)."""
    found = []
    for one in blocks:
        above = np.flatnonzero(one > base)
        starts = np.flatnonzero(np.diff(above, prepend=-apart_rows - 1) > apart_rows)
        if len(above):
            found.append(np.maximum.reduceat(one[above], starts))
    return np.concatenate([np.empty(0), *found])


def _pareto(excess: Vector) -> tuple[float, float]:
    """Return shape and scale of the generalised Pareto distribution of excesses >= 0."""
    if len(excess) < FEWEST_PEAKS:
        return 0.0, float(excess.mean())
    first, second = lmoment(excess, order=(1, 2))
    if second <= 0:
        return 0.0, float(first)
    shape = float(np.clip(2 - first / second, *SHAPES))
    return shape, float(first) * (1 - shape)


def _believable(scores: Vector) -> float:
    """Return the score above which the training period is taken to have held a failure."""
    middle, upper = np.quantile(scores, (0.5, 0.9))
    return float(middle * (upper / middle) ** TAIL) if middle > 0 else np.inf


def trimmed[D: Detector](features: Matrix, fit: Callable[[Matrix], D], *, share: float) -> D:
    """Fit to at most `MAX_FIT_ROWS`, leave out those that look least healthy, and fit again.

    Args:
        features: Shape (n, F); every so many rows are taken.
        fit: Fits a detector.
        share: Of rows to leave out; 0 fits once.
    """
    features = features[:: -(-len(features) // MAX_FIT_ROWS)]
    detector = fit(features)
    drop = int(share * len(features))
    if not drop or len(features) - drop < 2:
        return detector
    keep = np.argsort(detector.score(features), kind="stable")[: len(features) - drop]
    return fit(features[np.sort(keep)])
