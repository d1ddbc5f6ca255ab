"""Detectors behind one small contract; `DETECTORS` is the list a sweep chooses from.

A new one is a `fit_...` function that returns `Prototypes`, `Ellipsoids` or a class of its own
with `score`, `attribute`, `assign`, `to_arrays` and `from_arrays`, and a line below. The
conformance suite in `tests/unit/test_detectors.py` runs over this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from domain.detectors.contract import Arrays, Detector, DetectorSpec, FitFunction
from domain.detectors.density import Glosh, fit_glosh
from domain.detectors.ellipsoids import (
    Ellipsoids,
    fit_diagonal_mixture,
    fit_mahalanobis,
    fit_mixture,
    fit_pca,
)
from domain.detectors.ensemble import Ensemble, fit_ensemble, fit_scales, fit_wide_ensemble
from domain.detectors.neighbours import (
    LocalOutliers,
    Neighbours,
    fit_local_outliers,
    fit_neighbours,
)
from domain.detectors.prototypes import (
    Prototypes,
    fit_birch,
    fit_dbscan,
    fit_hdbscan,
    fit_kmeans,
    fit_minibatch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorKind:
    """One family of detectors.

    Attributes:
        fit: Healthy features in, detector out.
        restore: The arrays of `to_arrays` in, detector out.
    """

    fit: FitFunction
    restore: Callable[[Arrays], Detector]


DETECTORS: Final[dict[str, DetectorKind]] = {
    "pca": DetectorKind(fit=fit_pca, restore=Ellipsoids.from_arrays),
    "mahalanobis": DetectorKind(fit=fit_mahalanobis, restore=Ellipsoids.from_arrays),
    "gmm": DetectorKind(fit=fit_mixture, restore=Ellipsoids.from_arrays),
    "gmm-diag": DetectorKind(fit=fit_diagonal_mixture, restore=Ellipsoids.from_arrays),
    "kmeans": DetectorKind(fit=fit_kmeans, restore=Prototypes.from_arrays),
    "minibatch": DetectorKind(fit=fit_minibatch, restore=Prototypes.from_arrays),
    "birch": DetectorKind(fit=fit_birch, restore=Prototypes.from_arrays),
    "dbscan": DetectorKind(fit=fit_dbscan, restore=Prototypes.from_arrays),
    "hdbscan": DetectorKind(fit=fit_hdbscan, restore=Prototypes.from_arrays),
    "glosh": DetectorKind(fit=fit_glosh, restore=Glosh.from_arrays),
    "knn": DetectorKind(fit=fit_neighbours, restore=Neighbours.from_arrays),
    "lof": DetectorKind(fit=fit_local_outliers, restore=LocalOutliers.from_arrays),
    "scales": DetectorKind(fit=fit_scales, restore=Ensemble.from_arrays),
    "ensemble": DetectorKind(fit=fit_ensemble, restore=Ensemble.from_arrays),
    "ensemble-wide": DetectorKind(fit=fit_wide_ensemble, restore=Ensemble.from_arrays),
}

__all__ = ["DETECTORS", "Detector", "DetectorKind", "DetectorSpec"]
