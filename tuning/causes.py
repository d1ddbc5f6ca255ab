"""Why live readings are not what a model learnt: a sensor's fault, another regime, wear, or drift.

What moves most of a fleet alike is its surroundings or its work: at once it is another regime,
slowly it is drift, and both are to be learnt. What moves one machine is that machine: one sensor
alone is a fault of it, several are wear (or a failure that nobody named yet), and neither may ever
become health. Pure; `tuning.retraining` decides what follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix
from tuning.drift import Reference

LEAST_STEPS = 24
"""Of a machine; fewer cannot tell a step from a slope."""

_MOVED = 1.5
"""A sensor has moved when its newest level is so many training deviations from where it was, and
most machines agree: one alone wanders as far in health."""

_MOVED_ALONE = 3.5
"""The same for a machine that moves alone; healthy ones of simulated fleets wander up to 3."""

_LATE = 4
"""The newest level is the median of this part of the period: a quarter."""

_BROAD = 0.5
"""So many of the machines make it a matter of the fleet."""

_QUANTILES = (1, 7)
"""Places of the 20 % and 80 % quantiles among the reference's edges: 1.683 deviations apart."""


class Cause(StrEnum):
    """Why live readings differ from training."""

    NONE = "none"
    SENSOR_FAULT = "sensor fault"
    REGIME_CHANGE = "regime change"
    WEAR = "wear"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recent:
    """A machine's latest hours.

    Attributes:
        machine: Its name.
        values: Shape (steps, S), evenly spaced, newest last; NaN is missing.
        faulty: Shape (S,), sensors that the sensor watch does not trust now.
    """

    machine: str
    values: Matrix
    faulty: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The cause and, in words, what it shows in."""

    cause: Cause
    reason: str = ""


def diagnose(
    reference: Reference, fleet: Sequence[Recent], sensors: Sequence[str]
) -> Diagnosis | None:
    """Say why a fleet's readings differ from what its model learnt.

    Args:
        reference: Training's distribution of each sensor.
        fleet: Machines of one class; those of fewer than `LEAST_STEPS` say nothing.
        sensors: Names of the columns.

    Returns:
        None when there is too little to tell.
    """
    told = [one for one in fleet if len(one.values) >= LEAST_STEPS]
    if not told:
        return None
    low, high = (reference.edges[:, at] for at in _QUANTILES)
    scale = np.where(high > low, (high - low) / 1.683, np.nan)
    levels = [(one.values - reference.edges[:, 4]) / scale for one in told]
    late = np.array([_median(level[-(len(level) // _LATE) :]) for level in levels])
    faulty = np.array([one.faulty for one in told])
    moved = (np.abs(np.nan_to_num(late)) > _MOVED) & ~faulty
    names = [one.machine for one in told]
    if len(told) > 1 and (common := _common(late, moved)).any():
        return _of_fleet(levels, common, np.array(sensors))
    alone = (np.abs(np.nan_to_num(late)) > _MOVED_ALONE) & ~faulty
    if alone.any():
        return _of_machines(alone, names, np.array(sensors))
    if faulty.any():
        return Diagnosis(cause=Cause.SENSOR_FAULT, reason=_words(faulty, names, sensors))
    return Diagnosis(cause=Cause.NONE)


def _common(late: Matrix, moved: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the sensors that moved in most machines, all to the same side."""
    up, down = (moved & (late > 0)).mean(axis=0), (moved & (late < 0)).mean(axis=0)
    common: npt.NDArray[np.bool_] = np.maximum(up, down) > _BROAD
    return common


def _of_fleet(
    levels: Sequence[Matrix], common: npt.NDArray[np.bool_], sensors: npt.NDArray[np.str_]
) -> Diagnosis:
    columns = np.flatnonzero(common)
    slow = [_is_slope(level[:, at]) for level in levels for at in columns]
    cause = Cause.DRIFT if np.mean(slow) > 0.5 else Cause.REGIME_CHANGE
    way = "slowly" if cause is Cause.DRIFT else "at once"
    return Diagnosis(
        cause=cause, reason=f"{', '.join(sensors[columns][:4])} moved {way} in most machines"
    )


def _of_machines(
    moved: npt.NDArray[np.bool_], names: Sequence[str], sensors: npt.NDArray[np.str_]
) -> Diagnosis:
    wide = moved.sum(axis=1) > 1
    shown = np.where(wide[:, None], moved, False) if wide.any() else moved
    cause = Cause.WEAR if wide.any() else Cause.SENSOR_FAULT
    return Diagnosis(cause=cause, reason=_words(shown, names, sensors))


def _words(
    shown: npt.NDArray[np.bool_],
    names: Sequence[str],
    sensors: Sequence[str] | npt.NDArray[np.str_],
) -> str:
    told = [
        f"{name}: {', '.join(str(sensors[at]) for at in np.flatnonzero(row)[:4])}"
        for name, row in zip(names, shown, strict=True)
        if row.any()
    ]
    return "; ".join(told[:4])


def _is_slope(level: npt.NDArray[np.float64]) -> bool:
    """Say whether a line tells a course better than one step does.

    A course that has stood where it is from the beginning is a step before the beginning.
    """
    known = level[np.isfinite(level)]
    blocks = np.array([part.mean() for part in np.array_split(known, 12) if len(part)])
    at = np.arange(len(blocks)) - (len(blocks) - 1) / 2
    slope = float(at @ blocks / (at @ at))
    line = float(((blocks - blocks.mean() - slope * at) ** 2).sum())
    steps = [
        float(((blocks[:cut] - blocks[:cut].mean()) ** 2).sum())
        + float(((blocks[cut:] - blocks[cut:].mean()) ** 2).sum())
        for cut in range(1, len(blocks))
    ]
    rise = abs(slope) * (len(blocks) - 1)
    return line < min(steps) and rise > _MOVED / 2


def _median(values: Matrix) -> npt.NDArray[np.float64]:
    """Return the median of each column; the mean would follow the share of idle minutes."""
    columns = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(one) if len(one) else np.nan for one in columns])
