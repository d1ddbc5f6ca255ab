"""Detectors that measure the distance to the nearest prototype of health."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, Birch, KMeans, MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors

from domain.detectors.contract import Arrays, DetectorSpec, Labels
from domain.readings import Matrix, Vector

MAX_PROTOTYPES = 128
"""Core points are thinned to so many: a score must cost microseconds."""

_SAMPLE = 1200  # rows that the density-based methods see: they are quadratic
_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prototypes:
    """Euclidean distance to the nearest of some centres.

    Attributes:
        centres: Shape (k, F).
    """

    centres: Matrix

    def score(self, features: Matrix) -> Vector:
        """Return the distance to the nearest centre, shape (n,)."""
        nearest: Vector = np.sqrt(self.attribute(features).sum(axis=1))
        return nearest

    def attribute(self, features: Matrix) -> Matrix:
        """Return the squared distance to the nearest centre by feature."""
        return (features - self.centres[self.assign(features)]) ** 2

    def assign(self, features: Matrix) -> Labels:
        """Return the nearest centre of each row."""
        # Without |x|², which is the same for all centres. It only ranks: the distance itself is
        # taken from differences, for this form loses its digits close to a centre.
        ranks = (self.centres**2).sum(axis=1) - 2 * features @ self.centres.T
        nearest: Labels = ranks.argmin(axis=1)
        return nearest

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the arrays."""
        return {"centres": self.centres.copy()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Restore what `to_arrays` gave."""
        return cls(centres=np.array(arrays["centres"], dtype=np.float64))


def fit_kmeans(features: Matrix, spec: DetectorSpec, *, seed: int) -> Prototypes:
    """Lloyd's k-means; `spec.clusters` centres."""
    clusters = min(spec.clusters, len(np.unique(features, axis=0)))
    found = KMeans(clusters, n_init=3, random_state=seed).fit(features)
    return Prototypes(centres=found.cluster_centers_.astype(np.float64))


def fit_minibatch(features: Matrix, spec: DetectorSpec, *, seed: int) -> Prototypes:
    """k-means on batches, for histories that are long; `spec.clusters` centres."""
    clusters = min(spec.clusters, len(np.unique(features, axis=0)))
    found = MiniBatchKMeans(clusters, n_init=3, random_state=seed).fit(features)
    return Prototypes(centres=found.cluster_centers_.astype(np.float64))


def fit_birch(features: Matrix, spec: DetectorSpec, *, seed: int) -> Prototypes:
    """The leaves of BIRCH's tree: small balls that cover what health looked like.

    Their radius is the usual distance to the tenth neighbour; a ball of one or two rows out of many
    is noise and no part of health.
    """
    sample = _sample(features, seed)
    reach = _reach(sample)
    found = Birch(threshold=max(float(np.median(reach)), 1e-9), n_clusters=None).fit(sample)
    members = np.bincount(found.labels_, minlength=len(found.subcluster_centers_))
    centres = np.asarray(found.subcluster_centers_, dtype=np.float64)
    kept = centres[members > min(2, int(members.max()) - 1)]
    return Prototypes(centres=_thin(kept, spec, seed))


def fit_dbscan(features: Matrix, spec: DetectorSpec, *, seed: int) -> Prototypes:
    """DBSCAN's core points; the radius comes from the distances to the tenth neighbour."""
    sample = _sample(features, seed)
    radius = max(float(np.quantile(_reach(sample), 0.9)), 1e-9)
    found = DBSCAN(eps=radius, min_samples=min(_NEIGHBOURS, len(sample) - 1)).fit(sample)
    core = sample[found.core_sample_indices_]
    return Prototypes(centres=_thin(core if len(core) else sample, spec, seed))


def fit_hdbscan(features: Matrix, spec: DetectorSpec, *, seed: int) -> Prototypes:
    """HDBSCAN's confident members; everything where it finds no cluster."""
    sample = _sample(features, seed)
    size = max(2, min(5 * _NEIGHBOURS, len(sample) // 4))
    found = HDBSCAN(min_cluster_size=size, allow_single_cluster=True, copy=True).fit(sample)
    members = sample[(found.labels_ >= 0) & (found.probabilities_ > 0.1)]
    return Prototypes(centres=_thin(members if len(members) else sample, spec, seed))


def _sample(features: Matrix, seed: int) -> Matrix:
    if len(features) <= _SAMPLE:
        return features
    rows = np.random.default_rng(seed).choice(len(features), _SAMPLE, replace=False)
    return features[np.sort(rows)]


def _reach(sample: Matrix) -> Vector:
    """Return the distance of each row to its tenth neighbour, shape (n,)."""
    neighbours = min(_NEIGHBOURS, len(sample) - 1)
    found, _ = NearestNeighbors(n_neighbors=neighbours + 1).fit(sample).kneighbors(sample)
    distances: Vector = found[:, -1]
    return distances


def _thin(points: Matrix, spec: DetectorSpec, seed: int) -> Matrix:
    """Return the points themselves, or centres of as many cells as may be kept."""
    most = min(MAX_PROTOTYPES, 16 * spec.clusters)
    if len(points) <= most:
        return np.array(points, dtype=np.float64)
    cells = KMeans(most, n_init=1, random_state=seed).fit(points)
    centres: Matrix = cells.cluster_centers_.astype(np.float64)
    return centres
