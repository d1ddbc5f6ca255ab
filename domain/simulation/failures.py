"""Failures: when they begin, how they grow, what they do to a signal, what a repair leaves."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.class_spec import ClassSpec, FailureMode, Shape
from domain.readings import Instants, Matrix
from domain.simulation.signal import Row

_REPAIR_US = 20_000_000
"""A repaired machine reaches its new level within 20 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure as it truly was; told apart from the stream.

    Attributes:
        machine: The machine's name.
        kind: Name of the failure mode.
        onset_us: First instant of it, microseconds UTC.
        end_us: The repair, microseconds UTC.
        severity: Factor on the mode's effects.
        sensors: What it touches.
        develop_s: Seconds from onset to full development.
        nth: How many of its kind its machine was given before it; what is random about it comes
            from that, and not from when it begins.
    """

    machine: str
    kind: str
    onset_us: int
    end_us: int
    severity: float
    sensors: tuple[str, ...]
    develop_s: float
    nth: int = 0


class Course:
    """A failure at work on the signal of its machine."""

    def __init__(
        self, spec: ClassSpec, failure: Failure, levels: Row, rng: np.random.Generator
    ) -> None:
        self.failure, self._mode = failure, spec.failures[failure.kind]
        count = len(spec.sensors)
        effects = [self._mode.effects.get(sensor.name) for sensor in spec.sensors]
        sd = np.array([sensor.sd for sensor in spec.sensors])
        shift = np.array([effect.shift if effect else 0.0 for effect in effects])
        factor = np.array([effect.factor if effect else 1.0 for effect in effects])
        noise = np.array([effect.noise if effect else 1.0 for effect in effects])
        touched = np.array([effect is not None for effect in effects])
        self._shift = failure.severity * (shift * sd + (factor - 1) * levels)
        self._noise = failure.severity * (noise - 1)
        self._residual = touched * sd * self._mode.residual * rng.standard_normal(count)
        self._columns = [spec.column(name) for name in failure.sensors]
        self._held: Row | None = None

    def disturb(self, instants_us: Instants, mean: Matrix, noise: Matrix, effort: Row) -> None:
        """Change a machine's signal in place, as far as this is a failure of the machine.

        Args:
            instants_us: Shape (n,).
            mean: Shape (n, sensors).
            noise: Shape (n, sensors).
            effort: Shape (n,).
        """
        if self._mode.kind != "machine" or instants_us[-1] < self.failure.onset_us:
            return
        healed = np.clip((instants_us - self.failure.end_us) / _REPAIR_US, 0.0, 1.0)
        grown = development(self.failure, self._mode, instants_us)
        # Until full health is back, what was broken fades; the residual takes its place.
        active = (grown * effort * (1 - healed))[:, None]
        mean += active * self._shift + healed[:, None] * self._residual
        noise *= np.maximum(1 + active * self._noise, 0.0)

    def falsify(self, instants_us: Instants, values: Matrix, before: Row) -> None:
        """Change what the sensors say in place, as far as this is a failure of a sensor.

        Args:
            instants_us: Shape (n,).
            values: Shape (n, sensors), as the sensors would say.
            before: Shape (sensors,), what they said last; NaN before the first reading.
        """
        hit = (instants_us >= self.failure.onset_us) & (instants_us < self.failure.end_us)
        if self._mode.kind == "machine" or not hit.any():
            return
        columns = self._columns
        if self._mode.kind == "dropout":
            values[np.ix_(hit, columns)] = np.nan
            return
        if self._held is None:
            first = int(np.argmax(hit))
            last = values[first - 1] if first else before
            held = np.where(np.isfinite(last), last, values[first])
            self._held = held[columns]
        values[np.ix_(hit, columns)] = self._held


def development(failure: Failure, mode: FailureMode, instants_us: Instants) -> Row:
    """Return how far a failure has developed, 0 before its onset, 1 when full; shape (n,).

    Args:
        failure: When it began, and how fast it goes.
        mode: Its shape.
        instants_us: Shape (n,).
    """
    age = (instants_us - failure.onset_us) / (failure.develop_s * 1e6)
    return _grow(mode.shape, np.clip(age, 0.0, 1.0), instants_us >= failure.onset_us)


def _grow(shape: Shape, age: Row, begun: npt.NDArray[np.bool_]) -> Row:
    match shape:
        case "linear":
            return age
        case "accelerating":
            return age * age
        case "smooth":
            return age * age * (3 - 2 * age)
        case _:  # step
            return begun.astype(np.float64)
