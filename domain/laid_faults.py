"""Sustained subtle faults, laid over healthy readings.

Steps and ramps of 1-4 deviations in 1-3 sensors: short-term deviations, or the whole one of a
machine with a single sensor.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.readings import Matrix

MIN_HELD_OUT: Final = 40
"""Fewest readings that a fault is laid over."""

MET_SHARE: Final = 0.1
"""A fault is met when so large a share of its readings alarms."""

_SHORT_ROWS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    """How faults are laid over healthy history.

    Attributes:
        train_share: Oldest part of each machine's history that is learnt from; in (0, 1).
        episodes: Faults per machine.
        least_episodes: Faults of all machines together: few machines get more each, for three
            faults say little (two draws of three ranked 198 configurations with a Spearman of
            .38 to each other, two of twelve with .91).
        low_sd: Smallest size of a fault, in short-term standard deviations of the sensor.
        high_sd: Largest size.
        most_sensors: Faults touch one to so many sensors.
        far_cap: Replay false-alarm rate above which the objective falls.
        fpr: False-positive rates up to here count in the partial area under the ROC curve.
    """

    train_share: float = 0.7
    episodes: int = 3
    least_episodes: int = 18
    low_sd: float = 1.0
    high_sd: float = 4.0
    most_sensors: int = 3
    far_cap: float = 0.05
    fpr: float = 0.2

    def episodes_of(self, machines: int) -> int:
        """Return how many faults each of so many machines gets."""
        return max(self.episodes, -(-self.least_episodes // max(1, machines)))


DEFAULT_RULES: Final = ReplayRules()


def lay_fault(
    values: Matrix, rng: np.random.Generator, rules: ReplayRules = DEFAULT_RULES
) -> tuple[int, Matrix]:
    """Lay one sustained fault over healthy readings.

    Args:
        values: Shape (n, S), n >= MIN_HELD_OUT; not changed.
        rng: Draws onset, sensors, sizes, signs and shape.
        rules: Its bounds.

    Returns:
        Row at which the fault is fully there (a step at once, a ramp after its rise), and the
        readings with the fault, which lasts to the end.
    """
    rows, sensors = values.shape
    onset = int(rng.integers(rows // 8, rows // 2))
    rise = int(rng.integers(1, rows // 6)) if rng.random() < 0.5 else 0
    count = int(rng.integers(1, min(rules.most_sensors, sensors) + 1))
    touched = rng.choice(sensors, count, replace=False)
    sizes = rng.uniform(rules.low_sd, rules.high_sd, count) * rng.choice((-1.0, 1.0), count)
    shape = np.clip((np.arange(rows) - onset + 1) / (rise + 1), 0.0, 1.0)
    out = values.copy()
    unit = short_term_sd if sensors > 1 else _whole_sd
    out[:, touched] += shape[:, None] * sizes * unit(values[:, touched])
    return onset + rise, out


def short_term_sd(values: Matrix) -> Matrix:
    """Return each sensor's median standard deviation within ten readings, shape (S,).

    A sensor that often stands still in so short a time is taken by its whole spread, a fifth.
    """
    windows = np.lib.stride_tricks.sliding_window_view(values, _SHORT_ROWS, axis=0)[::_SHORT_ROWS]
    filled = np.where(np.isnan(windows), np.nanmean(windows, axis=2, keepdims=True), windows)
    short = np.nan_to_num(np.nanmedian(np.nanstd(filled, axis=2), axis=0))
    spread: Matrix = np.maximum(short, 0.2 * np.nan_to_num(np.nanstd(values, axis=0)))
    return spread


def _whole_sd(values: Matrix) -> Matrix:
    """Return each sensor's standard deviation, shape (S,), in which a sensor alone has its faults.

    What a sensor does slowly is told from a fault by the other sensors, which do it as well. A
    sensor alone has none: a step within its own wandering is health to whoever looks.
    """
    deviation: Matrix = np.nan_to_num(np.nanstd(values, axis=0))
    return deviation
