"""What a scorecard is made of: readings with the truth beside them."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass, Sensor
from domain.readings import History, Instants, Matrix
from domain.risk import Life
from domain.scorecard.points import Flags

SKAB_TRAIN_ROWS: Final = 400
"""The benchmark's own split: so many first rows of each run are learnt from."""

NAB_PROBATION: Final = 0.15
NAB_PROBATION_ROWS: Final = 750
"""NAB does not score the first 15 % of a file, at most 750 rows; that part is learnt from."""

CSV_TRAIN_SHARE: Final = 0.3


class Format(StrEnum):
    """Where a file comes from, and with it how it is split and what is counted."""

    SKAB = "skab"
    NAB = "nab"
    CMAPSS = "cmapss"
    CSV = "csv"


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One machine's readings and what was true of them.

    Attributes:
        name: Of the file, for people; runs of one name are counted together.
        kind: Its format; `csv` for readings that come from no file.
        sensors: Names of the columns of `values`.
        instants_us: Shape (n,).
        values: Shape (n, S); NaN is missing.
        anomalous: Shape (n,); None where nobody labelled the readings, which then are healthy.
        changepoints: Shape (n,); None where they are not labelled.
        roots: Shape (n,), column of the sensor that shows the fault first, -1 where there is none;
            None where roots are not labelled.
        touched: Shape (n, S), sensors that the fault moves, where several may be named as its
            root; None where that is not known.
        ill: Shape (n,), a sensor is at fault while the machine may be well; None where sensors'
            faults are not labelled.
        machine: Its name, where that is not the run's.
        declared: What the columns are, where more is known of them than their names.
        learnt_rows: Readings to learn from, where the format's own split is not meant.
        words: Instants from which the level is to be learnt anew, see `domain.anew`.
        level: Shape (S,), what the level was before the first reading, where it was learnt anew.
    """

    name: str
    kind: Format
    sensors: tuple[str, ...]
    instants_us: Instants
    values: Matrix
    anomalous: Flags | None = None
    changepoints: Flags | None = None
    roots: npt.NDArray[np.int64] | None = None
    touched: npt.NDArray[np.bool_] | None = None
    ill: Flags | None = None
    machine: str | None = None
    declared: MachineClass | None = None
    learnt_rows: int | None = None
    words: tuple[int, ...] = ()
    level: Matrix | None = None

    def __len__(self) -> int:
        return len(self.instants_us)

    @property
    def train_rows(self) -> int:
        """Readings that are learnt from; their labels are never looked at."""
        if self.learnt_rows is not None:
            return self.learnt_rows
        match self.kind:
            case Format.SKAB:
                return SKAB_TRAIN_ROWS
            case Format.NAB:
                return min(int(NAB_PROBATION * len(self)), NAB_PROBATION_ROWS)
            case _:
                return int(CSV_TRAIN_SHARE * len(self))

    @cached_property
    def period_s(self) -> float:
        """Median seconds between two readings."""
        steps = np.diff(self.instants_us)
        steps = steps[steps > 0]
        return float(np.median(steps)) / 1e6 if len(steps) else 1.0

    @cached_property
    def machine_class(self) -> MachineClass:
        """What the columns are."""
        if self.declared is not None:
            return self.declared
        sensors = tuple(Sensor(name=name) for name in self.sensors)
        return MachineClass(name=self.kind.value, sensors=sensors, period_s=self.period_s)

    @property
    def train(self) -> History:
        """The unlabelled part that a pipeline learns from."""
        return self._part(slice(None, self.train_rows))

    @property
    def test(self) -> History:
        """The part that is scored."""
        return self._part(slice(self.train_rows, None))

    @property
    def truth(self) -> Flags:
        """Labels of the scored part; without labels it is healthy."""
        if self.anomalous is None:
            return np.zeros(len(self) - self.train_rows, dtype=bool)
        return self.anomalous[self.train_rows :]

    def _part(self, rows: slice) -> History:
        return History(
            machine=self.machine or self.name,
            instants_us=self.instants_us[rows],
            values=self.values[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fleet:
    """Machines of one kind, of each of which it is known when it failed.

    Attributes:
        name: Of the file, for people.
        lives: One per machine.
        tests: Machines to be judged by what `lives` teach; without them the lives are judged, each
            by what the others teach.
        conditions: Columns of `values` that say how a machine is run, not how it is.
    """

    name: str
    lives: tuple[Life, ...]
    tests: tuple[Life, ...] = ()
    conditions: tuple[int, ...] = ()
