"""Failure modes: what machines look like when they fail, by name, and which one this looks like.

The signature of a failure is the direction in which the machine departs from healthy ones when it
fails (`domain.signatures`). Failures that people named alike are one mode; the others are clustered
by the angle between their signatures and named after the sensors that show them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from sklearn.cluster import AgglomerativeClustering

from domain.readings import Matrix
from domain.risk.outlook import NearestMode, TypicalSensor
from domain.signatures import MEMORIES, Departure, Health, Stack

UNNAMED: Final = frozenset({"", "unknown", "failure", "other", "true"})
"""Kinds that name no mode."""

_APART = 0.5
"""Cosine distance at which two unnamed failures are different modes."""

_BOUNDS = (0.35, 0.6)
"""How far from a mode its failures may lie; between them the spread of the mode itself."""

_TYPICAL = 0.35
"""Sensors with at least so much of the largest part are typical of a mode."""

_MOST_WEIGHT = 3.0
"""A clear failure counts for more in its mode than a faint one, up to so many times."""


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
        centres: Shape (modes, memories, S), signatures of length one.
        health: What they depart from.
    """

    modes: tuple[FailureMode, ...]
    centres: npt.NDArray[np.float64]
    health: Health

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
        health = Health.fit(healthy)
        gone = [(one, health.departure(one.values)) for one in samples]
        shown = [(one, way) for one, way in gone if way.strength > health.shown]
        found = []
        for name, picked in _grouped([(one.kind, way) for one, way in shown]).items():
            lead_s = float(np.median([shown[at][0].lead_s for at in picked]))
            found.append(_mode(name, [shown[at][1] for at in picked], lead_s, sensors))
        found.sort(key=lambda pair: (-pair[0].count, pair[0].name))
        shape = (len(found), len(MEMORIES), len(sensors))
        return cls(
            modes=tuple(mode for mode, _ in found),
            centres=np.array([centre for _, centre in found]).reshape(shape),
            health=health,
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
        way = self.health.departure(values)
        if not way.strength > 1:
            return NearestMode(mode="unknown", reason="it does not depart from healthy machines")
        distance = 1 - self.centres[:, way.memory] @ way.directions[way.memory]
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
            sensors=list(best.sensors),
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain records of the modes."""
        return [asdict(mode) for mode in self.modes]

    def to_arrays(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return plain arrays."""
        return {"centres": self.centres, **self.health.to_arrays()}

    @classmethod
    def restore(
        cls, records: Sequence[Mapping[str, Any]], arrays: Mapping[str, npt.NDArray[np.float64]]
    ) -> Self:
        """Undo `to_json` and `to_arrays`.

        What was learnt with signatures of another kind has no modes until risk is learnt anew.
        """
        if "shown" not in arrays:
            sensors = arrays["whitening"].shape[-1]
            health = Health.unknown(sensors)
            return cls(modes=(), centres=np.empty((0, len(MEMORIES), sensors)), health=health)
        modes = tuple(
            FailureMode(
                **{**one, "sensors": tuple(TypicalSensor(**each) for each in one["sensors"])}
            )
            for one in records
        )
        return cls(modes=modes, centres=arrays["centres"], health=Health.from_arrays(arrays))


def _grouped(found: Sequence[tuple[str, Departure]]) -> dict[str, list[int]]:
    """Return mode name → places; names that begin with a NUL are to be made from sensors."""
    groups: dict[str, list[int]] = {}
    unnamed = [at for at, (kind, _) in enumerate(found) if kind.lower() in UNNAMED]
    for at, (kind, _) in enumerate(found):
        if kind.lower() not in UNNAMED:
            groups.setdefault(kind, []).append(at)
    if len(unnamed) == 1:
        groups["\0"] = unnamed
    elif unnamed:
        # Every memory counts alike, the clearer ones for more: their ways are longer.
        ways = np.array([found[at][1].ways.ravel() for at in unnamed])
        labels = AgglomerativeClustering(
            n_clusters=None, distance_threshold=_APART, metric="cosine", linkage="average"
        ).fit_predict(ways)
        for at, label in zip(unnamed, labels.tolist(), strict=True):
            groups.setdefault(f"\0{label}", []).append(at)
    return groups


def _mode(
    name: str, failures: Sequence[Departure], lead_time_s: float, sensors: Sequence[str]
) -> tuple[FailureMode, Stack]:
    """Return a mode and its signature, shape (memories, S)."""
    weight = np.array([np.minimum(one.strengths, _MOST_WEIGHT) for one in failures])
    centre = (np.array([one.directions for one in failures]) * weight[:, :, None]).sum(axis=0)
    length = np.linalg.norm(centre, axis=1, keepdims=True)
    centre /= np.where(length > 0, length, 1.0)
    apart = [1 - centre[one.memory] @ one.directions[one.memory] for one in failures]
    mean = np.mean([one.ways[one.memory] for one in failures], axis=0)
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
        count=len(failures),
        sensors=typical,
        lead_time_s=lead_time_s,
        bound=float(np.clip(1.5 * np.quantile(apart, 0.95), *_BOUNDS)),
    ), centre
