"""Readings as columns: a batch is a few arrays, never an object per reading."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass

type Instants = npt.NDArray[np.int64]
"""Microseconds since 1970-01-01T00:00:00Z; shape (n,)."""

type Matrix = npt.NDArray[np.float64]
"""Shape (n, sensors); NaN says that the sensor was missing from the reading."""

type Vector = npt.NDArray[np.float64]
"""Shape (n,)."""

type Flags = npt.NDArray[np.bool_]
"""Shape (n,)."""

type Spans = Iterable[tuple[int, int]]
"""First and last instants, microseconds since 1970-01-01T00:00:00Z."""

type Keys = npt.NDArray[np.int32]
"""`Machine.key` of each row; shape (n,)."""


def later_rows(instants_us: Instants, last_us: int) -> npt.NDArray[np.intp]:
    """Return the rows that are later than all before them and than `last_us`."""
    running = np.maximum.accumulate(np.concatenate([[last_us], instants_us]))
    return np.flatnonzero(instants_us > running[:-1])


def within(instants_us: Instants, spans: Spans) -> Flags:
    """Return which instants lie in any of the spans, both ends included."""
    inside = np.zeros(len(instants_us), dtype=np.bool_)
    for first_us, last_us in spans:
        inside |= (instants_us >= first_us) & (instants_us <= last_us)
    return inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadingBatch:
    """Readings of machines of one class, in arrival order.

    Attributes:
        machine_class: What the columns of `values` are.
        machine_keys: Shape (n,).
        instants_us: Shape (n,), microseconds UTC.
        values: Shape (n, sensors), finite or NaN (missing), C-contiguous.
    """

    machine_class: MachineClass
    machine_keys: Keys
    instants_us: Instants
    values: Matrix

    def __post_init__(self) -> None:
        rows = len(self.instants_us)
        wanted = (rows, len(self.machine_class.sensors))
        if self.values.shape != wanted or self.machine_keys.shape != (rows,):
            raise ValueError(
                f"columns disagree: {self.machine_keys.shape} machines, {rows} instants, values "
                f"{self.values.shape} instead of {wanted}"
            )

    def __len__(self) -> int:
        return len(self.instants_us)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Self:
        """Return the named rows, in that order."""
        return type(self)(
            machine_class=self.machine_class,
            machine_keys=self.machine_keys[rows],
            instants_us=self.instants_us[rows],
            values=self.values[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """One machine's readings over a period, oldest first, each instant once.

    Attributes:
        machine: Name of the machine.
        instants_us: Shape (n,), strictly increasing.
        values: Shape (n, sensors) in the order of the machine class; NaN is missing.
    """

    machine: str
    instants_us: Instants
    values: Matrix

    def __len__(self) -> int:
        return len(self.instants_us)

    def take(self, rows: slice | Flags) -> "History":
        """Return some of the readings; of a slice the arrays are shared."""
        return replace(self, instants_us=self.instants_us[rows], values=self.values[rows])

    def without(self, rows: Flags) -> "History":
        """Return all readings but some; itself where there are none of those."""
        return self.take(~rows) if rows.any() else self

    def widened(self, sensors: int) -> "History":
        """Return the readings with exactly `sensors` columns, as `widened` says."""
        return replace(self, values=widened(self.values, sensors))

    def after(self, past: "History") -> "History":
        """Return the readings with a past of as many columns put in front of them."""
        if not len(past):
            return self
        return replace(
            self,
            instants_us=np.concatenate([past.instants_us, self.instants_us]),
            values=np.concatenate([past.values, self.values]),
        )


def widened(values: Matrix, sensors: int) -> Matrix:
    """Return rows with exactly `sensors` columns: a class may have gained sensors since."""
    if values.shape[1] >= sensors:
        return values[:, :sensors]
    filler = np.full((len(values), sensors - values.shape[1]), np.nan)
    return np.concatenate([values, filler], axis=1)
