"""Machines, their classes and their sensors."""

import re
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite

from domain.errors import BadInputError

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""Names of machines, classes and sensors: they become topic keys, labels and URL parts."""


def checked_name(kind: str, name: str) -> str:
    """Return `name` if it can be a name.

    Raises:
        BadInputError: It is empty, too long or has other characters than `A-Za-z0-9._:-`.
    """
    if NAME_PATTERN.fullmatch(name) is None:
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise BadInputError(
            f"{shown!r} cannot name a {kind}",
            kind,
            "Use 1-128 of A-Z, a-z, 0-9, '.', '_', ':' and '-', beginning with a letter or digit",
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One measured quantity of a machine.

    Attributes:
        name: Unique within its class.
        unit: UCUM code, such as `mm/s`, `Cel`, `A`.
        low: Smallest physically possible value, in `unit`.
        high: Largest physically possible value, in `unit`.
    """

    name: str
    unit: str = "1"
    low: float = -inf
    high: float = inf

    def __post_init__(self) -> None:
        checked_name("sensor", self.name)
        if not self.low < self.high:
            raise BadInputError(
                f"low {self.low} is not below high {self.high}", f"sensor {self.name}"
            )


@dataclass(frozen=True, kw_only=True)
class MachineClass:
    """Machines that carry the same sensors and are judged by the same model.

    Attributes:
        name: Unique; also the name of its registered model.
        sensors: In the order in which values are stored; 1 to 1000.
        period_s: Nominal seconds between two readings; > 0.
        description: One line for people.
    """

    name: str
    sensors: tuple[Sensor, ...]
    period_s: float = 0.5
    description: str = ""

    def __post_init__(self) -> None:
        checked_name("machine class", self.name)
        names = [sensor.name for sensor in self.sensors]
        if not 1 <= len(names) <= 1000:
            raise BadInputError(
                f"{len(names)} sensors; 1 to 1000 are allowed", f"class {self.name}"
            )
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise BadInputError(f"sensors named twice: {', '.join(twice)}", f"class {self.name}")
        if not (self.period_s > 0 and isfinite(self.period_s)):
            raise BadInputError(f"period_s is {self.period_s}, must be > 0", f"class {self.name}")

    @cached_property
    def sensor_names(self) -> tuple[str, ...]:
        """Names in stored order."""
        return tuple(sensor.name for sensor in self.sensors)

    @cached_property
    def position(self) -> dict[str, int]:
        """Sensor name → column."""
        return {name: column for column, name in enumerate(self.sensor_names)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of a fleet.

    Attributes:
        key: Its number in Postgres; what rows and columns carry.
        name: Its name on the wire and for people.
        machine_class: Name of its class.
    """

    key: int
    name: str
    machine_class: str
