"""A fleet of simulated machines, and the truth about its failures."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from domain.class_files import ClassFile
from domain.errors import BadInputError, NotFoundError
from domain.machines import MachineClass, checked_name
from domain.readings import Instants, Matrix
from domain.simulation.failures import Failure
from domain.simulation.schedule import draw_failures
from domain.simulation.signal import SignalPlan
from domain.simulation.twin import Twin

MAX_ADVANCE_STEPS = 10_000_000
"""Readings of one machine in one call: two months at 2 Hz, 1.6 GB at 20 sensors."""


class Chunk(NamedTuple):
    """What one machine sent.

    Attributes:
        machine: Its index in the fleet.
        instants_us: Shape (n,), strictly increasing.
        values: Shape (n, sensors); NaN is missing. No row is all NaN.
    """

    machine: int
    instants_us: Instants
    values: Matrix


class Fleet:
    """Machines of one class under a clock that the caller turns.

    Every machine has its own random numbers, drawn from the seed and its index: it behaves the same
    in a fleet of any size. How the time is cut into calls of `advance` changes no number.
    """

    def __init__(self, spec_file: ClassFile, machines: tuple[Twin, ...]) -> None:
        self._file, self._twins = spec_file, machines
        self._index = {twin.name: at for at, twin in enumerate(machines)}

    @classmethod
    def create(  # noqa: PLR0913 - keyword-only, one per dial of an experiment
        cls,
        class_file: ClassFile,
        machines: Sequence[str],
        *,
        start_us: int,
        num_sensors: int | None = None,
        period_s: float | None = None,
        seed: int = 0,
        gap_rate: float = 0.0005,
    ) -> Self:
        """Set up a fleet.

        Args:
            class_file: What the machines are.
            machines: Their names.
            start_us: When they are switched on, microseconds UTC.
            num_sensors: As `ClassFile.with_sensors`; by default those of the file.
            period_s: Seconds between readings; by default those of the file.
            seed: Decides everything that is random.
            gap_rate: Share of readings after which a gap of some periods begins; in [0, 1).

        Raises:
            BadInputError: A name is no name or there twice, or a number is out of range.
        """
        file = class_file if num_sensors is None else class_file.with_sensors(num_sensors)
        period_us = round((period_s or file.spec.period_s) * 1e6)
        if period_us < 1 or not 0 <= gap_rate < 1:
            raise BadInputError(
                f"period_s is {period_s}, gap_rate {gap_rate}", "fleet", "Use > 0 and 0 to 1"
            )
        if len({checked_name("machine", name) for name in machines}) < len(machines):
            raise BadInputError("a machine is named twice", "fleet")
        plan = SignalPlan.of(file.spec, period_us)
        return cls(
            file,
            tuple(
                Twin(name, plan, np.random.SeedSequence(seed, spawn_key=(at,)), start_us, gap_rate)
                for at, name in enumerate(machines)
            ),
        )

    @property
    def machine_class(self) -> MachineClass:
        """The class that the columns of values follow."""
        return self._file.machine_class

    @property
    def names(self) -> tuple[str, ...]:
        """The machines' names by index."""
        return tuple(twin.name for twin in self._twins)

    @property
    def modes(self) -> tuple[str, ...]:
        """Failure modes that can be injected."""
        return tuple(self._file.spec.failures)

    def advance(self, until_us: int) -> list[Chunk]:
        """Return what the machines send from where they are up to an instant, without it.

        Args:
            until_us: Microseconds UTC; nothing is returned when it is not ahead.

        Raises:
            BadInputError: It is so far ahead that the readings would not fit into memory.
        """
        steps = max((twin.steps_until(until_us) for twin in self._twins), default=0)
        if steps > MAX_ADVANCE_STEPS:
            raise BadInputError(
                f"{steps} readings per machine at once", "fleet", "Advance in smaller steps"
            )
        chunks = [Chunk(at, *twin.advance(until_us)) for at, twin in enumerate(self._twins)]
        return [chunk for chunk in chunks if len(chunk.instants_us)]

    def inject(  # noqa: PLR0913 - keyword-only, one per dial of a failure
        self,
        machine: str,
        mode: str,
        *,
        onset_us: int,
        develop_s: float | None = None,
        duration_s: float | None = None,
        severity: float = 1.0,
        nth: int | None = None,
    ) -> Failure:
        """Let a machine fail.

        Args:
            machine: Its name.
            mode: A failure mode of its class.
            onset_us: When it begins; not before what was already sent.
            develop_s: Seconds to full development; by default the mode's.
            duration_s: Seconds to the repair; by default the mode's.
            severity: Factor on the mode's effects; > 0.
            nth: How many of its kind the machine was given before, where it is told again after
                a restart; otherwise it is the next one.

        Raises:
            NotFoundError: There is no such machine or mode.
            BadInputError: The onset is past, or a number is out of range.
        """
        found = self._file.spec.failures.get(mode)
        if found is None:
            raise NotFoundError("failure mode", mode, f"There are {', '.join(self.modes)}")
        develop_s = found.develop_s if develop_s is None else develop_s
        duration_s = found.duration_s if duration_s is None else duration_s
        if not (develop_s > 0 and duration_s > 0 and severity > 0):
            raise BadInputError(
                f"develop_s {develop_s}, duration_s {duration_s}, severity {severity}",
                f"failure {mode}",
                "All must be > 0",
            )
        return self._twin(machine).fail(
            mode,
            onset_us=onset_us,
            end_us=onset_us + round(duration_s * 1e6),
            severity=severity,
            develop_s=develop_s,
            nth=nth,
        )

    def schedule_failures(
        self, *, per_machine_hour: float, start_us: int, until_us: int, seed: int = 0
    ) -> tuple[Failure, ...]:
        """Let machines fail at random, one failure of a machine at a time.

        Args:
            per_machine_hour: Mean failures per machine and healthy hour; > 0.
            start_us: No onset before; not before what was already sent.
            until_us: No onset from here on.
            seed: Decides which, when and how bad.

        Raises:
            BadInputError: The rate is not positive or the start is past.
        """
        if not per_machine_hour > 0:
            raise BadInputError(f"per_machine_hour is {per_machine_hour}, must be > 0", "fleet")
        return tuple(
            self.inject(
                name,
                drawn.mode,
                onset_us=drawn.onset_us,
                develop_s=drawn.develop_s,
                duration_s=drawn.duration_s,
                severity=drawn.severity,
            )
            for at, name in enumerate(self.names)
            for drawn in draw_failures(
                self._file.spec,
                np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(at, 1))),
                per_hour=per_machine_hour,
                start_us=start_us,
                until_us=until_us,
            )
        )

    def truth(self) -> tuple[Failure, ...]:
        """Return every failure that was injected or scheduled, by onset and machine."""
        failures = [failure for twin in self._twins for failure in twin.failures]
        return tuple(sorted(failures, key=lambda each: (each.onset_us, each.machine, each.kind)))

    def _twin(self, machine: str) -> Twin:
        at = self._index.get(machine)
        if at is None:
            raise NotFoundError("machine", machine, f"The fleet has {len(self._twins)} machines")
        return self._twins[at]
