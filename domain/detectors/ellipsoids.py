"""Detectors that measure the distance from one or more ellipsoids of health.

Each centre k has a symmetric root A_k of its precision, so that |A_k (x - c_k)|² is the squared
Mahalanobis distance and the squares of the vector's entries are a non-negative attribution to the
features (zero-phase whitening keeps each entry next to its own feature).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from domain.detectors.contract import Arrays, DetectorSpec, Labels
from domain.readings import Matrix, Vector

FLOOR = 0.03
"""Smallest eigenvalue of a covariance, relative to a healthy feature's variance of 1: two sensors
that always agreed in an hour of history may differ by that much in the next."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ellipsoids:
    """Squared distances from ellipsoids, the nearest (or all, softly) taken.

    Attributes:
        centres: Shape (k, F).
        roots: Shape (k, F, F), symmetric.
        penalties: Shape (k,), >= 0; added to the squared distance. A mixture's are what its
            component is narrower or rarer than its densest one, in -2 log density.
        soft: A mixture's sum over components instead of the nearest one.
    """

    centres: Matrix
    roots: Matrix
    penalties: Vector
    soft: bool = False

    def score(self, features: Matrix) -> Vector:
        """Return the distance, shape (n,)."""
        squares = self._squares(features)
        if not self.soft:
            nearest: Vector = np.sqrt(squares.min(axis=1))
            return nearest
        # -2 log of the mixture's density, relative to the largest it could be.
        nearest, least = squares.min(axis=1), self.penalties.min()
        total = nearest - 2 * np.log(np.exp((nearest[:, None] - squares) / 2).sum(axis=1))
        most = least - 2 * np.log(np.exp((least - self.penalties) / 2).sum())
        distance: Vector = np.sqrt(np.maximum(total - most, 0.0))
        return distance

    def attribute(self, features: Matrix) -> Matrix:
        """Return the squared whitened entries, weighed by each component's responsibility."""
        weights = self._weights(features)
        out = np.zeros_like(features)
        for k, (centre, root) in enumerate(zip(self.centres, self.roots, strict=True)):
            out += weights[:, k, None] * ((features - centre) @ root) ** 2
        return out

    def assign(self, features: Matrix) -> Labels:
        """Return the nearest ellipsoid of each row."""
        return self._squares(features).argmin(axis=1)

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the arrays."""
        return {
            "centres": self.centres.copy(),
            "roots": self.roots.copy(),
            "penalties": self.penalties.copy(),
            "soft": np.array([float(self.soft)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Restore what `to_arrays` gave."""
        centres, roots, penalties = (
            np.array(arrays[name], dtype=np.float64) for name in ("centres", "roots", "penalties")
        )
        return cls(centres=centres, roots=roots, penalties=penalties, soft=bool(arrays["soft"][0]))

    def _squares(self, features: Matrix) -> Matrix:
        out = np.empty((len(features), len(self.centres)))
        for k, (centre, root) in enumerate(zip(self.centres, self.roots, strict=True)):
            white = (features - centre) @ root
            out[:, k] = np.einsum("ij,ij->i", white, white) + self.penalties[k]
        return out

    def _weights(self, features: Matrix) -> Matrix:
        squares = self._squares(features)
        if self.soft:
            weights: Matrix = np.exp((squares.min(axis=1, keepdims=True) - squares) / 2)
            return weights / weights.sum(axis=1, keepdims=True)
        return np.eye(len(self.centres))[squares.argmin(axis=1)]


def fit_mahalanobis(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ellipsoids:
    """k-means first, then one covariance per cluster, shrunk to the pooled one."""
    clusters = min(spec.clusters, len(np.unique(features, axis=0)))
    found = KMeans(clusters, n_init=3, random_state=seed).fit(features)
    centres = found.cluster_centers_.astype(np.float64)
    pooled = _covariance(features - centres[found.labels_])
    roots = []
    for k in range(clusters):
        members = features[found.labels_ == k] - centres[k]
        trust = len(members) / (len(members) + 10 * features.shape[1])
        roots.append(_root(trust * _covariance(members) + (1 - trust) * pooled))
    return Ellipsoids(centres=centres, roots=np.stack(roots), penalties=np.zeros(clusters))


def fit_mixture(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ellipsoids:
    """A Gaussian mixture with full covariances."""
    return _mixture(features, spec, "full", seed)


def fit_diagonal_mixture(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ellipsoids:
    """A Gaussian mixture with diagonal covariances."""
    return _mixture(features, spec, "diag", seed)


def fit_pca(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ellipsoids:
    """Hotelling's T² and the residual Q in one index (Yue and Qin 2001), both in units of theirs.

    T² over the leading components, that hold `spec.variance` of the variance, and Q over the rest
    are each divided by their mean in training, added, and scaled to the number of features.
    """
    del seed  # an eigendecomposition needs none
    centre = features.mean(axis=0)
    values, vectors = np.linalg.eigh(_covariance(features - centre))
    values, vectors = np.maximum(values[::-1], FLOOR), vectors[:, ::-1]
    share = np.cumsum(values) / values.sum()
    kept = int(np.searchsorted(share, spec.variance) + 1)
    rest = values[kept:].mean() if kept < len(values) else 1.0
    precision = np.where(np.arange(len(values)) < kept, 1 / values, 1 / rest)
    root = (vectors * np.sqrt(precision)) @ vectors.T
    return Ellipsoids(centres=centre[None], roots=root[None], penalties=np.zeros(1))


def _mixture(features: Matrix, spec: DetectorSpec, shape: str, seed: int) -> Ellipsoids:
    found = GaussianMixture(
        min(spec.clusters, len(np.unique(features, axis=0))),
        covariance_type=shape,
        reg_covar=FLOOR,
        max_iter=50,
        tol=1e-2,
        random_state=seed,
    ).fit(features)
    full = shape == "full"
    roots = np.stack([_root(one if full else np.diag(one), 0.0) for one in found.covariances_])
    # log weight - log determinant / 2, relative to the densest component's.
    density = np.log(found.weights_) + np.linalg.slogdet(roots)[1]
    return Ellipsoids(
        centres=found.means_.astype(np.float64),
        roots=roots,
        penalties=2 * (density.max() - density),
        soft=True,
    )


def _covariance(centred: Matrix) -> Matrix:
    return centred.T @ centred / max(len(centred), 1)


def _root(covariance: Matrix, floor: float = FLOOR) -> Matrix:
    """Return the symmetric root of the inverse."""
    values, vectors = np.linalg.eigh(covariance)
    root: Matrix = (vectors / np.sqrt(np.maximum(values, max(floor, 1e-12)))) @ vectors.T
    return root
