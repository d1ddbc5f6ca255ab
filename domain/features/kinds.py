"""Which numbers are made of each sensor's window."""

from typing import Final

LEVEL, SPREAD, TREND, RANGE = range(4)
"""Kinds, in the order in which the kernel knows them.

LEVEL is the window's mean, SPREAD the logarithm of its standard deviation, TREND the rise of its
least-squares line over the window, RANGE the logarithm of largest minus smallest value. All are
of the distance from the machine's baseline in healthy standard deviations.
"""

FEATURE_SETS: Final[dict[str, tuple[int, ...]]] = {
    "level": (LEVEL,),
    "window": (LEVEL, SPREAD, TREND, RANGE),
    "gated": (LEVEL,),
    "gated-spread": (LEVEL, SPREAD),
    "gated-trend": (LEVEL, TREND),
    "gated-window": (LEVEL, SPREAD, TREND, RANGE),
}
"""Name of a feature set → its kinds. `level` and `window` compare with the machine's level in
training, the gated ones with a baseline that follows the machine while it looks healthy."""


def is_gated(features: str) -> bool:
    """Tell whether the feature set's baseline follows the machine."""
    return features.startswith("gated")
