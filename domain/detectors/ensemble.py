"""A detector of detectors: the mean of standardised distances over lengths of window and families.

A short window meets a fault early, a long one tells a small fault from noise, and neither is right
for all faults. The mean asks for no choice, and needs no label to be made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from domain.detectors.contract import Arrays, Detector, DetectorSpec, FitFunction, Labels
from domain.detectors.ellipsoids import Ellipsoids, fit_mahalanobis, fit_mixture, fit_pca
from domain.detectors.neighbours import Neighbours, fit_neighbours
from domain.detectors.prototypes import Prototypes, fit_birch, fit_kmeans
from domain.readings import Matrix, Vector

USUAL: Final = 0.9
"""Quantile of its training distances in which a member's distances are measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """One detector of an ensemble.

    Attributes:
        family: Name in `FAMILIES`.
        detector: It.
        first: Its first column of the features.
        columns: How many it looks at.
        unit: Its usual distance; > 0.
    """

    family: str
    detector: Detector
    first: int
    columns: int
    unit: float

    def part(self, features: Matrix) -> Matrix:
        """Return the columns it looks at."""
        return np.ascontiguousarray(features[:, self.first : self.first + self.columns])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ensemble:
    """The mean of its members' distances, each in units of its own usual one.

    Attributes:
        members: At least one.
    """

    members: tuple[Member, ...]

    def score(self, features: Matrix) -> Vector:
        """Return the mean distance, shape (n,)."""
        return self._distances(features).mean(axis=0)

    def attribute(self, features: Matrix) -> Matrix:
        """Return the members' attributions, weighed by what each adds to the mean."""
        distances, out = self._distances(features), np.zeros_like(features)
        mean = distances.mean(axis=0)
        for member, distance in zip(self.members, distances, strict=True):
            parts = member.detector.attribute(member.part(features))
            total = parts.sum(axis=1)
            # Of the squared mean, a member is owed mean * distance / members.
            owed = np.divide(
                mean * distance,
                total * len(self.members),
                out=np.zeros_like(total),
                where=total > 0,
            )
            out[:, member.first : member.first + member.columns] += owed[:, None] * parts
        return out

    def assign(self, features: Matrix) -> Labels:
        """Return the centre of the first member."""
        return self.members[0].detector.assign(self.members[0].part(features))

    def at(self, place: int) -> Self:
        """Return those of its members that look at one length of window; they are shared.

        Args:
            place: Of that length among those that the features are made at.
        """
        there = tuple(one for one in self.members if one.first == place * one.columns)
        return type(self)(members=there)

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the members' arrays, each under its place and family."""
        out = {}
        for place, one in enumerate(self.members):
            name = f"{place}-{one.family}"
            out[f"{name}.place"] = np.array([one.first, one.columns, one.unit], dtype=np.float64)
            out |= {f"{name}.{key}": value for key, value in one.detector.to_arrays().items()}
        return out

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Restore what `to_arrays` gave."""
        names = sorted(
            {key.split(".")[0] for key in arrays}, key=lambda name: int(name.split("-")[0])
        )
        return cls(members=tuple(_restored(name, arrays) for name in names))

    def _distances(self, features: Matrix) -> Matrix:
        return np.stack([one.detector.score(one.part(features)) / one.unit for one in self.members])


def _restored(name: str, arrays: Arrays) -> Member:
    parts: dict[str, npt.NDArray[np.float64]] = {
        key.removeprefix(f"{name}."): np.array(value, dtype=np.float64)
        for key, value in arrays.items()
        if key.startswith(f"{name}.")
    }
    first, columns, unit = parts.pop("place").tolist()
    family = name.split("-", 1)[1]
    return Member(
        family=family,
        detector=FAMILIES[family][1](parts),
        first=int(first),
        columns=int(columns),
        unit=unit,
    )


FAMILIES: Final[dict[str, tuple[FitFunction, Callable[[Arrays], Detector]]]] = {
    "pca": (fit_pca, Ellipsoids.from_arrays),
    "mahalanobis": (fit_mahalanobis, Ellipsoids.from_arrays),
    "kmeans": (fit_kmeans, Prototypes.from_arrays),
    "gmm": (fit_mixture, Ellipsoids.from_arrays),
    "birch": (fit_birch, Prototypes.from_arrays),
    "knn": (fit_neighbours, Neighbours.from_arrays),
}


def fit_scales(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ensemble:
    """PCA's index on each length of window by itself."""
    return _fit(features, spec, seed, ("pca",))


def fit_ensemble(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ensemble:
    """PCA's index, ellipsoids and k-means on each length of window."""
    return _fit(features, spec, seed, ("pca", "mahalanobis", "kmeans"))


def fit_wide_ensemble(features: Matrix, spec: DetectorSpec, *, seed: int) -> Ensemble:
    """One of each way to see health on each length of window: plane, density, balls, neighbours."""
    return _fit(features, spec, seed, ("pca", "gmm", "birch", "knn"))


def _fit(features: Matrix, spec: DetectorSpec, seed: int, families: Sequence[str]) -> Ensemble:
    columns = features.shape[1]
    width = columns // spec.scales if columns % spec.scales == 0 else columns
    members = []
    for first in range(0, columns, width):
        part = np.ascontiguousarray(features[:, first : first + width])
        for family in families:
            detector = FAMILIES[family][0](part, spec, seed=seed)
            unit = max(float(np.quantile(detector.score(part), USUAL)), 1e-9)
            members.append(
                Member(family=family, detector=detector, first=first, columns=width, unit=unit)
            )
    return Ensemble(members=tuple(members))
