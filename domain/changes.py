"""When a machine begins to move, and when it has settled: another question than whether it is ill.

A fault that stays is an alarm for as long as it lasts, but it is a change only twice: when the
machine leaves where it was, and when it stands still again; so is a repair. What moves is seen in
the means of the newest parts of the window less the mean of all of it: of a machine that stands
still anywhere they are about 0. How large they are in health is learnt as the verdict's features
are: one distance per length of window, doubt about sensors that wander, a threshold from
out-of-fold scores. Nothing here needs a label, nor a constant that the verdict has not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from domain.detectors.contract import shares_of
from domain.detectors.ensemble import Ensemble, fit_scales
from domain.features.kinds import LEVEL, PARTS
from domain.features.robust import deviation, without_void
from domain.features.trust import doubted
from domain.hysteresis import STAY
from domain.package import take_prefix, with_prefix
from domain.readings import Flags, Matrix, Vector
from domain.thresholds import out_of_fold, threshold_of, trimmed


class ChangeSpec(Protocol):
    """The hyperparameters that are read; `PipelineSpec` has them."""

    @property
    def variance(self) -> float:
        """Share of variance kept by PCA."""
        ...

    @property
    def trim(self) -> float:
        """Share of training rows that is left out as contamination."""
        ...

    @property
    def quantile(self) -> float:
        """Of out-of-fold scores."""
        ...

    @property
    def margin(self) -> float:
        """Factor on that quantile."""
        ...

    @property
    def blocks(self) -> int:
        """Contiguous blocks of the out-of-fold scores."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lengths:
    """What `fit_scales` asks for; no other hyperparameter plays a part in it."""

    scales: int
    variance: float
    clusters: int = 1
    neighbours: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeModel:
    """How much healthy machines of a class move. P parts of the window, S sensors.

    Attributes:
        kinds: Shape (K,), of the features that it is given.
        centre: Shape (P * S,), usual difference of each part and sensor.
        spread: Shape (P * S,), its deviation; > 0.
        freedom: Shape (P * S,), degrees of freedom that this is known with, see `features.trust`.
        detector: The distance from standing still.
        threshold: The distance at which a machine moves.
    """

    kinds: npt.NDArray[np.int64]
    centre: Vector
    spread: Vector
    freedom: Vector
    detector: Ensemble
    threshold: float

    @classmethod
    def fit(
        cls,
        spec: ChangeSpec,
        machines: Sequence[Matrix],
        *,
        kinds: npt.NDArray[np.int64],
        freedom: Vector,
    ) -> Self | None:
        """Learn from the features of healthy machines; None where their kinds tell no change.

        Args:
            spec: The hyperparameters.
            machines: Per machine its features as measured, shape (n, K * S); NaN is unknown.
            kinds: Shape (K,).
            freedom: Shape (S,).
        """
        parts = len(_parts(kinds))
        if not parts:
            return None
        moved = [contrasts(one, kinds) for one in machines]
        pooled = without_void(np.concatenate(moved))
        centre, spread = np.nanmedian(pooled, axis=0), deviation(pooled)
        spread = np.where(spread > 1e-9, spread, 1.0)
        known = np.tile(freedom, parts)
        rows = [_standardised(one, centre, spread, known) for one in moved]
        lengths = _Lengths(scales=parts, variance=spec.variance)

        def fit(features: Matrix) -> Ensemble:
            return trimmed(
                features, lambda some: fit_scales(some, lengths, seed=0), share=spec.trim
            )

        scores = np.concatenate(out_of_fold(rows, fit, blocks=spec.blocks))
        return cls(
            kinds=kinds,
            centre=centre,
            spread=spread,
            freedom=known,
            detector=fit(np.concatenate(rows)),
            threshold=threshold_of(scores, quantile=spec.quantile, margin=spec.margin),
        )

    def score(self, measured: Matrix) -> Vector:
        """Return how much the machine moves, shape (n,), >= 0; > 1 is more than health does.

        It is apart from the verdict and costs about a ninth of it: who does not ask does not pay.

        Args:
            measured: `Scores.measured`, shape (n, K * S); a sensor of which something is unknown
                (NaN) stands still.
        """
        moved = contrasts(measured, self.kinds)
        rows = _standardised(moved, self.centre, self.spread, self.freedom)
        scores: Vector = self.detector.score(rows) / self.threshold
        return scores

    def shares(self, measured: Matrix) -> Matrix:
        """Return each sensor's share in how much the machine moves, shape (n, S); rows sum to 1.

        Args:
            measured: As for `score`.
        """
        moved = contrasts(measured, self.kinds)
        rows = _standardised(moved, self.centre, self.spread, self.freedom)
        return shares_of(self.detector.attribute(rows), moved.shape[1] // len(_parts(self.kinds)))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all arrays."""
        return {
            "kinds": self.kinds.copy(),
            "centre": self.centre.copy(),
            "spread": self.spread.copy(),
            "freedom": self.freedom.copy(),
            "threshold": np.array(self.threshold),
            **with_prefix(self.detector.to_arrays(), "detector"),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self | None:
        """Restore what `to_arrays` gave; None where it gave nothing."""
        if not arrays:
            return None
        return cls(
            kinds=arrays["kinds"],
            centre=arrays["centre"],
            spread=arrays["spread"],
            freedom=arrays["freedom"],
            detector=Ensemble.from_arrays(take_prefix(arrays, "detector")),
            threshold=float(arrays["threshold"]),
        )


def contrasts(measured: Matrix, kinds: npt.NDArray[np.int64]) -> Matrix:
    """Return how far the newest parts of each window are from all of it, shape (n, P * S).

    Args:
        measured: Shape (n, K * S).
        kinds: Shape (K,), LEVEL among them.
    """
    each = measured.reshape(len(measured), len(kinds), -1)
    whole = each[:, [int(np.flatnonzero(kinds == LEVEL)[0])]]
    out: Matrix = (each[:, _parts(kinds)] - whole).reshape(len(measured), -1)
    return out


def turns(scores: Vector, *, moving: bool = False) -> tuple[Flags, bool]:
    """Return the readings at which a machine begins to move or has settled.

    Args:
        scores: Shape (n,), as `ChangeModel.score` gives them.
        moving: Whether it moved at the reading before; what the call before returned.

    Returns:
        Shape (n,), and whether it moves at the last reading.
    """
    if not len(scores):
        return np.zeros(0, dtype=np.bool_), moving
    # What is neither clearly moving nor clearly still goes on as before.
    sure = (scores > 1) | (scores < STAY)
    last = np.maximum.accumulate(np.where(sure, np.arange(len(scores)), -1))
    moves = np.where(last < 0, moving, scores[last] > 1)
    return np.diff(moves, prepend=moving), bool(moves[-1])


def _parts(kinds: npt.NDArray[np.int64]) -> list[int]:
    """Return the places of the kinds that are means of a part of a window that is there too."""
    if LEVEL not in kinds:
        return []
    return [at for at, kind in enumerate(kinds.tolist()) if PARTS.get(kind, 1) > 1]


def _standardised(moved: Matrix, centre: Vector, spread: Vector, freedom: Vector) -> Matrix:
    return doubted(np.nan_to_num((moved - centre) / spread), freedom)
