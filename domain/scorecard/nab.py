"""The Numenta Anomaly Benchmark's score, and SKAB's variant of it for changepoints.

Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms", ICMLA 2015. The standard
profile: a hit is worth 1, less the later in its window; a miss costs 1; a false alarm costs .11,
less when it comes soon after a window. 0 is a detector that never tells, 100 a perfect one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from domain.readings import Instants
from domain.scorecard.points import Event, Flags

FALSE_ALARM: Final = 0.11
MISS: Final = 1.0
CHANGE_WINDOW_US: Final = 60_000_000
"""SKAB counts a changepoint as met within 60 s after it: its baselines score with `chp_score(...,
window_width="60s", anomaly_window_destination="righter")`."""

_FAR_BEHIND: Final = 3.0
"""So many widths after a window a false alarm costs in full."""
_STEEPNESS: Final = 1.0
"""`scale_koef` of SKAB's `chp_score`, at its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nab:
    """Points of one or more files.

    Attributes:
        points: Given.
        windows: That could be met.
        met: Windows with an alarm.
        false: Alarms outside of all windows.
    """

    points: float = 0.0
    windows: int = 0
    met: int = 0
    false: int = 0

    def __add__(self, other: Self) -> "Nab":
        return Nab(
            points=self.points + other.points,
            windows=self.windows + other.windows,
            met=self.met + other.met,
            false=self.false + other.false,
        )

    @property
    def score(self) -> float | None:
        """Normalised to 0 (never tells) and 100 (perfect); None without a window."""
        if not self.windows:
            return None
        return 100 * (self.points + MISS * self.windows) / ((1 + MISS) * self.windows)


def window_points(windows: Sequence[Event], told: npt.NDArray[np.intp]) -> Nab:
    """Score alarms against windows, as NAB's standard profile does.

    Args:
        windows: Of the scored rows, in order, apart.
        told: Rows at which an alarm was given, ascending.
    """
    points, alarms, met, false = 0.0, np.asarray(told), 0, 0
    for window in windows:
        hits = alarms[(alarms >= window.first) & (alarms <= window.last)]
        width = window.last - window.first + 1
        if len(hits):
            met += 1
            points += float(_sigmoid(-(window.last - hits[0] + 1) / width) / _sigmoid(-1.0))
        else:
            points -= MISS
    for alarm in alarms:
        if any(one.first <= alarm <= one.last for one in windows):
            continue
        false += 1
        past = [one for one in windows if one.last < alarm]
        behind = _FAR_BEHIND
        if past:
            last = past[-1]
            behind = min(_FAR_BEHIND, (alarm - last.last) / max(last.last - last.first, 1))
        points += FALSE_ALARM * (-1.0 if behind >= _FAR_BEHIND else _sigmoid(behind))
    return Nab(points=points, windows=len(windows), met=met, false=false)


def change_points(instants_us: Instants, truth: Flags, told: Flags) -> Nab:
    """Score told changepoints, as SKAB does: the window begins at the change and lasts 60 s.

    A hit is worth 1 at once and falls along a hyperbolic tangent to -.11 at the window's end, as
    in SKAB's `chp_score`; of two windows that overlap the first ends where the second begins.

    Args:
        instants_us: Shape (n,).
        truth: Shape (n,).
        told: Shape (n,).
    """
    begins = np.flatnonzero(truth)
    ends = np.searchsorted(instants_us, instants_us[begins] + CHANGE_WINDOW_US, side="right")
    ends[:-1] = np.minimum(ends[:-1], begins[1:])
    points, met, inside = 0.0, 0, np.zeros(len(told), dtype=bool)
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        inside[begin:end] = True
        hits = np.flatnonzero(told[begin:end])
        met += len(hits) > 0
        points += float(_fading(end - begin)[hits[0]]) if len(hits) else -MISS
    false = int((told & ~inside).sum())
    return Nab(points=points - FALSE_ALARM * false, windows=len(begins), met=met, false=false)


def _sigmoid(position: float) -> float:
    return float(2 / (1 + np.exp(5 * position)) - 1)


def _fading(rows: int) -> npt.NDArray[np.float64]:
    place = np.linspace(-np.pi / 2, np.pi / 2, rows)
    half = (1 + FALSE_ALARM) / 2
    faded: npt.NDArray[np.float64] = (
        half - FALSE_ALARM - half * np.tanh(_STEEPNESS * place) / np.tanh(np.pi * _STEEPNESS / 2)
    )
    return faded
