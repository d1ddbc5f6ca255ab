"""Is the sensor ill, rather than the machine? Stuck, silent, out of range or in another unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from domain.jit import Addresses, Words, addresses_of, block_at, njit
from domain.machines import MachineClass
from domain.readings import History, Matrix
from domain.unit_jumps import JUMP_WORDS, conversions_of, jumped, jumps_over

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


_RUN_WORDS: Final = 3
_WORDS: Final = _RUN_WORDS + JUMP_WORDS
"""Words of a block that a sensor's past takes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchMemory:
    """One machine's past: runs of equal and of missing values, and levels of the sensors.

    Attributes:
        block: Shape (words,); compiled code reads it as `RunMemory` and `JumpMemory`.
    """

    block: Words

    def copy(self) -> Self:
        """Return a memory that can be advanced without changing this one."""
        return type(self)(block=self.block.copy())


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
        return WatchMemory(block=_unseen(len(self.low)))

    def check(self, memory: WatchMemory, values: Matrix) -> FaultCodes:
        """Judge each value of each sensor and advance the memory.

        Args:
            memory: Of the machine; changed in place.
            values: Shape (n, S), oldest first; NaN is missing.
        """
        return self.check_each([memory], np.array([len(values)], dtype=np.int64), values)

    def check_each(
        self, memories: Sequence[WatchMemory], ends: npt.NDArray[np.int64], values: Matrix
    ) -> FaultCodes:
        """Judge the readings of machines and advance their memories.

        Args:
            memories: Changed in place.
            ends: Shape (machines,), row after the last one of each; ascending to n.
            values: Shape (n, S), one machine's after the other's; NaN is missing.
        """
        dense = np.ascontiguousarray(values, dtype=np.float64)
        runs = np.empty((2, *values.shape), dtype=np.int64)
        other_unit = np.empty(values.shape, dtype=np.bool_)
        blocks = [one.block for one in memories]
        addresses = addresses_of(blocks, _WORDS * len(self.low))
        watched_rows(addresses, ends, dense, self.conversions, self.usual, runs, other_unit)
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
    longest = np.zeros((2, values.shape[1]), dtype=np.int64)
    longest_over(np.ascontiguousarray(values, dtype=np.float64), _unseen(values.shape[1]), longest)
    return longest


def _unseen(sensors: int) -> Words:
    block = np.zeros(_WORDS * sensors)
    block[:sensors] = np.nan
    return block


@njit
def runs_over(block: Words, sensors: int) -> RunMemory:
    """Return the memory that the beginning of a block holds."""
    whole = block.view(np.int64)
    return RunMemory(
        block[:sensors], whole[sensors : 2 * sensors], whole[2 * sensors : 3 * sensors]
    )


@njit
def watched_rows(  # noqa: PLR0913, PLR0917 - compiled code takes arrays, and fills those it is given
    addresses: Addresses,
    ends: npt.NDArray[np.int64],
    values: Matrix,
    conversions: Matrix,
    usual: Matrix,
    runs: npt.NDArray[np.int64],
    other_unit: npt.NDArray[np.bool_],
) -> None:
    """Go through the rows of machines, one machine after the other.

    Args:
        addresses: Of the machines' blocks, which are changed in place.
        ends: Row after the last one of each machine.
        values: Shape (n, S); NaN is missing.
        conversions: Of `SensorWatch`.
        usual: Of `SensorWatch`.
        runs: Shape (2, n, S), filled: equal values up to each row, and missing ones.
        other_unit: Shape (n, S), filled.
    """
    sensors, index = values.shape[1], 0
    for at in range(len(addresses)):
        block = block_at(addresses[at], _WORDS * sensors)
        memory = runs_over(block, sensors)
        jumps = jumps_over(block[_RUN_WORDS * sensors :], sensors)
        while index < ends[at]:
            run_lengths(values[index], memory)
            runs[0, index] = memory.same
            runs[1, index] = memory.missing
            jumped(values[index], jumps, conversions, usual, other_unit[index])
            index += 1


@njit
def longest_over(values: Matrix, block: Words, longest: npt.NDArray[np.int64]) -> None:
    """Raise (2, S) to the longest runs in (n, S) values."""
    memory = runs_over(block, values.shape[1])
    for index in range(len(values)):
        run_lengths(values[index], memory)
        longest[0] = np.maximum(longest[0], memory.same)
        longest[1] = np.maximum(longest[1], memory.missing)


@njit
def run_lengths(row: Matrix, memory: RunMemory) -> None:
    """Count equal and missing values up to a row, shape (S,)."""
    for sensor in range(len(row)):
        value = row[sensor]
        if np.isnan(value):
            memory.missing[sensor] += 1
        else:
            memory.missing[sensor] = 0
            repeated = value == memory.last[sensor]
            memory.same[sensor] = memory.same[sensor] + 1 if repeated else 1
            memory.last[sensor] = value
