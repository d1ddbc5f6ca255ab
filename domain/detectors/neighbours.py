"""References that keep a sample of healthy rows: distance to the nearest, and local density.

They learn nothing, which makes them honest company for those that do. A uniform sample bounds
memory and time; thresholds are found with samples of the same size: its sparseness cancels out.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from domain.detectors.contract import Arrays, DetectorSpec, Labels
from domain.readings import Matrix, Vector

type Places = npt.NDArray[np.intp]

KEPT: Final = 512
"""Healthy rows that are kept at most."""

REACH_FLOOR: Final = 0.05
"""Smallest distance between two rows that counts, in healthy standard deviations: a sensor that
stands still gives rows that are equal, and their density would be without bound."""

_CHUNK: Final = 1024  # rows whose distances to all kept ones are in memory at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """Root mean square distance to the nearest kept rows.

    Attributes:
        points: Shape (m, F), kept healthy rows.
        count: How many of the nearest; 1 to m.
    """

    points: Matrix
    count: int

    def score(self, features: Matrix) -> Vector:
        """Return the distance, shape (n,)."""
        distance: Vector = np.sqrt(self.attribute(features).sum(axis=1))
        return distance

    def attribute(self, features: Matrix) -> Matrix:
        """Return the mean squared difference to the nearest rows by feature."""
        out = np.empty_like(features)
        for rows in chunks(len(features)):
            part = features[rows]
            out[rows] = squares(part, self.points, nearest(part, self.points, self.count)).mean(1)
        return out

    def assign(self, features: Matrix) -> Labels:
        """Return 0 for every row: there is no partition."""
        return np.zeros(len(features), dtype=np.int64)

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the arrays."""
        return {"points": self.points.copy(), "count": np.array([float(self.count)])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Restore what `to_arrays` gave."""
        points = np.array(arrays["points"], dtype=np.float64)
        return cls(points=points, count=int(arrays["count"][0]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalOutliers:
    """Root of the local outlier factor (Breunig et al. 2000): how sparse it is here beside there.

    Attributes:
        points: Shape (m, F), kept healthy rows.
        reach: Shape (m,), distance of each to the last of its own nearest, >= `REACH_FLOOR`.
        density: Shape (m,), local reachability density of each.
        count: How many nearest rows are looked at; 1 to m.
    """

    points: Matrix
    reach: Vector
    density: Vector
    count: int

    def score(self, features: Matrix) -> Vector:
        """Return the root of the factor, about 1 within health, shape (n,)."""
        out = np.empty(len(features))
        for rows in chunks(len(features)):
            out[rows] = np.sqrt(self._factors(features[rows])[0])
        return out

    def attribute(self, features: Matrix) -> Matrix:
        """Return the factor, shared out as the squared differences to the nearest rows are."""
        out = np.empty_like(features)
        for rows in chunks(len(features)):
            factor, parts = self._factors(features[rows])
            out[rows] = shared_out(factor, parts)
        return out

    def assign(self, features: Matrix) -> Labels:
        """Return 0 for every row: there is no partition."""
        return np.zeros(len(features), dtype=np.int64)

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the arrays."""
        return {
            "points": self.points.copy(),
            "reach": self.reach.copy(),
            "density": self.density.copy(),
            "count": np.array([float(self.count)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Restore what `to_arrays` gave."""
        points, reach, density = (
            np.array(arrays[name], dtype=np.float64) for name in ("points", "reach", "density")
        )
        return cls(points=points, reach=reach, density=density, count=int(arrays["count"][0]))

    def _factors(self, features: Matrix) -> tuple[Vector, Matrix]:
        """Return the factor (n,) and the mean squared differences by feature (n, F)."""
        places = nearest(features, self.points, self.count)
        parts = squares(features, self.points, places)
        reached = np.maximum(np.sqrt(parts.sum(axis=2)), self.reach[places])
        return self.density[places].mean(axis=1) * reached.mean(axis=1), parts.mean(axis=1)


def fit_neighbours(features: Matrix, spec: DetectorSpec, *, seed: int) -> Neighbours:
    """Keep a sample; `spec.neighbours` of it are looked at."""
    points = sample(features, KEPT, seed)
    return Neighbours(points=points, count=min(spec.neighbours, len(points)))


def fit_local_outliers(features: Matrix, spec: DetectorSpec, *, seed: int) -> LocalOutliers:
    """Keep a sample with the density around each of its rows."""
    points = sample(features, KEPT, seed)
    count = min(spec.neighbours, len(points) - 1)
    places, distances = _of_each(points, count)
    reach = np.maximum(distances[:, -1], REACH_FLOOR)
    density = 1 / np.maximum(distances, reach[places]).mean(axis=1)
    return LocalOutliers(points=points, reach=reach, density=density, count=count)


def sample(features: Matrix, most: int, seed: int) -> Matrix:
    """Return at most so many rows, uniformly drawn, in their order; a copy."""
    if len(features) <= most:
        return features.copy()
    rows = np.random.default_rng(seed).choice(len(features), most, replace=False)
    return features[np.sort(rows)]


def chunks(rows: int) -> list[slice]:
    """Return slices that cover so many rows, few enough in each to keep their distances."""
    return [slice(first, first + _CHUNK) for first in range(0, rows, _CHUNK)]


def nearest(features: Matrix, points: Matrix, count: int) -> Places:
    """Return the places of the nearest points of each row, shape (n, count), in no order."""
    # Without |x|², which is the same for all points. It only ranks: distances are taken from
    # differences, for this form loses its digits close to a point.
    ranks = (points**2).sum(axis=1) - 2 * features @ points.T
    if count == len(points):
        return np.broadcast_to(np.arange(count), ranks.shape)
    return np.argpartition(ranks, count - 1, axis=1)[:, :count]


def squares(features: Matrix, points: Matrix, places: Places) -> Matrix:
    """Return the squared differences of each row to its points, shape (n, count, F)."""
    found: Matrix = (features[:, None, :] - points[places]) ** 2
    return found


def shared_out(total: Vector, parts: Matrix) -> Matrix:
    """Return the total (n,) in proportion to the parts (n, F); evenly where all parts are 0."""
    whole = parts.sum(axis=1, keepdims=True)
    even = np.full_like(parts, 1 / parts.shape[1])
    share: Matrix = np.divide(parts, whole, out=even, where=whole > 0)
    return share * total[:, None]


def _of_each(points: Matrix, count: int) -> tuple[Places, Matrix]:
    """Return the other points nearest to each, (m, count), and their distances, ascending."""
    apart = distances_within(points)
    np.fill_diagonal(apart, np.inf)
    places = np.argsort(apart, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(apart, places, axis=1)


def distances_within(points: Matrix) -> Matrix:
    """Return the distance of each point to each, shape (m, m)."""
    return np.stack([np.sqrt(((points - one) ** 2).sum(axis=1)) for one in points])
