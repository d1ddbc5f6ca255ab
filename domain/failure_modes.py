"""Failure modes: what machines look like when they fail, by name, and which one this looks like.

The signature of a failure is the direction of its departure: the newest steps less the machine's
own level before, whitened by how such departures scatter in health, for a change of regime moves
many sensors at once and says nothing. Failures that people named alike are one mode; the others are
clustered by the angle between their signatures and named after the sensors that show them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from sklearn.cluster import AgglomerativeClustering

from domain.readings import Matrix
from domain.risk.outlook import NearestMode
from domain.risk.steps import LEAST_STEPS, LOOK_BACK

UNNAMED: Final = frozenset({"", "unknown", "failure", "other", "true"})
"""Kinds that name no mode."""

_STEPS = 5
"""Steps that a signature is taken from."""

_EVERY = 16
"""Steps between the healthy departures that are learnt from: neighbours say the same."""

_RIDGE = 0.1
"""Share of its variance that a sensor keeps for itself: healthy departures are few."""

_APART = 0.5
"""Cosine distance at which two unnamed failures are different modes."""

_BOUNDS = (0.25, 0.6)
"""How far from a mode its failures may lie; between them the spread of the mode itself."""

_CLEAR = 0.95
"""A departure longer than this share of healthy ones has a direction worth telling."""

_TYPICAL = 0.35
"""Sensors with at least so much of the largest part are typical of a mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalSensor:
    """A sensor that shows a mode.

    Attributes:
        sensor: Its name.
        direction: up or down.
        departure: Mean departure at the failure, in healthy standard deviations.
    """

    sensor: str
    direction: str
    departure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureMode:
    """One way to fail.

    Attributes:
        name: From the labels, or from its sensors.
        named_by: `labels` or `sensors`.
        count: Failures it was learnt from.
        sensors: Those that show it, largest departure first.
        lead_time_s: Median time from the first departure to the failure.
        bound: Distance beyond which a machine is not like it.
    """

    name: str
    named_by: str
    count: int
    sensors: tuple[TypicalSensor, ...]
    lead_time_s: float
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A machine's steps up to a failure, newest last.

    Attributes:
        kind: As labelled.
        values: Shape (steps, S).
        lead_s: Seconds from the first sign to the failure; 0 when there was none.
    """

    kind: str
    values: Matrix
    lead_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Modes:
    """The failure modes of a machine class.

    Attributes:
        modes: By count, largest first.
        centres: Shape (modes, S), signatures of length one.
        whitening: Shape (S, S), brings healthy departures to unit covariance.
        clear: Length of a whitened departure from which on it has a direction.
    """

    modes: tuple[FailureMode, ...]
    centres: Matrix
    whitening: Matrix
    clear: float

    @classmethod
    def fit(
        cls, samples: Sequence[Sample], healthy: Sequence[Matrix], sensors: Sequence[str]
    ) -> Self:
        """Learn from failures; one that shows in no sensor belongs to no mode.

        Args:
            samples: Machines up to their failures.
            healthy: Healthy steps of machines, each of shape (steps, S).
            sensors: Names of the columns.
        """
        calm = _calm(healthy)
        scale = np.sqrt((calm**2).mean(axis=0))
        scale = np.where(scale > 0, scale, 1.0)
        whitening = _whitening(calm)
        clear = float(np.quantile(np.linalg.norm(calm @ whitening, axis=1), _CLEAR))
        shown = [(one, departure(one.values)) for one in samples]
        shown = [(one, way) for one, way in shown if np.linalg.norm(way @ whitening) > clear]
        found = []
        for name, picked in _grouped([(one.kind, way @ whitening) for one, way in shown]).items():
            ways = np.array([shown[at][1] for at in picked])
            lead_s = float(np.median([shown[at][0].lead_s for at in picked]))
            found.append(_mode(name, ways @ whitening, ways / scale, lead_s, sensors))
        found.sort(key=lambda pair: (-pair[0].count, pair[0].name))
        return cls(
            modes=tuple(mode for mode, _ in found),
            centres=np.array([centre for _, centre in found]).reshape(len(found), len(sensors)),
            whitening=whitening,
            clear=clear,
        )

    def nearest(self, values: Matrix) -> NearestMode | None:
        """Return the mode that a machine's newest steps are most like.

        Args:
            values: Shape (steps, S), newest last.

        Returns:
            None while no mode is known.
        """
        if not self.modes:
            return None
        way = departure(values) @ self.whitening
        if not np.linalg.norm(way) > self.clear:
            return NearestMode(mode="unknown", reason="it does not depart from its own level")
        distance = 1 - self.centres @ (way / np.linalg.norm(way))
        order = np.argsort(distance, kind="stable")
        best, near = self.modes[int(order[0])], float(distance[order[0]])
        if near > best.bound:
            return NearestMode(
                mode="unknown",
                distance=round(near, 6),
                reason=f"the nearest is {best.name}, farther than its bound of {best.bound:.2f}",
            )
        next_ = float(distance[order[1]]) if len(order) > 1 else 1.0
        return NearestMode(
            mode=best.name,
            distance=round(near, 6),
            confidence=round(max(0.0, 1 - near / max(next_, 1e-9)), 6),
            lead_time_s=best.lead_time_s,
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain records of the modes."""
        return [asdict(mode) for mode in self.modes]

    def to_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return plain arrays."""
        return {
            "centres": self.centres,
            "whitening": self.whitening,
            "clear": np.array([self.clear]),
        }

    @classmethod
    def restore(
        cls, records: Sequence[Mapping[str, Any]], arrays: Mapping[str, npt.NDArray[np.float64]]
    ) -> Self:
        """Undo `to_json` and `to_arrays`."""
        modes = tuple(
            FailureMode(
                **{**one, "sensors": tuple(TypicalSensor(**each) for each in one["sensors"])}
            )
            for one in records
        )
        return cls(
            modes=modes,
            centres=arrays["centres"],
            whitening=arrays["whitening"],
            clear=float(arrays["clear"][0]),
        )


def departure(values: Matrix) -> npt.NDArray[np.float64]:
    """Return how far the newest steps are from the machine's level before, in the sensors' units.

    Args:
        values: Shape (steps, S), steps >= 1; the older half is the level before.
    """
    newest = values[-_STEPS:]
    before = values[: max(1, min(len(values) // 2, len(values) - _STEPS))]
    level = np.array([_median(column) for column in before.T])
    now = np.array([_median(column) for column in newest.T])
    found: npt.NDArray[np.float64] = np.nan_to_num(now - level)
    return found


def _calm(healthy: Sequence[Matrix]) -> Matrix:
    """Return departures of healthy machines, shape (n, S), n >= 1."""
    return np.array(
        [
            departure(one[max(0, end - LOOK_BACK) : end])
            for one in healthy
            for end in range(min(len(one), LEAST_STEPS), len(one) + 1, _EVERY)
        ]
    )


def _whitening(calm: Matrix) -> Matrix:
    variance = (calm**2).mean(axis=0)
    variance = np.where(variance > 0, variance, 1.0)
    scale = np.sqrt(variance)
    spread = (calm / scale).T @ (calm / scale) / len(calm)
    values, vectors = np.linalg.eigh((1 - _RIDGE) * spread + _RIDGE * np.eye(len(scale)))
    root = vectors @ np.diag(1 / np.sqrt(np.maximum(values, 1e-9))) @ vectors.T
    whitening: Matrix = root / scale[:, None]
    return whitening


def _median(column: npt.NDArray[np.float64]) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if len(known) else np.nan


def _grouped(found: Sequence[tuple[str, npt.NDArray[np.float64]]]) -> dict[str, list[int]]:
    """Return mode name → places; names that begin with a NUL are to be made from sensors."""
    groups: dict[str, list[int]] = {}
    unnamed = [at for at, (kind, _) in enumerate(found) if kind.lower() in UNNAMED]
    for at, (kind, _) in enumerate(found):
        if kind.lower() not in UNNAMED:
            groups.setdefault(kind, []).append(at)
    if len(unnamed) == 1:
        groups["\0"] = unnamed
    elif unnamed:
        ways = np.array([found[at][1] for at in unnamed])
        labels = AgglomerativeClustering(
            n_clusters=None, distance_threshold=_APART, metric="cosine", linkage="average"
        ).fit_predict(ways)
        for at, label in zip(unnamed, labels.tolist(), strict=True):
            groups.setdefault(f"\0{label}", []).append(at)
    return groups


def _mode(
    name: str, ways: Matrix, departures: Matrix, lead_time_s: float, sensors: Sequence[str]
) -> tuple[FailureMode, npt.NDArray[np.float64]]:
    """Return a mode and its signature, from whitened and plain departures of its failures."""
    unit = ways / np.linalg.norm(ways, axis=1, keepdims=True)
    centre = unit.mean(axis=0)
    centre /= np.linalg.norm(centre) or 1.0
    spread = float(np.quantile(1 - unit @ centre, 0.95))
    mean = departures.mean(axis=0)
    order = [at for at in np.argsort(-np.abs(mean)) if abs(mean[at]) >= _TYPICAL * abs(mean).max()]
    typical = tuple(
        TypicalSensor(
            sensor=sensors[at],
            direction="up" if mean[at] > 0 else "down",
            departure=round(float(mean[at]), 3),
        )
        for at in order
    )
    told = ", ".join(f"{one.sensor} {one.direction}" for one in typical[:3])
    return FailureMode(
        name=told if name.startswith("\0") else name,
        named_by="sensors" if name.startswith("\0") else "labels",
        count=len(ways),
        sensors=typical,
        lead_time_s=lead_time_s,
        bound=float(np.clip(1.5 * spread, *_BOUNDS)),
    ), centre
