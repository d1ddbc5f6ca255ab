"""Without a history of failures: when the trend of a machine's health reaches its threshold.

No probability comes out of this: that a healthy machine would not look like that is known, that it
then fails is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix
from domain.risk.features import life_features
from domain.risk.outlook import Remaining
from domain.risk.steps import LEAST_STEPS, LOOK_BACK

_TREND_STEPS = 60
"""Steps that a trend is fitted to."""

_MARGIN = 1.5
"""The threshold lies so far above the highest departures of health."""

_FARTHEST_S = 7 * 86_400.0
"""A trend is not extrapolated beyond a week."""

_Z = 1.645


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HealthTrend:
    """How far from health a machine is, and where health ends.

    Attributes:
        centre: Shape (S,), mean of the healthy fleet.
        scale: Shape (S,), its standard deviation, > 0.
        threshold: Root mean square departure at which health ends, in healthy deviations.
    """

    centre: Matrix
    scale: Matrix
    threshold: float

    @classmethod
    def fit(cls, healthy: Sequence[Matrix]) -> Self:
        """Learn from healthy steps of machines, each of shape (steps, S)."""
        every = np.vstack(healthy)
        centre = np.where(np.isfinite(every).any(0), np.nanmean(every, axis=0), 0.0)
        scale = np.nan_to_num(np.nanstd(every, axis=0))
        made = cls(centre=centre, scale=np.where(scale > 0, scale, 1.0), threshold=inf)
        levels = np.concatenate([made.departure(one) for one in healthy])
        return cls(
            centre=made.centre,
            scale=made.scale,
            threshold=_MARGIN * float(np.quantile(levels, 0.999)),
        )

    def departure(self, values: Matrix) -> npt.NDArray[np.float64]:
        """Return the departure from health after each step, smoothed over ten; shape (steps,)."""
        sensors = len(self.centre)
        features = life_features(values, self.centre, self.scale, look_back=LOOK_BACK)
        smooth = features[:, sensors : 2 * sensors]
        level: npt.NDArray[np.float64] = np.sqrt((smooth**2).mean(axis=1))
        return level

    def remaining(self, values: Matrix, step_s: float) -> Remaining:
        """Return when the trend of the last hour of steps reaches the threshold.

        Args:
            values: Shape (steps, S), newest last.
            step_s: Seconds per step.
        """
        level = self.departure(values)[-_TREND_STEPS:]
        if len(level) < LEAST_STEPS:
            return Remaining(kind="unknown", reason=f"{len(level)} steps are too few for a trend")
        lacking = self.threshold - float(level[-1])
        if lacking <= 0:
            return Remaining(kind="time_to_threshold", seconds=0.0, interval=(0.0, 0.0))
        slope, error = _slope(level)
        slow, fast = slope - _Z * error, slope + _Z * error
        if slow <= 0 and slope < 2 * _Z * error:
            return Remaining(kind="unknown", reason="its health shows no trend to the threshold")
        seconds = lacking / slope * step_s
        if seconds > _FARTHEST_S:
            return Remaining(
                kind="unknown", reason="its trend reaches the threshold in more than 7 days"
            )
        high = lacking / slow * step_s if slow > 0 else None
        return Remaining(
            kind="time_to_threshold", seconds=seconds, interval=(lacking / fast * step_s, high)
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return plain arrays."""
        return {
            "centre": self.centre,
            "scale": self.scale,
            "threshold": np.array([self.threshold]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.float64]]) -> Self:
        """Undo `to_arrays`."""
        return cls(
            centre=arrays["centre"],
            scale=arrays["scale"],
            threshold=float(arrays["threshold"][0]),
        )


def _slope(level: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the least-squares slope per step and its standard error.

    Neighbouring levels are nearly the same, so the error counts only as many as are independent:
    n (1 - r) / (1 + r) with their lag-one autocorrelation r (Bayley & Hammersley 1946).
    """
    at = np.arange(len(level)) - (len(level) - 1) / 2
    slope = float(at @ level / (at @ at))
    rest = level - level.mean() - slope * at
    variance = float(rest @ rest) / (len(level) - 2)
    if variance <= 0:
        return slope, 0.0
    r = float(np.clip(rest[1:] @ rest[:-1] / (rest @ rest), 0.0, 0.95))
    return slope, sqrt(variance / float(at @ at) * (1 + r) / (1 - r))
