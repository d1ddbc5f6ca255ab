"""Does a sensor suddenly speak in another unit? Bar becomes psi, °C becomes °F, g becomes m/s².

A gateway that was mended or replaced often sends the same quantity in another unit. The level then
jumps from one reading to the next to exactly what a conversion of units makes of it, which no
machine does; a machine that drifts there, or a sensor too noisy to tell, is left to the model.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from domain.jit import Words, njit
from domain.machines import MachineClass
from domain.readings import Matrix

type Counts = npt.NDArray[np.int64]

CONFIRM_ROWS: Final = 3
"""After so many readings in a row where a conversion puts them it is sure. The first is left out of
a score already: one reading in another unit would spoil the window for as long as it is in it."""

_ANY: Final = ((1e3, 0.0), (1e-3, 0.0))
"""A lost or added prefix, milli or kilo, happens to every unit."""

CONVERSIONS: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "Cel": ((1.8, 32.0), (1.0, 273.15)),
    "[degF]": ((5 / 9, -160 / 9),),
    "K": ((1.0, -273.15),),
    "bar": ((14.5038, 0.0), (100.0, 0.0), (0.1, 0.0)),
    "kPa": ((0.01, 0.0), (0.145038, 0.0)),
    "Pa": ((0.01, 0.0), (0.00401865, 0.0)),
    "g": ((9.80665, 0.0),),
    "m/s2": ((1 / 9.80665, 0.0),),
    "mm/s": ((1 / 25.4, 0.0),),
    "um": ((1 / 25.4, 0.0),),
    "l/min": ((0.264172, 0.0), (0.06, 0.0), (1 / 60, 0.0)),
    "m3/h": ((1000 / 60, 0.0), (1 / 3600, 0.0)),
    "/min": ((1 / 60, 0.0),),
    "Hz": ((60.0, 0.0),),
    "%": ((0.01, 0.0),),
}
"""UCUM code → factor and offset to the units that people use instead. Factors near 1, such as that
of kW and horsepower, are not here: a machine at another load looks the same."""

_LEARN_ROWS = 30
"""A level of fewer readings is no level yet."""
_MEMORY_ROWS = 64
"""Readings after which a level is mostly forgotten."""
_CLEAR = 10.0
"""Both levels are apart by so many times their noise, or a jump could be noise."""
_NOISE = 5.0
"""Readings are within so many times the mean distance from their level."""
_RELATIVE = 0.02
"""...or within this share of it: a converter rounds, and is not calibrated to better."""
_TOO_NOISY = 0.25
"""A sensor whose noise is a larger share of its level than this cannot be told apart."""


class JumpMemory(NamedTuple):
    """One machine's levels. S sensors."""

    level: Matrix  # (S,) exponential mean of the readings in the usual unit
    noise: Matrix  # (S,) exponential mean of their distance from it
    last: Matrix  # (S,) the reading before
    known: Counts  # (S,) readings that both stand for, up to the learning time
    which: Counts  # (S,) conversion that the last reading fits, counted from 1; 0 for none
    fits: Counts  # (S,) readings in a row that fit it


JUMP_WORDS: Final = 6
"""Words of a block that a sensor's levels take."""


def conversions_of(machine_class: MachineClass) -> Matrix:
    """Return factor and offset of what may be confused, shape (S, C, 2); NaN fills."""
    found = [(*CONVERSIONS.get(one.unit, ()), *_ANY) for one in machine_class.sensors]
    table = np.full((len(found), max(map(len, found)), 2), np.nan)
    for at, pairs in enumerate(found):
        table[at, : len(pairs)] = pairs
    return table


@njit
def jumps_over(block: Words, sensors: int) -> JumpMemory:
    """Return the memory that a block of `JUMP_WORDS` per sensor holds; zeros know nothing."""
    whole = block.view(np.int64)
    return JumpMemory(
        block[:sensors],
        block[sensors : 2 * sensors],
        block[2 * sensors : 3 * sensors],
        whole[3 * sensors : 4 * sensors],
        whole[4 * sensors : 5 * sensors],
        whole[5 * sensors : 6 * sensors],
    )


@njit
def jumped(
    values: Matrix,
    memory: JumpMemory,
    conversions: Matrix,
    usual: Matrix,
    flags: npt.NDArray[np.bool_],
) -> None:
    """Mark values of one row that are in another unit, shape (S,).

    Args:
        values: Shape (S,); NaN is missing and changes nothing.
        memory: Of the machine; changed in place.
        conversions: As `conversions_of` gives them.
        usual: Shape (2, S), smallest and largest healthy value; within there is no jump. NaN where
            that is not known.
        flags: Filled.
    """
    for sensor in range(len(values)):
        value = values[sensor]
        if np.isnan(value):
            flags[sensor] = False
            continue
        _follow(value, sensor, memory, conversions[sensor])
        if usual[0, sensor] <= value <= usual[1, sensor]:
            memory.which[sensor], memory.fits[sensor] = 0, 0
        memory.last[sensor] = value
        flags[sensor] = memory.fits[sensor] > 0


@njit
def _follow(value: float, sensor: int, memory: JumpMemory, pairs: Matrix) -> None:
    """Take one value of one sensor in."""
    level, which = memory.level[sensor], memory.which[sensor] - 1
    if which >= 0:
        target = pairs[which, 0] * level + pairs[which, 1]
        confirmed = memory.fits[sensor] >= CONFIRM_ROWS
        # Once it is sure, the nearer of both levels decides: another regime moves both.
        stays = abs(value - target) < abs(value - level)
        if stays if confirmed else _fits(value, level, memory.noise[sensor], pairs[which]):
            memory.fits[sensor] += 1
            return
        memory.which[sensor], memory.fits[sensor] = 0, 0
    if memory.known[sensor] >= _LEARN_ROWS and _is_usual(sensor, memory):
        for at in range(pairs.shape[0]):
            if _fits(value, level, memory.noise[sensor], pairs[at]):
                memory.which[sensor], memory.fits[sensor] = at + 1, 1
                return
    _learn(value, sensor, memory)


@njit
def _learn(value: float, sensor: int, memory: JumpMemory) -> None:
    """Move the level towards a value; one that lies far off moves it no more than a near one."""
    step = value - memory.level[sensor]
    rows = _MEMORY_ROWS
    if memory.known[sensor] < _LEARN_ROWS:
        memory.known[sensor] += 1
        rows = memory.known[sensor]
    else:
        near = _near(sensor, memory)
        step = min(max(step, -near), near)
    memory.level[sensor] += step / rows
    memory.noise[sensor] += (abs(step) - memory.noise[sensor]) / rows


@njit
def _is_usual(sensor: int, memory: JumpMemory) -> bool:
    """Return whether the reading before was at the usual level: else it is no jump."""
    return bool(abs(memory.last[sensor] - memory.level[sensor]) <= _near(sensor, memory))


@njit
def _near(sensor: int, memory: JumpMemory) -> float:
    """Return how far from its level a usual reading may be."""
    return float(max(_NOISE * memory.noise[sensor], _RELATIVE * abs(memory.level[sensor])))


@njit
def _fits(value: float, level: float, noise: float, pair: Matrix) -> bool:
    """Return whether a value is where a conversion puts the level, and that is a place apart."""
    if np.isnan(pair[0]) or value == 0:
        return False
    target = pair[0] * level + pair[1]
    spread = _NOISE * noise * abs(pair[0])
    if spread > _TOO_NOISY * abs(target):
        return False
    if abs(target - level) < _CLEAR * noise * (1 + abs(pair[0])):
        return False
    return bool(abs(value - target) <= max(spread, _RELATIVE * abs(target)))
