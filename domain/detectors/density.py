"""GLOSH: how much sparser it is around a row than in the densest core of its cluster.

The outlier score of HDBSCAN (Campello et al. 2015, "Hierarchical Density Estimates for Data
Clustering, Visualization, and Outlier Detection", section 6) is 1 - e_min / e: e is the radius at
which the row leaves the hierarchy, e_min the radius at which the last row of its cluster does. It
ends at 1, where no threshold could be put a margin higher, so the score here is e / e_min, which
has the same order and no end.

A row that was not there when the hierarchy was made is placed by its nearest kept row in mutual
reachability, as HDBSCAN's own approximate prediction does: exact would be a new hierarchy per row.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from domain.detectors.contract import Arrays, DetectorSpec, Labels
from domain.detectors.neighbours import (
    REACH_FLOOR,
    chunks,
    distances_within,
    sample,
    shared_out,
    squares,
)
from domain.readings import Matrix, Vector

KEPT: Final = 512
"""Healthy rows that the hierarchy is made of; distances between all of them are taken."""

ROOT: Final = 0
"""Number of the cluster that holds everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condensed:
    """A hierarchy of density without what is too small to be a cluster.

    Attributes:
        cluster: Shape (m,), the last cluster that each row was in.
        leaves: Shape (m,), radius at which it left that.
        parent: Shape (c,), of each cluster; the root is its own.
        birth: Shape (c,), radius at which each split off; infinite for the root.
        least: Shape (c,), smallest radius at which a row of it, or of a part of it, leaves.
    """

    cluster: Labels
    leaves: Vector
    parent: Labels
    birth: Vector
    least: Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Glosh:
    """The radius at which a row joins health, relative to its cluster's densest core.

    Attributes:
        points: Shape (m, F), kept healthy rows.
        core: Shape (m,), distance of each to the last of its own nearest, >= `REACH_FLOOR`.
        count: How many nearest rows make a core distance; 1 to m.
        tree: The hierarchy over the kept rows.
    """

    points: Matrix
    core: Vector
    count: int
    tree: Condensed

    def score(self, features: Matrix) -> Vector:
        """Return the ratio of radii, shape (n,)."""
        return np.concatenate(
            [np.empty(0), *(self._ratio(features[rows])[0] for rows in chunks(len(features)))]
        )

    def attribute(self, features: Matrix) -> Matrix:
        """Return the squared score, shared out as the squared differences to the nearest row."""
        out = np.empty_like(features)
        for rows in chunks(len(features)):
            part = features[rows]
            ratio, place = self._ratio(part)
            parts = squares(part, self.points, place[:, None])[:, 0]
            out[rows] = shared_out(ratio**2, parts)
        return out

    def assign(self, features: Matrix) -> Labels:
        """Return the last cluster of the nearest kept row."""
        found = [self.tree.cluster[self._ratio(features[at])[1]] for at in chunks(len(features))]
        return np.concatenate([np.empty(0, dtype=np.int64), *found])

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the arrays."""
        tree = self.tree
        return {
            "points": self.points.copy(),
            "core": self.core.copy(),
            "count": np.array([float(self.count)]),
            "cluster": tree.cluster.astype(np.float64),
            "leaves": tree.leaves.copy(),
            "parent": tree.parent.astype(np.float64),
            "birth": tree.birth.copy(),
            "least": tree.least.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Restore what `to_arrays` gave."""
        own = {name: np.array(one, dtype=np.float64) for name, one in arrays.items()}
        tree = Condensed(
            cluster=own["cluster"].astype(np.int64),
            leaves=own["leaves"],
            parent=own["parent"].astype(np.int64),
            birth=own["birth"],
            least=own["least"],
        )
        return cls(points=own["points"], core=own["core"], count=int(own["count"][0]), tree=tree)

    def _ratio(self, features: Matrix) -> tuple[Vector, npt.NDArray[np.intp]]:
        """Return score and place of the nearest kept row in mutual reachability, each (n,)."""
        apart = np.sqrt(np.maximum(_squared_distances(features, self.points), 0.0))
        last = min(self.count, apart.shape[1]) - 1
        own = np.partition(apart, last, axis=1)[:, last]
        mutual = np.maximum(np.maximum(apart, self.core), own[:, None])
        # Within a core all are equally near in reachability; the plain distance breaks the tie.
        place = np.where(mutual <= mutual.min(axis=1, keepdims=True), apart, np.inf).argmin(axis=1)
        radius = mutual.min(axis=1)
        cluster = self.tree.cluster[place]
        while (out := self.tree.birth[cluster] < radius).any():
            cluster = np.where(out, self.tree.parent[cluster], cluster)
        return radius / self.tree.least[cluster], place


def fit_glosh(features: Matrix, spec: DetectorSpec, *, seed: int) -> Glosh:
    """Make the hierarchy of a sample; a cluster has at least `spec.neighbours` rows."""
    points = sample(features, KEPT, seed)
    count = min(spec.neighbours, len(points) - 1)
    apart = distances_within(points)
    core = np.maximum(np.partition(apart, count, axis=1)[:, count], REACH_FLOOR)
    mutual = np.maximum(np.maximum(apart, core), core[:, None])
    np.fill_diagonal(mutual, 0.0)
    merges = linkage(squareform(mutual, checks=False), "single")
    return Glosh(points=points, core=core, count=count, tree=condense(merges, max(count, 2)))


def condense(merges: Matrix, least_rows: int) -> Condensed:
    """Walk a single-linkage tree from its root; what splits off too small only falls out.

    Args:
        merges: Shape (m - 1, 4), as scipy's `linkage` gives it.
        least_rows: Rows of the smallest cluster; >= 2.
    """
    rows = len(merges) + 1
    cluster, parent, birth = np.zeros(rows, dtype=np.int64), [ROOT], [np.inf]
    leaves = np.full(rows, merges[-1, 2])
    waiting = [(2 * rows - 2, ROOT)]
    while waiting:
        node, label = waiting.pop()
        one, other, radius, _ = merges[node - rows]
        parts = [(int(part), _size(merges, int(part))) for part in (one, other)]
        split = all(size >= least_rows for _, size in parts)
        for part, size in parts:
            if split:
                parent.append(label)
                birth.append(radius)
                waiting.append((part, len(parent) - 1))
            elif size >= least_rows:
                waiting.append((part, label))
            else:
                fallen = _rows_of(merges, part)
                cluster[fallen], leaves[fallen] = label, radius
    return Condensed(
        cluster=cluster,
        leaves=leaves,
        parent=np.array(parent, dtype=np.int64),
        birth=np.array(birth),
        least=_least(cluster, leaves, parent),
    )


def _least(cluster: Labels, leaves: Vector, parent: list[int]) -> Vector:
    """Return the smallest radius of each cluster and of all its parts."""
    least = np.full(len(parent), np.inf)
    np.minimum.at(least, cluster, leaves)
    for part in range(len(parent) - 1, ROOT, -1):  # a part's number is above its parent's
        least[parent[part]] = min(least[parent[part]], least[part])
    floored: Vector = np.maximum(least, REACH_FLOOR)
    return floored


def _size(merges: Matrix, node: int) -> int:
    rows = len(merges) + 1
    return 1 if node < rows else int(merges[node - rows, 3])


def _rows_of(merges: Matrix, node: int) -> list[int]:
    """Return the rows below a node."""
    rows, found, waiting = len(merges) + 1, [], [node]
    while waiting:
        one = waiting.pop()
        if one < rows:
            found.append(one)
        else:
            waiting.extend(int(part) for part in merges[one - rows, :2])
    return found


def _squared_distances(features: Matrix, points: Matrix) -> Matrix:
    """Return (n, m) squared distances; what this form loses is far below `REACH_FLOOR`."""
    own, theirs = (features**2).sum(axis=1), (points**2).sum(axis=1)
    found: Matrix = own[:, None] + theirs - 2 * features @ points.T
    return found
