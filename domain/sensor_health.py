"""Is the sensor ill, rather than the machine? Stuck, silent, out of range or in another unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from domain.jit import njit
from domain.machines import MachineClass
from domain.readings import History, Matrix
from domain.unit_jumps import JumpMemory, conversions_of, jumped, new_jump_memory

type FaultCodes = npt.NDArray[np.uint8]
"""Shape (n, S), values of `SensorFault`."""


class SensorFault(IntEnum):
    """What is wrong with one value of one sensor."""

    NONE = 0
    STUCK = 1
    DROPOUT = 2
    OUT_OF_RANGE = 3
    UNIT_JUMP = 4


PATIENCE: Final = 3.0
"""A run of equal or missing values is a fault when it is that much longer than any healthy one."""

AT_LEAST_ROWS: Final = 10
AT_LEAST_S: Final = 10.0
"""No run shorter than both is a fault, whatever the history says."""

COMMON: Final = 0.2
"""A sensor that healthily repeats itself for this share of its history is never called stuck."""


class RunMemory(NamedTuple):
    """How long one machine's sensors have repeated themselves or stayed away. S sensors."""

    last: Matrix  # (S,) last measured value; NaN before the first
    same: npt.NDArray[np.int64]  # (S,) rows that repeated it
    missing: npt.NDArray[np.int64]  # (S,) rows without a value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchMemory:
    """One machine's past.

    Attributes:
        runs: Of equal and of missing values.
        jumps: Levels, by which another unit is known.
    """

    runs: RunMemory
    jumps: JumpMemory

    def copy(self) -> Self:
        """Return a memory that can be advanced without changing this one."""
        return type(self)(
            runs=RunMemory(*_copies(self.runs)), jumps=JumpMemory(*_copies(self.jumps))
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SensorWatch:
    """Limits of a class of machines, learnt from its history.

    Attributes:
        stuck_rows: Shape (S,); equal values in a row from which on a sensor is stuck.
        missing_rows: Shape (S,); missing values in a row from which on it has dropped out.
        low: Shape (S,); smallest physically possible value.
        high: Shape (S,); largest physically possible value.
        usual: Shape (2, S); smallest and largest value of the history, NaN where not known.
        conversions: Shape (S, C, 2); factor and offset to units that may be confused.
    """

    stuck_rows: Matrix
    missing_rows: Matrix
    low: Matrix
    high: Matrix
    usual: Matrix
    conversions: Matrix

    @classmethod
    def fit(cls, histories: Sequence[History], machine_class: MachineClass) -> Self:
        """Learn how long healthy sensors repeat themselves or stay away.

        The median over machines is taken, so that one stuck sensor in the history of one machine
        does not teach that being stuck is healthy.
        """
        sensors = len(machine_class.sensors)
        least = max(AT_LEAST_ROWS, AT_LEAST_S / machine_class.period_s)
        runs = np.array([longest_runs(one.values) for one in histories if len(one)])
        share = runs / np.array([[[max(len(one), 1)]] for one in histories if len(one)])
        limits = np.maximum(PATIENCE * np.median(runs, axis=0), least)
        limits[np.median(share, axis=0) > COMMON] = np.inf
        return cls(
            stuck_rows=limits[0],
            missing_rows=limits[1],
            low=np.array([machine_class.sensors[at].low for at in range(sensors)]),
            high=np.array([machine_class.sensors[at].high for at in range(sensors)]),
            usual=_usual(histories, sensors),
            conversions=conversions_of(machine_class),
        )

    def to_arrays(self) -> dict[str, Matrix]:
        """Return copies of the limits."""
        return {
            "stuck_rows": self.stuck_rows.copy(),
            "missing_rows": self.missing_rows.copy(),
            "low": self.low.copy(),
            "high": self.high.copy(),
            "usual": self.usual.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Matrix], machine_class: MachineClass) -> Self:
        """Restore what `to_arrays` gave; what the class says by itself is not among it."""
        return cls(
            stuck_rows=arrays["stuck_rows"],
            missing_rows=arrays["missing_rows"],
            low=arrays["low"],
            high=arrays["high"],
            # A package of an earlier release does not say.
            usual=arrays.get("usual", np.full((2, len(arrays["low"])), np.nan)),
            conversions=conversions_of(machine_class),
        )

    def new_memory(self) -> WatchMemory:
        """Return the memory of a machine that was not seen yet."""
        sensors = len(self.low)
        return WatchMemory(runs=_no_runs(sensors), jumps=new_jump_memory(sensors))

    def check(self, memory: WatchMemory, values: Matrix) -> FaultCodes:
        """Judge each value of each sensor and advance the memory.

        Args:
            memory: Of the machine; changed in place.
            values: Shape (n, S), oldest first; NaN is missing.
        """
        dense = np.ascontiguousarray(values, dtype=np.float64)
        runs = np.empty((2, *values.shape), dtype=np.int64)
        other_unit = np.empty(values.shape, dtype=np.bool_)
        run_lengths(dense, memory.runs, runs)
        jumped(dense, memory.jumps, self.conversions, self.usual, other_unit)
        return self._codes(dense, runs, other_unit)

    def check_each(self, memories: Sequence[WatchMemory], values: Matrix) -> FaultCodes:
        """Judge one reading of each of n machines and advance their memories.

        Args:
            memories: Of n machines, no one twice; changed in place.
            values: Shape (n, S); NaN is missing.
        """
        dense = np.ascontiguousarray(values, dtype=np.float64)
        runs = np.empty((2, *values.shape), dtype=np.int64)
        other_unit = np.empty(values.shape, dtype=np.bool_)
        for at, memory in enumerate(memories):
            row = slice(at, at + 1)
            run_lengths(dense[row], memory.runs, runs[:, row])
            jumped(dense[row], memory.jumps, self.conversions, self.usual, other_unit[row])
        return self._codes(dense, runs, other_unit)

    def _codes(
        self, values: Matrix, runs: npt.NDArray[np.int64], other_unit: npt.NDArray[np.bool_]
    ) -> FaultCodes:
        same, missing = runs
        codes = np.zeros(values.shape, dtype=np.uint8)
        codes[(values < self.low) | (values > self.high)] = SensorFault.OUT_OF_RANGE
        # Another unit often leads out of the range as well; it says more.
        codes[other_unit] = SensorFault.UNIT_JUMP
        codes[same >= self.stuck_rows] = SensorFault.STUCK
        codes[missing >= self.missing_rows] = SensorFault.DROPOUT
        return codes


def _usual(histories: Sequence[History], sensors: int) -> Matrix:
    values = np.concatenate([np.empty((0, sensors)), *[one.values for one in histories]])
    lowest = np.fmin.reduce(values, axis=0, initial=np.inf)
    highest = np.fmax.reduce(values, axis=0, initial=-np.inf)
    return np.stack([lowest, highest])


def longest_runs(values: Matrix) -> npt.NDArray[np.int64]:
    """Return the longest run of equal and of missing values per sensor, shape (2, S)."""
    runs = np.empty((2, *values.shape), dtype=np.int64)
    dense = np.ascontiguousarray(values, dtype=np.float64)
    run_lengths(dense, _no_runs(values.shape[1]), runs)
    longest: npt.NDArray[np.int64] = runs.max(axis=1)
    return longest


def _copies(arrays: tuple[npt.NDArray[Any], ...]) -> list[Any]:
    return [array.copy() for array in arrays]


def _no_runs(sensors: int) -> RunMemory:
    return RunMemory(
        last=np.full(sensors, np.nan),
        same=np.zeros(sensors, dtype=np.int64),
        missing=np.zeros(sensors, dtype=np.int64),
    )


@njit
def run_lengths(values: Matrix, memory: RunMemory, runs: npt.NDArray[np.int64]) -> None:
    """Fill (2, n, S): equal values up to each row, and missing ones."""
    for index in range(values.shape[0]):
        for sensor in range(values.shape[1]):
            value = values[index, sensor]
            if np.isnan(value):
                memory.missing[sensor] += 1
            else:
                memory.missing[sensor] = 0
                repeated = value == memory.last[sensor]
                memory.same[sensor] = memory.same[sensor] + 1 if repeated else 1
                memory.last[sensor] = value
            runs[0, index, sensor] = memory.same[sensor]
            runs[1, index, sensor] = memory.missing[sensor]
