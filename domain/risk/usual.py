"""What a young machine shows, under each of the conditions that machines are run in.

An aircraft's engine at take-off and the same engine at cruise differ more than a new one and a worn
one. Where the columns that say how a machine is run fall into clear clusters, and these explain
what the sensors show, a departure is one from the young machines of the same condition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from domain.features.operating import clusters_apart
from domain.readings import Matrix

_YOUNG: Final = 50
"""Steps at the beginning of a life that count as healthy."""

_MOST: Final = 8
_SAMPLE: Final = 1500
_FEWEST: Final = 100
"""Young steps of a condition, with fewer of which its deviation is not known."""
_EXPLAINED: Final = 0.5
"""Share of the sensors' variance that conditions explain, or there is nothing to correct for."""
_TINY: Final = 1e-9

type Labels = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Usual:
    """Mean and deviation of each sensor of a young machine. R conditions, C columns, S sensors.

    Attributes:
        centre: Shape (R, S).
        scale: Shape (R, S), > 0.
        columns: Shape (C,), which of the S say how the machine is run; empty with R = 1.
        reach: Shape (C,), range of these columns, > 0.
        points: Shape (R, C), where the conditions lie, in units of `reach`.
    """

    centre: Matrix
    scale: Matrix
    columns: npt.NDArray[np.int64]
    reach: Matrix
    points: Matrix

    @classmethod
    def fit(cls, lives: Sequence[Matrix], *, conditions: Sequence[int] = (), seed: int) -> Self:
        """Learn from the beginnings of lives.

        Args:
            lives: At least one; of each its readings, shape (steps, S), NaN where missing.
            conditions: Columns that say how a machine is run, not how it is.
            seed: Of the clustering.
        """
        young = np.vstack([values[:_YOUNG] for values in lives])
        for one in (*_proposals(lives, conditions, seed), _single()):
            labels = one.labels(young)
            groups = [young[labels == at] for at in range(len(one.points))]
            if len(groups) == 1 or _is_worth_it(young, groups, conditions):
                break
        levels = [(np.nanmean(group, axis=0), np.nanstd(group, axis=0)) for group in groups]
        centre, scale = (np.stack(part) for part in zip(*levels, strict=True))
        # A constant's deviation is what its digits are rounded to.
        moves = scale > _TINY * np.maximum(np.abs(centre), 1)
        return cls(
            centre=centre,
            scale=np.where(moves, scale, 1.0),
            columns=one.columns,
            reach=one.reach,
            points=one.points,
        )

    def labels(self, values: Matrix) -> Labels:
        """Return the condition of each row, shape (n,); what is missing does not tell."""
        apart = values[:, None, self.columns] / self.reach - self.points
        nearest: Labels = np.nansum(apart**2, axis=2).argmin(axis=1)
        return nearest

    def of(self, values: Matrix) -> tuple[Matrix, Matrix]:
        """Return centre and scale of each row, shape (n, S) each."""
        labels = self.labels(values)
        return self.centre[labels], self.scale[labels]

    def to_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return plain arrays; those of a single condition as packages always had them."""
        if len(self.points) == 1:
            return {"centre": self.centre[0], "scale": self.scale[0]}
        return {
            "centre": self.centre,
            "scale": self.scale,
            "condition_columns": self.columns.astype(np.float64),
            "condition_reach": self.reach,
            "condition_points": self.points,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Matrix]) -> Self:
        """Undo `to_arrays`; what else is among the arrays is left alone."""
        single = _single()
        columns = arrays.get("condition_columns")
        return cls(
            centre=np.atleast_2d(arrays["centre"]),
            scale=np.atleast_2d(arrays["scale"]),
            columns=single.columns if columns is None else columns.astype(np.int64),
            reach=arrays.get("condition_reach", single.reach),
            points=arrays.get("condition_points", single.points),
        )


def _at(columns: npt.NDArray[np.int64], reach: Matrix, points: Matrix) -> Usual:
    """Return conditions of which it is not known yet what is usual under them."""
    nothing = np.zeros((len(points), 0))
    return Usual(centre=nothing, scale=nothing, columns=columns, reach=reach, points=points)


def _single() -> Usual:
    return _at(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros((1, 0)))


def _proposals(lives: Sequence[Matrix], conditions: Sequence[int], seed: int) -> list[Usual]:
    """Return clusters of conditions that are apart, the most of them first."""
    columns = np.array(sorted(conditions), dtype=np.int64)
    rows = np.vstack([values[:, columns] for values in lives])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return []
    reach: Matrix = rows.max(axis=0) - rows.min(axis=0)
    moving = reach > _TINY
    columns, reach = columns[moving], reach[moving]
    drawn = np.random.default_rng(seed).permutation(len(rows))[:_SAMPLE]
    scaled = rows[drawn][:, moving] / reach
    found = [clusters_apart(scaled, count, seed) for count in range(_MOST, 1, -1)]
    return [_at(columns, reach, one) for one in found if one is not None]


def _is_worth_it(young: Matrix, groups: Sequence[Matrix], conditions: Sequence[int]) -> bool:
    """Tell whether each condition is known, and the sensors' levels depend on it."""
    if min(map(len, groups)) < _FEWEST:
        return False
    measured = np.setdiff1d(np.arange(young.shape[1]), np.array(conditions, dtype=np.int64))
    total: Matrix = np.nanvar(young[:, measured], axis=0)
    parts = [len(one) * np.nanvar(one[:, measured], axis=0) for one in groups]
    within: Matrix = np.sum(parts, axis=0) / len(young)
    moves = total > _TINY
    return bool(moves.any() and np.mean(1 - within[moves] / total[moves]) >= _EXPLAINED)
