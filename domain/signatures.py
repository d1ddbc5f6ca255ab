"""How a machine's newest steps depart from those of a healthy fleet, whatever its regime.

A change of regime moves many sensors at once, by far more than a failure does, and says nothing. So
departures are whitened by how healthy steps scatter: what healthy sensors do together counts
little, what one does alone counts much. Means, not medians: a minute that is half idle and half
load lies between the two in every sensor, and only a mean keeps that.

They are departures from the class, not from what the machine was an hour before: a failure that
develops over hours has long begun by then. How far the levels of healthy machines lie apart is part
of the scatter, sensor by sensor, for a fleet is too small to tell how these go together.

A quick failure shows in the newest step, a slow one in many: each is looked for with a memory of
its own, and the one in which the departure is clearest is believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix, Vector
from domain.risk.steps import LEAST_STEPS

type Stack = npt.NDArray[np.float64]
"""One matrix per memory, shape (memories, ..., S)."""

MEMORIES: Final = (1.0, 6.0)
"""Time constants in steps over which the newest steps are averaged."""

_SPAN = 4
"""Steps looked back on, in memories: 98 % of the weight."""

_EVERY = 4
"""Steps between the healthy departures that are learnt from: neighbours say the same."""

_MOST = 50_000
"""Healthy departures at most that are learnt from."""

_RIDGE = 0.01
"""Share of its variance that a sensor keeps for itself: healthy steps are finite in number."""

_CLEAR = 0.98
"""A departure longer than this share of healthy ones has a direction worth telling."""

_SHOWN = 0.9
"""The same for a failure that somebody labelled: it is known that there was one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Departure:
    """How a machine departs, with each memory.

    Attributes:
        ways: Shape (memories, S), whitened: in healthy deviations of what the sensor does alone.
        strengths: Shape (memories,), lengths of the ways; > 1 is clear.
    """

    ways: Stack
    strengths: Vector

    @property
    def memory(self) -> int:
        """The memory in which it is clearest."""
        return int(np.argmax(self.strengths))

    @property
    def strength(self) -> float:
        """Its length there; > 1 is clear."""
        return float(self.strengths.max())

    @property
    def directions(self) -> Stack:
        """Its ways at length one, shape (memories, S)."""
        length = np.linalg.norm(self.ways, axis=1, keepdims=True)
        made: Stack = self.ways / np.where(length > 0, length, 1.0)
        return made


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Health:
    """What healthy steps look like.

    Attributes:
        centre: Shape (memories, S), in the sensors' units.
        whitening: Shape (memories, S, S), brings healthy departures to unit covariance.
        clear: Shape (memories,), length of a whitened departure from which on it is clear.
        shown: Strength from which on a labelled failure shows at all.
    """

    centre: Stack
    whitening: Stack
    clear: Vector
    shown: float

    @classmethod
    def fit(cls, healthy: Sequence[Matrix]) -> Self:
        """Learn from healthy steps of machines.

        Args:
            healthy: One matrix of shape (steps, S) per machine, steps >= 1; at least one.
        """
        every = max(_EVERY, sum(map(len, healthy)) // _MOST)
        seen = [np.stack([levels(one[:end]) for end in _ends(len(one), every)]) for one in healthy]
        fitted = [scatter([one[:, at] for one in seen]) for at in range(len(MEMORIES))]
        made = cls(
            centre=np.stack([centre for centre, _, _ in fitted]),
            whitening=np.stack([whitening for _, whitening, _ in fitted]),
            clear=np.array([np.quantile(lengths, _CLEAR) for _, _, lengths in fitted]),
            shown=0.0,
        )
        clear = np.where(made.clear > 0, made.clear, 1.0)
        strengths = np.max([fitted[at][2] / clear[at] for at in range(len(clear))], axis=0)
        return cls(
            centre=made.centre,
            whitening=made.whitening,
            clear=clear,
            shown=float(np.quantile(strengths, _SHOWN)),
        )

    @classmethod
    def unknown(cls, sensors: int) -> Self:
        """Return a health from which nothing departs."""
        memories = len(MEMORIES)
        return cls(
            centre=np.zeros((memories, sensors)),
            whitening=np.zeros((memories, sensors, sensors)),
            clear=np.ones(memories),
            shown=1.0,
        )

    def departure(self, values: Matrix) -> Departure:
        """Return how the newest steps depart.

        Args:
            values: Shape (steps, S), steps >= 1, newest last; a sensor that is missing is
                supposed to do what the others let expect.
        """
        gone = levels(values) - self.centre
        ways = np.array(
            [_supposed(one, by) @ by for one, by in zip(gone, self.whitening, strict=True)]
        )
        return Departure(ways=ways, strengths=np.linalg.norm(ways, axis=1) / self.clear)

    def to_arrays(self) -> dict[str, Vector]:
        """Return plain arrays."""
        return {
            "centre": self.centre,
            "whitening": self.whitening,
            "clear": self.clear,
            "shown": np.array([self.shown]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Vector]) -> Self:
        """Undo `to_arrays`."""
        return cls(
            centre=arrays["centre"],
            whitening=arrays["whitening"],
            clear=arrays["clear"],
            shown=float(arrays["shown"][0]),
        )


def _supposed(gone: Vector, whitening: Matrix) -> Vector:
    """Return a departure with what is missing (NaN) supposed such that it is shortest."""
    lacking = ~np.isfinite(gone)
    if not lacking.any():
        return gone
    precision = whitening @ whitening.T
    filled = np.where(lacking, 0.0, gone)
    known = precision[np.ix_(lacking, ~lacking)] @ gone[~lacking]
    filled[lacking] = -np.linalg.pinv(precision[np.ix_(lacking, lacking)]) @ known
    return filled


def levels(values: Matrix) -> Stack:
    """Return the newest steps' mean with each memory, shape (memories, S); NaN where unknown.

    Args:
        values: Shape (steps, S), steps >= 1, newest last; NaN is missing.
    """
    return np.stack([_level(values[-round(_SPAN * memory) :], memory) for memory in MEMORIES])


def _level(values: Matrix, memory: float) -> Vector:
    age = np.arange(len(values))[::-1, None]
    weight = np.exp(-age / memory) * np.isfinite(values)
    total = weight.sum(axis=0)
    mean: Vector = np.divide(
        (np.nan_to_num(values) * weight).sum(axis=0),
        total,
        out=np.full(values.shape[1], np.nan),
        where=total > 0,
    )
    return mean


def _ends(steps: int, every: int) -> range:
    return range(min(steps, LEAST_STEPS), steps + 1, every)


def scatter(seen: Sequence[Matrix]) -> tuple[Vector, Matrix, Vector]:
    """Return the centre (S,) of healthy levels, their whitening (S, S), and lengths of departures.

    Args:
        seen: Levels of each machine, shape (n, S), n >= 1; NaN is missing.

    Returns:
        The lengths are those of all rows of all machines, after one another.
    """
    every = np.vstack(seen)
    known = np.isfinite(every).any(axis=0)
    own = np.array([_mean(one) for one in seen])
    centre = np.nan_to_num(_mean(own))
    rest = np.nan_to_num(np.vstack([one - mean for one, mean in zip(seen, own, strict=True)]))
    within = rest.T @ rest / len(rest)
    # Of one machine nobody knows how far others lie from it: as far as it goes itself, at least.
    apart = np.diag(within)
    if len(own) > 1:
        gone = np.nan_to_num(own - centre)
        # A machine that was not among these lies as far from their mean as they do, and a bit more.
        apart = (gone**2).sum(axis=0) / (len(own) - 1) * (1 + 1 / len(own))
    own_share = np.diag(_RIDGE * np.diag(within) + apart)
    whitening = _whitening((1 - _RIDGE) * within + own_share, known)
    ways = [_supposed(one - centre, whitening) @ whitening for one in every]
    lengths = np.linalg.norm(ways, axis=1)
    return centre, whitening, lengths


def _mean(values: Matrix) -> Vector:
    known = np.isfinite(values)
    count = known.sum(axis=0)
    mean: Vector = np.divide(
        np.nan_to_num(values).sum(axis=0),
        count,
        out=np.full(values.shape[1], np.nan),
        where=count > 0,
    )
    return mean


def _whitening(scatter: Matrix, known: npt.NDArray[np.bool_]) -> Matrix:
    """Return the symmetric root of the inverse: of all, it mixes sensors least (ZCA)."""
    varies = np.diag(scatter) > 0
    scale = np.sqrt(np.where(varies, np.diag(scatter), 1.0))
    together = scatter / np.outer(scale, scale) + np.diag(np.where(varies, 0.0, 1.0))
    values, vectors = np.linalg.eigh(together)
    root = vectors @ np.diag(1 / np.sqrt(np.maximum(values, 1e-6))) @ vectors.T
    whitening: Matrix = root / scale[:, None] * np.outer(known, known)
    return whitening
