"""How far live readings have moved from those a model learnt: the population stability index.

PSI = Σ (live − learnt) · ln(live / learnt) over bins that each held a tenth of the learnt values
(Siddiqi, Credit Risk Scorecards, 2006). Below 0.1 is steady, above 0.25 has moved; sensors that
follow a machine's regimes wander by more than that within an hour, so the limit of the retraining
policy is higher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix

_BINS = 10
_LEAST_SHARE = 1e-3
"""An empty bin counts as this share, or one empty bin alone would make the index infinite."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The distribution of each sensor in training.

    Attributes:
        edges: Shape (sensors, bins - 1), increasing, in the sensor's unit; inner edges.
        shares: Shape (sensors, bins), each row sums to 1; a sensor never seen has NaN.
    """

    edges: Matrix
    shares: Matrix

    @classmethod
    def of(cls, values: Matrix) -> Self:
        """Learn the reference.

        Args:
            values: Shape (n, sensors), n >= 1; NaN is missing.
        """
        inner = np.linspace(0, 1, _BINS + 1)[1:-1]
        edges = np.full((values.shape[1], _BINS - 1), np.nan)
        for sensor, column in enumerate(values.T):
            seen = column[~np.isnan(column)]
            if seen.size:
                edges[sensor] = np.quantile(seen, inner)
        return cls(edges=edges, shares=_shares(edges, values))

    def to_json(self) -> dict[str, list[list[float]]]:
        """Return plain lists; a sensor never seen is an empty list."""
        return {
            name: [row.tolist() if np.isfinite(row).all() else [] for row in table]
            for name, table in (("edges", self.edges), ("shares", self.shares))
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Undo `to_json`."""
        edges = [row or [np.nan] * (_BINS - 1) for row in record["edges"]]
        shares = [row or [np.nan] * _BINS for row in record["shares"]]
        return cls(edges=np.array(edges, dtype=float), shares=np.array(shares, dtype=float))


def stability_index(reference: Reference, values: Matrix) -> npt.NDArray[np.float64]:
    """Compare live values with the reference.

    Args:
        reference: What was learnt.
        values: Shape (n, sensors) of the same sensors; NaN is missing.

    Returns:
        Shape (sensors,), >= 0; NaN for a sensor without values on one of both sides.

    Raises:
        ValueError: The number of sensors differs.
    """
    if values.shape[1] != len(reference.edges):
        raise ValueError(f"{values.shape[1]} sensors, the reference has {len(reference.edges)}")
    live = np.maximum(_shares(reference.edges, values), _LEAST_SHARE)
    learnt = np.maximum(reference.shares, _LEAST_SHARE)
    index: npt.NDArray[np.float64] = ((live - learnt) * np.log(live / learnt)).sum(axis=1)
    return index


def overall(index: Sequence[float] | npt.NDArray[np.float64]) -> float | None:
    """Return the median sensor's index: one broken sensor is no drift; None if none is known."""
    known = np.asarray(index, dtype=float)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else None


def _shares(edges: Matrix, values: Matrix) -> Matrix:
    shares = np.full((len(edges), _BINS), np.nan)
    for sensor, column in enumerate(values.T):
        seen = column[~np.isnan(column)]
        if seen.size and np.isfinite(edges[sensor]).all():
            places = np.searchsorted(edges[sensor], seen, side="left")
            shares[sensor] = np.bincount(places, minlength=_BINS) / seen.size
    return shares
