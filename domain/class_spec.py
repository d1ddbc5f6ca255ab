"""What a class file says about how its machines behave; read once, validated at birth."""

from collections.abc import Iterable
from math import inf, isfinite
from typing import Literal

import msgspec

type Shape = Literal["linear", "accelerating", "smooth", "step"]


class SensorSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One sensor and its healthy signal.

    Attributes:
        name: Unique within its class.
        unit: UCUM code.
        low: Smallest physically possible value.
        high: Largest physically possible value.
        level: Mean under load.
        sd: Short-term standard deviation under load; > 0. The yardstick of everything below.
        memory_s: Time constant of the noise, seconds; 0 makes it white.
        white: Share of the noise's variance that is white all the same; in [0, 1].
        quantum: Resolution of the sensor; 0 lets the least power of ten above sd / 100 stand.
        lag_s: Time constant with which the level follows a change of regime, seconds.
        drift: Healthy wandering of the level over hours, in sd.
        spread: Difference of the level from machine to machine, in sd.
        regimes: Regime → factor on the level; 1 where none is given.
    """

    name: str
    level: float
    sd: float
    unit: str = "1"
    low: float = -inf
    high: float = inf
    memory_s: float = 2.0
    white: float = 0.2
    quantum: float = 0.0
    lag_s: float = 1.0
    drift: float = 0.5
    spread: float = 1.0
    regimes: dict[str, float] = {}

    def __post_init__(self) -> None:
        _positive("sd", self.sd)
        for name in ("memory_s", "quantum", "lag_s", "drift", "spread"):
            _positive(name, getattr(self, name), zero=True)
        _share("white", self.white)
        if not self.low <= self.level <= self.high:
            raise ValueError(
                f"level {self.level} is not within low {self.low} and high {self.high}"
            )


class Regime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way of operating.

    Attributes:
        dwell_s: Mean seconds in it; > 0.
        spread: A stay lasts `dwell_s` times 1 ± spread, evenly; in [0, 1).
        effort: Factor on the effect of machine failures: what runs slowly suffers less.
        noise: Factor on the noise.
        next: Regime → weight with which it follows.
    """

    dwell_s: float
    spread: float = 0.5
    effort: float = 1.0
    noise: float = 1.0
    next: dict[str, float] = {}

    def __post_init__(self) -> None:
        _positive("dwell_s", self.dwell_s)
        _positive("effort", self.effort, zero=True)
        _positive("noise", self.noise, zero=True)
        _share("spread", self.spread)
        for name, weight in self.next.items():
            _positive(f"next.{name}", weight)


class Effect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fully developed failure of severity 1 does to one sensor.

    Attributes:
        shift: Added to the level, in sd.
        factor: Factor on the level.
        noise: Factor on the noise.
    """

    shift: float = 0.0
    factor: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        _positive("noise", self.noise, zero=True)
        if not (isfinite(self.shift) and isfinite(self.factor)):
            raise ValueError("shift and factor must be finite")


class FailureMode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way of failing.

    Attributes:
        description: One line for people.
        kind: `machine` changes signals; `stuck` and `dropout` are faults of a sensor.
        shape: How the effect grows from onset to full development.
        develop_s: Seconds from onset to full development; > 0.
        duration_s: Seconds from onset to repair; > 0.
        effects: Sensor → effect; for kind `machine`.
        sensors: The sensors that may be hit, for kinds `stuck` and `dropout`; any if empty.
        count: How many of them are hit at once; >= 1.
        residual: How far the level may lie elsewhere after the repair, in sd.
        weight: Relative frequency among scheduled failures; 0 schedules none.
    """

    description: str = ""
    kind: Literal["machine", "stuck", "dropout"] = "machine"
    shape: Shape = "linear"
    develop_s: float = 180.0
    duration_s: float = 480.0
    effects: dict[str, Effect] = {}
    sensors: tuple[str, ...] = ()
    count: int = 1
    residual: float = 0.5
    weight: float = 1.0

    def __post_init__(self) -> None:
        _positive("develop_s", self.develop_s)
        _positive("duration_s", self.duration_s)
        _positive("residual", self.residual, zero=True)
        _positive("weight", self.weight, zero=True)
        _positive("count", self.count)
        if bool(self.effects) != (self.kind == "machine"):
            raise ValueError(f"kind {self.kind!r} and effects do not go together")


class Correlation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the noise of two sensors goes together.

    Attributes:
        between: Two sensors.
        r: Correlation of their innovations; in (-1, 1).
    """

    between: tuple[str, str]
    r: float

    def __post_init__(self) -> None:
        if not -1 < self.r < 1:
            raise ValueError(f"r is {self.r}, allowed is -1 < r < 1")


class ClassSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole class file.

    Attributes:
        name: Of the machine class.
        sensors: In stored order.
        regimes: Name → regime; a machine begins in the first.
        failures: Name → failure mode.
        correlations: Of the sensors' noise.
        period_s: Nominal seconds between readings.
        description: One line for people.
    """

    name: str
    sensors: tuple[SensorSpec, ...]
    regimes: dict[str, Regime] = msgspec.field(
        default_factory=lambda: {"load": Regime(dwell_s=3600.0)}
    )
    failures: dict[str, FailureMode] = {}
    correlations: tuple[Correlation, ...] = ()
    period_s: float = 0.5
    description: str = ""

    def __post_init__(self) -> None:
        known = {sensor.name for sensor in self.sensors}
        if not self.regimes:
            raise ValueError("regimes is empty: give at least one")
        for sensor in self.sensors:
            _known(f"sensors.{sensor.name}.regimes", sensor.regimes, self.regimes)
        for name, regime in self.regimes.items():
            _known(f"regimes.{name}.next", regime.next, self.regimes)
        for name, mode in self.failures.items():
            _known(f"failures.{name}.effects", mode.effects, known)
            _known(f"failures.{name}.sensors", mode.sensors, known)
        for pair in self.correlations:
            _known("correlations.between", pair.between, known)

    def column(self, sensor: str) -> int:
        """Return where a sensor stands."""
        return next(at for at, each in enumerate(self.sensors) if each.name == sensor)


def _positive(name: str, value: float, *, zero: bool = False) -> None:
    if not (isfinite(value) and (value > 0 or (zero and value == 0))):
        raise ValueError(f"{name} is {value}, allowed is {'>=' if zero else '>'} 0")


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, allowed is 0 to 1")


def _known(where: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(allowed))
    if unknown:
        listed = ", ".join(sorted(allowed))
        raise ValueError(f"{where} names {', '.join(unknown)}; allowed are {listed}")
