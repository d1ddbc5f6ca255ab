"""What the newest third of a window says by itself, where the whole of it is high.

A window of a minute sees a fault when that fills a good part of it, and remembers it for a minute.
Its newest third knows sooner of both; `domain.lasting` says when it is believed, and
`docs/decisions/0034` what that is worth.
"""

from collections.abc import Sequence

import numpy as np

from domain.detectors import Detector
from domain.detectors.ensemble import Ensemble
from domain.features.kinds import FEATURE_SETS, THIRD, scales_of
from domain.lasting import Lasting
from domain.readings import Matrix, Vector


def third_of(detector: Detector, features: str) -> Detector | None:
    """Return what of a detector looks at the newest third of the window alone, if anything does.

    Args:
        detector: Fitted to the feature set; it shares its parts with what is returned.
        features: Name in `FEATURE_SETS`.
    """
    kinds = FEATURE_SETS[features]
    if not isinstance(detector, Ensemble) or scales_of(features) == 1 or THIRD not in kinds:
        return None
    return detector.at(kinds.index(THIRD))


def third_scores(  # noqa: PLR0913, PLR0917 - what a pipeline scores by, and what it scored
    detector: Detector,
    features: str,
    threshold: float,
    lasting: Lasting,
    rows: Matrix,
    scores: Vector,
) -> Vector:
    """Return what the newest third scores where the whole window is high, and `scores` elsewhere.

    Args:
        detector: Fitted to the feature set.
        features: Name in `FEATURE_SETS`.
        threshold: The distance at which the health of a whole window ends.
        lasting: From which score on a window is high, and how much further its third's health goes.
        rows: Features, shape (n, F).
        scores: Shape (n,), of the whole windows; 1 is the threshold.

    Returns:
        Shape (n,), >= 0; 1 is the third's own threshold. `scores` where nobody knows.
    """
    third = third_of(detector, features) if lasting.third > 0 else None
    high = np.flatnonzero(scores >= lasting.limit)
    if third is None or not len(high):
        return scores
    out = scores.copy()
    out[high] = third.score(rows[high]) / (threshold * lasting.third)
    return out


def held_out_scores(
    held_out: Sequence[tuple[Detector, Matrix]], features: str
) -> list[Vector] | None:
    """Return what the newest thirds of held-out rows score; None where nothing looks at them.

    Args:
        held_out: Detectors and rows that they did not see, as `thresholds.folds` gives them.
        features: Name in `FEATURE_SETS`.
    """
    thirds = [(third_of(detector, features), rows) for detector, rows in held_out]
    return [third.score(rows) for third, rows in thirds if third is not None] or None
