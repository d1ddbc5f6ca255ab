"""One simulated machine: its healthy signal, its failures, its sensors' resolution, its gaps."""

from zlib import crc32

import numpy as np
import numpy.typing as npt

from domain.errors import BadInputError
from domain.readings import Instants, Matrix
from domain.simulation.failures import Course, Failure
from domain.simulation.resolution import Resolution
from domain.simulation.signal import BLOCK, Block, HealthySignal, SignalPlan

_MAX_GAP = 20
"""A gap lasts at most this many periods: 10 s at 2 Hz."""


class Twin:
    """A machine and where it stands in time.

    Attributes:
        name: The machine's name.
        failures: Its failures so far, past and to come.
    """

    def __init__(
        self,
        name: str,
        plan: SignalPlan,
        seed: np.random.SeedSequence,
        start_us: int,
        gap_rate: float,
    ) -> None:
        self.name, self.failures = name, list[Failure]()
        signal, gaps, phase, self._fate = seed.spawn(4)
        self._plan, self._gap_rate = plan, gap_rate
        # Machines do not tick together, nor do they compute their blocks together: the first begins
        # before the start, by another number of steps for each.
        ticks = np.random.default_rng(phase)
        first_us = start_us + int(ticks.integers(plan.period_us))
        self._at = int(ticks.integers(BLOCK))
        self._signal = HealthySignal(plan, signal, first_us - self._at * plan.period_us)
        self._gaps = np.random.default_rng(gaps)
        self._silent, self._next_us = 0, first_us
        self._block: Block | None = None
        self._sent: npt.NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
        self._courses: list[Course] = []
        self._resolution = Resolution.of(plan.spec.sensors)
        self._last = np.full(len(plan.sd), np.nan)

    def steps_until(self, until_us: int) -> int:
        """Return how many periods end before an instant, from where the machine is."""
        return max(0, -(-(until_us - self._next_us) // self._plan.period_us))

    def advance(self, until_us: int) -> tuple[Instants, Matrix]:
        """Return instants (n,) and values (n, sensors) up to an instant, without it."""
        parts: list[tuple[Instants, Matrix]] = []
        steps = self.steps_until(until_us)
        while steps:
            if self._block is None or self._at == BLOCK:
                self._at %= BLOCK
                self._block, self._sent = self._signal.block(), self._send()
            end = min(BLOCK, self._at + steps)
            parts.append(self._cut(self._block, slice(self._at, end)))
            steps -= end - self._at
            self._next_us += (end - self._at) * self._plan.period_us
            self._at = end
        if not parts:
            return np.empty(0, dtype=np.int64), np.empty((0, len(self._last)))
        instants, values = zip(*parts, strict=True)
        return np.concatenate(instants), np.concatenate(values)

    def fail(  # noqa: PLR0913 - what a failure is
        self,
        mode: str,
        *,
        onset_us: int,
        end_us: int,
        severity: float,
        develop_s: float,
        nth: int | None = None,
    ) -> Failure:
        """Begin a failure at an instant that is not past.

        It is the next of its kind, or the `nth` where it was told before.

        Raises:
            BadInputError: The machine has already sent readings of that instant.
        """
        if onset_us < self._next_us - self._plan.period_us:
            raise BadInputError("the onset lies before what was already sent", f"failure {mode}")
        if nth is None:
            nth = sum(one.kind == mode for one in self.failures)
        rng = self._chance(mode, nth)
        failure = Failure(
            machine=self.name,
            kind=mode,
            onset_us=onset_us,
            end_us=end_us,
            severity=severity,
            sensors=_touched(self._plan, mode, rng),
            develop_s=develop_s,
            nth=nth,
        )
        self.failures.append(failure)
        self._courses.append(Course(self._plan.spec, failure, self._signal.level, rng))
        self._courses.sort(key=lambda course: (course.failure.onset_us, course.failure.kind))
        return failure

    def _chance(self, mode: str, nth: int) -> np.random.Generator:
        # Not from its onset, which hangs on the clock on the wall: a seed means the same failures
        # whenever it is run. Those of other kinds do not count, in whatever order they are told.
        key = (*self._fate.spawn_key, crc32(mode.encode()), nth)
        return np.random.default_rng(np.random.SeedSequence(self._fate.entropy, spawn_key=key))

    def _cut(self, block: Block, rows: slice) -> tuple[Instants, Matrix]:
        instants = block.instants_us[rows]
        mean, noise = block.mean[rows], block.noise[rows]
        if self._courses:
            mean, noise = mean.copy(), noise.copy()
            for course in self._courses:
                course.disturb(instants, mean, noise, block.effort[rows])
        values = self._resolution.round(mean + noise)
        for course in self._courses:
            course.falsify(instants, values, self._last)
        self._last = values[-1]
        sent = self._sent[rows] & ~np.isnan(values).all(axis=1)
        return instants[sent], values[sent]

    def _send(self) -> npt.NDArray[np.bool_]:
        sent = np.ones(BLOCK, dtype=np.bool_)
        drawn, lengths = self._gaps.random(BLOCK), self._gaps.integers(1, _MAX_GAP, BLOCK)
        for step in range(BLOCK) if self._silent or (drawn < self._gap_rate).any() else ():
            if self._silent:
                sent[step] = False
                self._silent -= 1
            elif drawn[step] < self._gap_rate:
                self._silent = int(lengths[step])
        return sent


def _touched(plan: SignalPlan, mode: str, rng: np.random.Generator) -> tuple[str, ...]:
    found = plan.spec.failures[mode]
    if found.kind == "machine":
        return tuple(found.effects)
    names = found.sensors or tuple(sensor.name for sensor in plan.spec.sensors)
    picked = rng.choice(len(names), size=min(found.count, len(names)), replace=False)
    return tuple(names[at] for at in sorted(picked))
