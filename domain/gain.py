"""Whether one configuration is better than another, or only luckier.

The best of many tries is partly the luckiest, the more so the less there is to judge by. Two
configurations are replayed with the same faults, so their objectives are compared in pairs; what is
there already stays unless the other one is better by more than those pairs scatter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Final

REPLAYS: Final = 5
"""Pairs that are looked at; with fewer their scatter is hardly known."""

MIN_GAIN: Final = 0.01
"""Smallest gain in the objective that counts, whatever the pairs say."""

NOISE_FACTOR: Final = 2.0
"""Standard errors of the mean gain that it must exceed as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one has over another.

    Attributes:
        mean: Of the pairs; negative is a loss.
        needed: What it must exceed.
    """

    mean: float
    needed: float

    @property
    def clear(self) -> bool:
        """Whether it is more than luck."""
        return self.mean > self.needed


def gain_of(
    new: Sequence[float],
    old: Sequence[float],
    *,
    least: float = MIN_GAIN,
    noise_factor: float = NOISE_FACTOR,
) -> Gain:
    """Compare objectives in pairs.

    Args:
        new: Of the one that wants to be taken, one per replay; at least one.
        old: Of the one that is there, of the same replays in the same order.
        least: See `MIN_GAIN`.
        noise_factor: See `NOISE_FACTOR`.
    """
    gains = [one - other for one, other in zip(new, old, strict=True)]
    error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else 0.0
    return Gain(mean=fmean(gains), needed=max(least, noise_factor * error))
