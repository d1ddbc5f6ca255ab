"""Which numbers are made of each sensor's window."""

from typing import Final

LEVEL, SPREAD, TREND, RANGE, HALF, THIRD, SIXTH, SLOW, MIDDLE, FAST = range(10)
"""Kinds, in the order in which the kernel knows them.

LEVEL is the window's mean, HALF, THIRD and SIXTH are the means of its newest half, third and sixth,
SPREAD the logarithm of its standard deviation, TREND the rise of its least-squares line over the
window, RANGE the logarithm of largest minus smallest value; SLOW, MIDDLE and FAST are the
logarithms of the deviation that the window's spectrum has in each of three bands. All are of the
distance from the machine's baseline in healthy standard deviations.
"""

FEATURE_SETS: Final[dict[str, tuple[int, ...]]] = {
    "level": (LEVEL,),
    "window": (LEVEL, SPREAD, TREND, RANGE),
    "gated": (LEVEL,),
    "gated-spread": (LEVEL, SPREAD),
    "gated-trend": (LEVEL, TREND),
    "gated-window": (LEVEL, SPREAD, TREND, RANGE),
    "gated-scales": (LEVEL, HALF, THIRD, SIXTH),
    "gated-bands": (LEVEL, SLOW, MIDDLE, FAST),
    "level-whitened": (LEVEL,),
    "window-whitened": (LEVEL, SPREAD, TREND, RANGE),
}
"""Name of a feature set → its kinds. `level` and `window` compare with the machine's level in
training, the gated ones with a baseline that follows the machine while it looks healthy; features
of the whitened ones are as far apart as they will be when the model has served for a while."""

BANDS: Final = (SLOW, MIDDLE, FAST)
"""Kinds that are made of the window's spectrum, from low to high frequencies."""

PARTS: Final[dict[int, int]] = {LEVEL: 1, HALF: 2, THIRD: 3, SIXTH: 6}
"""Kind that is a mean → what part of the window it is the mean of."""


def is_gated(features: str) -> bool:
    """Tell whether the feature set's baseline follows the machine."""
    return features.startswith("gated")


def is_whitened(features: str) -> bool:
    """Tell whether the feature set is whitened for drift, see `domain.features.whitening`."""
    return features.endswith("-whitened")


def scales_of(features: str) -> int:
    """Return how many blocks a feature set has that differ in the length of window only."""
    kinds = FEATURE_SETS[features]
    return len(kinds) if all(kind in PARTS for kind in kinds) else 1
