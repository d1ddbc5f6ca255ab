"""Without a history of failures: when the trend of a machine's health reaches its threshold.

No probability comes out of this: that a healthy machine would not look like that is known, that it
then fails is not. And nothing is told of a machine that looks healthy: it is told of one whose
departure is beyond that of most healthy steps, surely rises faster than the departures of healthy
machines mostly do, and gets there within as long a time as it was watched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix
from domain.risk.features import life_features
from domain.risk.outlook import Remaining
from domain.risk.steps import LEAST_STEPS, LOOK_BACK
from domain.signatures import scatter

_TREND_STEPS = 60
"""Steps that a trend is fitted to."""

_MARGIN = 1.5
"""The threshold lies so far above the highest departures of health."""

_SELDOM = 0.98
"""Share of the rises of healthy machines that a trend must exceed."""

_USUAL = 0.95
"""Share of healthy steps whose departure a machine must exceed to have a trend at all."""

_Z = 1.645


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HealthTrend:
    """How far from health a machine is, and where health ends.

    Attributes:
        centre: Shape (S,), mean of the healthy fleet.
        scale: Shape (S,), its standard deviation, > 0.
        level: Shape (S,), mean of the smoothed departures of health.
        whitening: Shape (S, S); whitens them (`domain.signatures`), so that a change of regime is
            no departure from health.
        threshold: Root mean square departure at which health ends, in healthy deviations.
        usual: Departure that most healthy steps stay below.
        steep: Rise of the departure, per step, that healthy machines seldom show.
    """

    centre: Matrix
    scale: Matrix
    level: Matrix
    whitening: Matrix
    threshold: float
    usual: float = 0.0
    steep: float = 0.0

    @classmethod
    def fit(cls, healthy: Sequence[Matrix]) -> Self:
        """Learn from healthy steps of machines, each of shape (steps, S)."""
        every = np.vstack(healthy)
        centre = np.where(np.isfinite(every).any(0), np.nanmean(every, axis=0), 0.0)
        scale = np.nan_to_num(np.nanstd(every, axis=0))
        scale = np.where(scale > 0, scale, 1.0)
        level, whitening, _ = scatter([_smooth(one, centre, scale) for one in healthy])
        made = cls(
            centre=centre,
            scale=scale,
            level=level,
            whitening=whitening / sqrt(len(centre)),
            threshold=inf,
        )
        levels = [made.departure(one) for one in healthy]
        usual, highest = np.quantile(np.concatenate(levels), [_USUAL, 0.999])
        return replace(
            made,
            threshold=_MARGIN * float(highest),
            usual=float(usual),
            steep=_steep(levels),
        )

    def departure(self, values: Matrix) -> npt.NDArray[np.float64]:
        """Return the departure from health after each step, smoothed over ten; shape (steps,)."""
        ways = (_smooth(values, self.centre, self.scale) - self.level) @ self.whitening
        return np.linalg.norm(ways, axis=1)

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
        if level[-1] <= self.usual or slow <= max(0.0, self.steep):
            return Remaining(kind="unknown", reason="its health shows no trend to the threshold")
        steps = lacking / slope
        if steps > len(values):
            return Remaining(
                kind="unknown",
                reason="its trend would reach the threshold only after longer than it was watched",
            )
        high = lacking / slow
        return Remaining(
            kind="time_to_threshold",
            seconds=steps * step_s,
            interval=(lacking / fast * step_s, high * step_s if high <= len(values) else None),
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return plain arrays."""
        return {
            "centre": self.centre,
            "scale": self.scale,
            "level": self.level,
            "whitening": self.whitening,
            "threshold": np.array([self.threshold]),
            "health": np.array([self.usual, self.steep]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.float64]]) -> Self:
        """Undo `to_arrays`."""
        # A package of before tells no trend, until risk is learnt anew.
        usual, steep = arrays.get("health", np.array([inf, inf])).tolist()
        sensors = len(arrays["centre"])
        return cls(
            centre=arrays["centre"],
            scale=arrays["scale"],
            level=arrays.get("level", np.zeros(sensors)),
            whitening=arrays.get("whitening", np.eye(sensors) / sqrt(sensors)),
            threshold=float(arrays["threshold"][0]),
            usual=usual,
            steep=steep,
        )


def _smooth(values: Matrix, centre: Matrix, scale: Matrix) -> Matrix:
    sensors = len(centre)
    features = life_features(values, centre, scale, look_back=LOOK_BACK)
    return features[:, sensors : 2 * sensors]


def _steep(levels: Sequence[npt.NDArray[np.float64]]) -> float:
    """Return the rise that few stretches of health exceed: some may have been failing unlabelled.

    Args:
        levels: Departures of each machine, step by step.
    """
    rises = [
        _slope(level[first : first + _TREND_STEPS])[0]
        for level in levels
        for first in range(0, max(1, len(level) - _TREND_STEPS + 1), _TREND_STEPS // 4)
        if len(level[first : first + _TREND_STEPS]) >= LEAST_STEPS
    ]
    return max(0.0, float(np.quantile(rises, _SELDOM))) if rises else 0.0


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
