"""What is wrong with a sensor or with the way of a machine's readings, as a state that lasts.

A state says since when; it is apart from anomalies, which are about the machine. What is stored is
kept in a book, so that only what has changed is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from domain.readings import Instants
from domain.sensor_health import FaultCodes, SensorFault

WHOLE_MACHINE: Final = ""
"""In place of a sensor, where all of the machine's sensors are concerned."""

REFRESH_US: Final = 10_000_000
"""A state that goes on is written again after so long, for its `last_seen`."""

GAP_PERIODS: Final = 20
GAP_AT_LEAST_S: Final = 10.0
"""A hole between two readings is told when it is longer than both."""


class Condition(StrEnum):
    """What is wrong. The first four are a sensor's, the others the whole machine's."""

    STUCK = "stuck"
    DROPOUT = "dropout"
    OUT_OF_RANGE = "out_of_range"
    UNIT_JUMP = "unit_jump"
    GAP = "gap"
    SILENT = "silent"
    CLOCK_SKEW = "clock_skew"


BY_CODE: Final = {code: Condition(code.name.lower()) for code in SensorFault if code}
"""Condition of each fault that the sensor watch finds."""

FROM_READINGS: Final = frozenset({*BY_CODE.values(), Condition.GAP})
"""What readings show by themselves, in their own time."""

FROM_ARRIVAL: Final = frozenset({Condition.SILENT, Condition.CLOCK_SKEW})
"""What only their arrival shows, by the clock on the wall."""

type What = tuple[str, Condition]
"""Sensor and condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorState:
    """One condition of one sensor.

    Attributes:
        machine_key: `Machine.key`.
        sensor: Its name; empty where the machine as a whole is meant.
        condition: What is wrong.
        since_us: When it began, microseconds UTC: the instant of a reading, or for what is known
            by arrival the time of arrival.
        last_seen_us: When it was last seen, in the same time.
    """

    machine_key: int
    sensor: str
    condition: Condition
    since_us: int
    last_seen_us: int

    @property
    def key(self) -> tuple[int, str, Condition]:
        """What there is one state of."""
        return self.machine_key, self.sensor, self.condition


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanges:
    """What has to be written.

    Attributes:
        present: States that began, or were seen again after a while.
        ended: States that are over.
    """

    present: tuple[SensorState, ...] = ()
    ended: tuple[SensorState, ...] = ()


class StateBook:
    """The states that are stored.

    Args:
        stored: Those of all machines, as they are in the database.
    """

    def __init__(self, stored: Iterable[SensorState] = ()) -> None:
        self._by_machine: dict[int, dict[What, SensorState]] = {}
        for one in stored:
            self._of(one.machine_key)[one.sensor, one.condition] = one

    def settle(
        self, machine_key: int, found: Mapping[What, tuple[int, int]], among: frozenset[Condition]
    ) -> StateChanges:
        """Take in what is true of a machine now; return what that changes.

        Args:
            machine_key: `Machine.key`.
            found: Sensor and condition → since when and last seen, microseconds UTC. A state that
                goes on keeps the beginning it had.
            among: The conditions that were looked for; others stay as they are.
        """
        known = self._of(machine_key)
        ended = [one for what, one in known.items() if one.condition in among and what not in found]
        for one in ended:
            del known[one.sensor, one.condition]
        present = []
        for what, (since_us, last_us) in found.items():
            before = known.get(what)
            if before is not None and last_us - before.last_seen_us < REFRESH_US:
                continue
            sensor, condition = what
            known[what] = (
                replace(before, last_seen_us=last_us)
                if before is not None
                else SensorState(
                    machine_key=machine_key,
                    sensor=sensor,
                    condition=condition,
                    since_us=since_us,
                    last_seen_us=last_us,
                )
            )
            present.append(known[what])
        return StateChanges(present=tuple(present), ended=tuple(ended))

    def _of(self, machine_key: int) -> dict[What, SensorState]:
        return self._by_machine.setdefault(machine_key, {})


def sensor_conditions(
    names: tuple[str, ...], instants_us: Instants, faults: FaultCodes
) -> dict[What, tuple[int, int]]:
    """Return what is wrong with each sensor at the last reading, and since which one.

    Args:
        names: Of the sensors.
        instants_us: Shape (n,), n >= 1, oldest first.
        faults: Shape (n, S).
    """
    found: dict[What, tuple[int, int]] = {}
    for at in np.flatnonzero(faults[-1]).tolist():
        others = np.flatnonzero(faults[:, at] != faults[-1, at])
        first = int(others[-1]) + 1 if len(others) else 0
        condition = BY_CODE[SensorFault(faults[-1, at])]
        found[names[at], condition] = int(instants_us[first]), int(instants_us[-1])
    return found


class GapWatch:
    """Finds holes in one machine's readings, and tells of the newest while a model looks at it.

    Args:
        period_s: Nominal seconds between two readings.
        window_s: What the model looks back on; a hole further back harms no score.
    """

    def __init__(self, *, period_s: float, window_s: float) -> None:
        self._patience_us = 1e6 * max(GAP_AT_LEAST_S, GAP_PERIODS * period_s)
        self._window_us = 1e6 * window_s
        self._last_us: int | None = None
        self._hole: tuple[int, int] | None = None

    def see(self, instants_us: Instants) -> None:
        """Take in readings, each later than all before."""
        if not len(instants_us):
            return
        before = instants_us[0] if self._last_us is None else self._last_us
        times = np.concatenate([[before], instants_us])
        holes = np.flatnonzero(np.diff(times) > self._patience_us)
        if len(holes):
            self._hole = int(times[holes[-1]]), int(times[holes[-1] + 1])
        self._last_us = int(times[-1])

    def look_away(self) -> None:
        """Let the next reading follow on anything: what lies between was not looked at."""
        self._last_us = None

    def conditions(self, now_us: int) -> dict[What, tuple[int, int]]:
        """Return the hole within the window that ends at `now_us`, if there is one."""
        if self._hole is None or now_us - self._hole[1] > self._window_us:
            return {}
        return {(WHOLE_MACHINE, Condition.GAP): self._hole}
