"""What the newest parts of a window say by themselves, where the whole of it is high.

A window of a minute sees a fault when that fills a good part of it, and remembers it for a minute.
Its newest third and sixth know sooner of both; `domain.lasting` says when they are believed, and
`docs/decisions/0034` what that is worth.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from domain.detectors import Detector
from domain.detectors.ensemble import Ensemble
from domain.features.kinds import FEATURE_SETS, SIXTH, THIRD, scales_of
from domain.lasting import Lasting
from domain.readings import Matrix, Vector

PARTS: Final = (THIRD, SIXTH)
"""Kinds of feature that are means of the newest parts."""


def newest_of(detector: Detector, features: str) -> tuple[Detector, ...]:
    """Return what of a detector looks at each of `PARTS` alone; empty if nothing does.

    Args:
        detector: Fitted to the feature set; it shares its parts with what is returned.
        features: Name in `FEATURE_SETS`.
    """
    kinds = FEATURE_SETS[features]
    if not isinstance(detector, Ensemble) or scales_of(features) == 1:
        return ()
    return tuple(detector.at(kinds.index(kind)) for kind in PARTS)


def newest_scores(  # noqa: PLR0913, PLR0917 - what a pipeline scores by, and what it scored
    detector: Detector,
    features: str,
    threshold: float,
    lasting: Lasting,
    rows: Matrix,
    scores: Vector,
) -> Iterator[Vector]:
    """Return what each of `PARTS` scores where the whole window is high, and `scores` elsewhere.

    Args:
        detector: Fitted to the feature set.
        features: Name in `FEATURE_SETS`.
        threshold: The distance at which the health of a whole window ends.
        lasting: From which score on a window is high, and how much further the parts' health goes.
        rows: Features, shape (n, F).
        scores: Shape (n,), of the whole windows; 1 is the threshold.

    Returns:
        Shape (n,) each, >= 0; 1 is the part's own threshold. Nothing where nobody knows.
    """
    high = np.flatnonzero(scores >= lasting.limit)
    further = (lasting.third, lasting.sixth)
    if not all(further):
        return
    for part, times in zip(newest_of(detector, features), further, strict=True):
        out = scores.copy()
        if len(high):
            out[high] = part.score(rows[high]) / (threshold * times)
        yield out


def held_out_scores(
    held_out: Sequence[tuple[Detector, Matrix]], features: str
) -> Iterator[list[Vector]]:
    """Return what each of `PARTS` scores on held-out rows; nothing where nobody looks at them.

    Args:
        held_out: Detectors and rows that they did not see, as `thresholds.folds` gives them.
        features: Name in `FEATURE_SETS`.
    """
    each = [newest_of(detector, features) for detector, _ in held_out]
    for parts in zip(*each, strict=True):
        yield [part.score(rows) for part, (_, rows) in zip(parts, held_out, strict=True)]
