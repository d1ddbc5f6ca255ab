"""The usual messages of a batch at once, as columns per machine class."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat

import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass
from domain.readings import Instants, Keys, Matrix
from domain.roster import Roster
from domain.wire.numbers import Cell
from domain.wire.raw import Headers, RawBatch
from domain.wire.scan import Names, Task, scan_messages

type Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """Readings of one class, in arrival order.

    Attributes:
        rows: Shape (n,), their rows in the raw batch.
        machine_keys: Shape (n,).
        instants_us: Shape (n,).
        values: Shape (n, sensors).
    """

    rows: Rows
    machine_keys: Keys
    instants_us: Instants
    values: Matrix

    def take(self, picked: npt.NDArray[np.bool_] | Rows) -> "Columns":
        """Return the named rows."""
        return Columns(
            rows=self.rows[picked],
            machine_keys=self.machine_keys[picked],
            instants_us=self.instants_us[picked],
            values=self.values[picked],
        )


def scan(raw: RawBatch, roster: Roster, *, max_bytes: int) -> tuple[dict[str, Columns], list[int]]:
    """Return what the scanner could read by class, and the rows that are left to the arbiter.

    Args:
        raw: The messages.
        roster: Machines and classes known now.
        max_bytes: Longer messages are left.
    """
    index = _index(roster)
    machines = np.fromiter(map(index.slots.get, raw.keys, repeat(-1)), np.int64, len(raw))
    # Tombstones stand as empty text: the scanner finds nothing in it.
    text = b"\n".join([value or b"" for value in raw.values]) + b"\n"
    lengths = np.fromiter((len(value or b"") for value in raw.values), np.int64, len(raw))
    ends = np.cumsum(lengths + 1) - 1
    ours = (machines >= 0) & (lengths <= max_bytes)
    if raw.headers is not None:
        ours &= np.fromiter(map(is_json, raw.headers), np.bool_, len(raw))
    classes = np.where(ours, index.classes[machines], -1)
    found: dict[str, Columns] = {}
    left = ~ours
    for number in np.unique(classes[ours]):
        rows = np.flatnonzero(classes == number)
        machine_class = roster.classes[index.names[number]]
        task = _task(text, machine_class, len(rows))
        scan_messages(task, (ends - lengths)[rows], ends[rows], machines[rows], index.machine_names)
        usual = task.usual
        columns = Columns(
            rows=rows,
            machine_keys=index.keys[machines[rows]],
            instants_us=task.instants_us,
            values=task.values,
        )
        found[machine_class.name] = columns if usual.all() else columns.take(usual)
        left[rows[~usual]] = True
    return found, np.flatnonzero(left).tolist()


def is_json(headers: Headers | None) -> bool:
    """Return whether a message says that it is JSON, or says nothing."""
    return not headers or all(
        name.lower() != "content-type"
        or content.split(b";")[0].strip().lower() == b"application/json"
        for name, content in headers
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Index:
    """A roster as arrays; machines are numbered in its order.

    Attributes:
        slots: Kafka key → the machine's number.
        keys: Shape (machines,).
        classes: Shape (machines,), numbers in `names`; one more at the end for -1.
        names: Class names.
        machine_names: In the order of their numbers.
    """

    slots: dict[bytes | None, int]
    keys: Keys
    classes: npt.NDArray[np.int64]
    names: tuple[str, ...]
    machine_names: Names


@lru_cache(maxsize=4)
def _index(roster: Roster) -> _Index:
    machines = list(roster.machines.values())
    names = tuple(roster.classes)
    number = {name: at for at, name in enumerate(names)}
    return _Index(
        slots={machine.name.encode(): at for at, machine in enumerate(machines)},
        keys=np.array([machine.key for machine in machines], dtype=np.int32),
        classes=np.array([*(number[m.machine_class] for m in machines), -1], dtype=np.int64),
        names=names,
        machine_names=_joined(machine.name for machine in machines),
    )


def _task(text: bytes, machine_class: MachineClass, rows: int) -> Task:
    number = np.empty(1)
    return Task(
        text=np.frombuffer(text, dtype=np.uint8),
        sensors=_joined(machine_class.sensor_names),
        instants_us=np.empty(rows, dtype=np.int64),
        values=np.empty((rows, len(machine_class.sensors))),
        usual=np.zeros(rows, dtype=np.bool_),
        stamps=np.full(len(machine_class.sensors), -1, dtype=np.int64),
        cell=Cell(number=number, bits=number.view(np.uint64)),
    )


def _joined(names: Iterable[str]) -> Names:
    encoded = [name.encode() for name in names]
    return Names(
        text=np.frombuffer(b"".join(encoded), dtype=np.uint8),
        begins=np.cumsum([0, *map(len, encoded)], dtype=np.int64),
    )
