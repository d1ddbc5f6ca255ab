"""What every detector is: a distance from health, and who is to blame for it."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix, Vector

type Labels = npt.NDArray[np.int64]
type Arrays = Mapping[str, npt.NDArray[np.float64]]


class Detector(Protocol):
    """A detector that was fitted; pure, so that threads may share it."""

    def score(self, features: Matrix) -> Vector:
        """Return the distance from health, shape (n,): finite, >= 0, larger is less healthy."""
        ...

    def attribute(self, features: Matrix) -> Matrix:
        """Return each feature's part of the squared distance, shape (n, F): >= 0."""
        ...

    def assign(self, features: Matrix) -> Labels:
        """Return the centre that each row belongs to, shape (n,)."""
        ...

    def to_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return all that `from_arrays` of its kind needs; copies."""
        ...


def shares_of(parts: Matrix, sensors: int) -> Matrix:
    """Return each sensor's share in a distance, shape (n, S): rows sum to 1.

    Args:
        parts: Shape (n, K * S), what `Detector.attribute` gives of K features of S sensors; a row
            of which nothing is to blame is shared evenly.
        sensors: S.
    """
    by_sensor = parts.reshape(len(parts), parts.shape[1] // sensors, sensors).sum(axis=1)
    total = by_sensor.sum(axis=1, keepdims=True)
    even = np.full_like(by_sensor, 1 / sensors)
    share: Matrix = np.divide(by_sensor, total, out=even, where=total > 0)
    return share


class DetectorSpec(Protocol):
    """The hyperparameters that detectors read; `PipelineSpec` has them."""

    @property
    def clusters(self) -> int:
        """Centres or mixture components."""
        ...

    @property
    def variance(self) -> float:
        """Share of variance kept by PCA."""
        ...

    @property
    def neighbours(self) -> int:
        """Nearest healthy rows that a density is taken from."""
        ...

    @property
    def scales(self) -> int:
        """Lengths of window, whose features stand one after the other; >= 1."""
        ...


class FitFunction(Protocol):
    """Fits a detector to healthy features."""

    def __call__(self, features: Matrix, spec: DetectorSpec, *, seed: int) -> Detector:
        """Return the fitted detector; `features` has shape (n, F), n >= 2, finite."""
        ...
