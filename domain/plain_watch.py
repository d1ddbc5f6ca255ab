"""Sensors that are stuck, gone, out of range or in another unit, and gaps: without a model.

A class has no champion before its first sweep, which may be hours. Whether its sensors can be
trusted is known long before: from how the class's own readings look, as far as they are known.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from domain.conditions import (
    FROM_READINGS,
    Condition,
    GapWatch,
    StateBook,
    StateChanges,
    sensor_conditions,
)
from domain.machines import MachineClass
from domain.readings import History, Instants, Matrix, later_rows
from domain.sensor_health import SensorWatch, WatchMemory

LEAST_ROWS: Final = 100
"""Readings of one machine from which on it is known how its sensors look in health."""

KEPT_ROWS: Final = 1000
"""Newest readings of each machine that are kept; limits are learnt from the older half."""

_WITHOUT_LIMITS: Final = frozenset({Condition.GAP})

_NEVER_US: Final = int(np.iinfo(np.int64).min)

_GAP_TOLD_S: Final = 300.0
"""A hole is told for so long after it ended."""


@dataclass(slots=True, kw_only=True)
class _Machine:
    gaps: GapWatch
    kept: History
    memory: WatchMemory | None = None


@dataclass(slots=True, kw_only=True)
class _Class:
    sensors: tuple[str, ...]
    watch: SensorWatch | None = None
    seen: int = 0
    learnt_at: int = 0
    machines: dict[int, _Machine] = field(default_factory=dict)


class PlainWatch:
    """Looks at readings of classes that have no champion; for one thread.

    Limits are learnt from what was seen, and anew whenever twice as much was.

    Args:
        book: States of sensors that are stored; changed in place.
    """

    def __init__(self, book: StateBook) -> None:
        self._book = book
        self._classes: dict[str, _Class] = {}

    def see(
        self, machine_key: int, machine_class: MachineClass, instants_us: Instants, values: Matrix
    ) -> StateChanges:
        """Take in readings of one machine; return what they change.

        Args:
            machine_key: `Machine.key`.
            machine_class: Of the machine.
            instants_us: Shape (n,), in any order; what is not newer than all before is left out.
            values: Shape (n, S), S as the class has sensors; NaN is missing.
        """
        known = self._class(machine_class)
        machine = known.machines.get(machine_key)
        if machine is None:
            machine = _new_machine(machine_class)
            known.machines[machine_key] = machine
        kept_us = machine.kept.instants_us
        rows = later_rows(instants_us, int(kept_us[-1]) if len(kept_us) else _NEVER_US)
        if not len(rows):
            return StateChanges()
        at, new = instants_us[rows], values[rows]
        machine.gaps.see(at)
        machine.kept = _joined(machine.kept, at, new)
        known.seen += len(rows)
        self._learn(known, machine_class)
        found = machine.gaps.conditions(int(at[-1]))
        if known.watch is not None:
            if machine.memory is None:
                # What was kept until limits were known is looked at now: it may be ill long since.
                machine.memory = known.watch.new_memory()
                at, new = machine.kept.instants_us, machine.kept.values
            found |= sensor_conditions(known.sensors, at, known.watch.check(machine.memory, new))
        # What was told in an earlier life stands until limits are known again.
        among = FROM_READINGS if known.watch is not None else _WITHOUT_LIMITS
        return self._book.settle(machine_key, found, among)

    def forget(self, machine_class: str) -> None:
        """Let go of a class that has a champion now."""
        self._classes.pop(machine_class, None)

    def newest_us(self, machine_class: str, machine_key: int) -> int | None:
        """Return the instant of a machine's newest reading that was seen; None before the first."""
        known = self._classes.get(machine_class)
        machine = None if known is None else known.machines.get(machine_key)
        return None if machine is None else int(machine.kept.instants_us[-1])

    def _class(self, machine_class: MachineClass) -> _Class:
        known = self._classes.get(machine_class.name)
        if known is None or known.sensors != machine_class.sensor_names:
            known = _Class(sensors=machine_class.sensor_names)
            self._classes[machine_class.name] = known
        return known

    def _learn(self, known: _Class, machine_class: MachineClass) -> None:
        if known.seen < 2 * known.learnt_at:
            return
        # What goes on now is judged by what was before: a stuck sensor teaches nothing of health.
        older = [_older(one.kept) for one in known.machines.values()]
        long = [one for one in older if len(one) >= LEAST_ROWS]
        if long:
            known.watch, known.learnt_at = SensorWatch.fit(long, machine_class), known.seen


def _new_machine(machine_class: MachineClass) -> _Machine:
    nothing = History(
        machine="",
        instants_us=np.empty(0, dtype=np.int64),
        values=np.empty((0, len(machine_class.sensors))),
    )
    gaps = GapWatch(period_s=machine_class.period_s, window_s=_GAP_TOLD_S)
    return _Machine(gaps=gaps, kept=nothing)


def _older(kept: History) -> History:
    return kept.take(slice(len(kept) // 2))


def _joined(kept: History, instants_us: Instants, values: Matrix) -> History:
    return History(
        machine=kept.machine,
        instants_us=np.concatenate([kept.instants_us, instants_us])[-KEPT_ROWS:],
        values=np.concatenate([kept.values, values])[-KEPT_ROWS:],
    )
