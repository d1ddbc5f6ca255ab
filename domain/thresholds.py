"""Where health ends: thresholds from scores that no label was needed for."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from domain.detectors.contract import Detector, Vector
from domain.readings import Matrix

TAIL: Final = 3.0
"""A threshold lies at most so many upper spreads (median to 90 % quantile, of the logarithm) above
the median: beyond it the training period held a failure, which must not become health."""


def out_of_fold(
    machines: Sequence[Matrix], fit: Callable[[Matrix], Detector], *, blocks: int
) -> Vector:
    """Score every row with a detector that did not see its neighbourhood.

    Neighbouring windows overlap, so rows drawn at random would be known to the detector; blocks
    are contiguous, and each machine is cut on its own.

    Args:
        machines: Features of each machine, shape (n, F), oldest first.
        fit: Fits a detector to pooled features.
        blocks: How many contiguous parts; >= 2.

    Returns:
        Scores of all machines' rows, in their order; not for use as a time line.
    """
    parts = [np.array_split(one, blocks) for one in machines]
    scores: list[Vector] = []
    for left_out in range(blocks):
        kept = [part for one in parts for at, part in enumerate(one) if at != left_out]
        detector = fit(np.concatenate(kept))
        scores.extend(detector.score(one[left_out]) for one in parts if len(one[left_out]))
    return np.concatenate(scores)


def threshold_of(scores: Vector, *, quantile: float, margin: float) -> float:
    """Return the score at which health ends.

    Args:
        scores: Out-of-fold scores of mostly healthy rows, >= 0; at least one.
        quantile: In (0.5, 1].
        margin: >= 1; how much further than the quantile.
    """
    middle, upper, high = np.quantile(scores, (0.5, 0.9, quantile))
    if middle > 0:
        high = min(high, middle * (upper / middle) ** TAIL)
    return max(float(high) * margin, 1e-9)


def trimmed(features: Matrix, fit: Callable[[Matrix], Detector], *, share: float) -> Detector:
    """Fit, leave out the rows that look least healthy, and fit again.

    Args:
        features: Shape (n, F).
        fit: Fits a detector.
        share: Of rows to leave out; 0 fits once.
    """
    detector = fit(features)
    drop = int(share * len(features))
    if not drop or len(features) - drop < 2:
        return detector
    keep = np.argsort(detector.score(features), kind="stable")[: len(features) - drop]
    return fit(features[np.sort(keep)])
