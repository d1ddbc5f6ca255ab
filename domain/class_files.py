"""Class files: a machine class and how its machines behave, declared in TOML.

`docs/development.md` shows how to add a sensor or a failure mode. The files that ship with the
platform lie in `domain/classes`.
"""

import tomllib
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path

import msgspec

from domain.class_spec import (
    ClassSpec,
    Correlation,
    Effect,
    FailureMode,
    Regime,
    SensorSpec,
)
from domain.errors import BadInputError, NotFoundError
from domain.machines import MachineClass, Sensor

_SHIPPED = "domain.classes"
_AUX_R = 0.6
"""How closely the noise of a generated channel follows that of the sensor it was made from."""
_AUX_EFFECT = 0.5
"""How much of a failure's effect on a sensor reaches a channel generated from it."""


@dataclass(frozen=True, kw_only=True)
class ClassFile:
    """A class file that was read.

    Attributes:
        spec: Sensors with their signals, regimes and failure modes.
    """

    spec: ClassSpec

    @cached_property
    def machine_class(self) -> MachineClass:
        """What the rest of the platform needs to know of it."""
        return MachineClass(
            name=self.spec.name,
            sensors=tuple(
                Sensor(name=each.name, unit=each.unit, low=each.low, high=each.high)
                for each in self.spec.sensors
            ),
            period_s=self.spec.period_s,
            description=self.spec.description,
        )

    def with_sensors(self, count: int) -> "ClassFile":
        """Return the class with the first `count` sensors, or with generated ones beyond its own.

        A generated channel `flow.2` is a second probe beside `flow`: its noise follows that of the
        first, and half of every failure's effect reaches it. The name then carries the count, as
        in `pump-40`.

        Raises:
            BadInputError: The count is not 1 to 1000.
        """
        if not 1 <= count <= 1000:
            raise BadInputError(
                f"{count} sensors; 1 to 1000 are allowed", f"class {self.spec.name}"
            )
        if count == len(self.spec.sensors):
            return self
        return replace(self, spec=_resized(self.spec, count))


def shipped_classes() -> tuple[str, ...]:
    """Return the names of the classes that come with the platform."""
    names = (entry.name for entry in resources.files(_SHIPPED).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_class(name_or_path: str | Path) -> ClassFile:
    """Read a class file.

    Args:
        name_or_path: A shipped class, such as `pump`, or the path of a TOML file.

    Raises:
        NotFoundError: There is neither such a class nor such a file.
        BadInputError: The file breaks a rule; the message names file, key and what is allowed.
    """
    text, where = _text(name_or_path)
    try:
        spec = msgspec.convert(tomllib.loads(text), ClassSpec)
        file = ClassFile(spec=spec)
        _ = file.machine_class  # its own rules, such as names given twice, are checked here
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"it is not TOML: {error}", where) from error
    except msgspec.ValidationError as error:
        raise BadInputError(str(error), where, _allowed()) from error
    except BadInputError as error:
        raise BadInputError(error.what, f"{where}: {error.where}", error.hint) from error
    return file


def _text(name_or_path: str | Path) -> tuple[str, str]:
    if str(name_or_path) in shipped_classes():
        file = resources.files(_SHIPPED) / f"{name_or_path}.toml"
        return file.read_text("utf-8"), file.name
    path = Path(name_or_path)
    if not path.is_file():
        hint = f"Give the path of a TOML file or one of {', '.join(shipped_classes())}"
        raise NotFoundError("machine class", str(name_or_path), hint)
    try:
        return path.read_text("utf-8"), str(path)
    except UnicodeDecodeError as error:
        raise BadInputError("it is not UTF-8 text", str(path)) from error


def _allowed() -> str:
    sections = {
        "the file": ClassSpec,
        "a sensor": SensorSpec,
        "a regime": Regime,
        "a failure": FailureMode,
        "an effect": Effect,
        "a correlation": Correlation,
    }
    return "; ".join(
        f"{what} takes {', '.join(kind.__struct_fields__)}" for what, kind in sections.items()
    )


def _resized(spec: ClassSpec, count: int) -> ClassSpec:
    base = len(spec.sensors)
    # Channel at position `at` is probe number `at // base + 1` of sensor `at % base`.
    made = {at: f"{spec.sensors[at % base].name}.{at // base + 1}" for at in range(base, count)}
    sensors = spec.sensors[:count] + tuple(
        msgspec.structs.replace(spec.sensors[at % base], name=name) for at, name in made.items()
    )
    pairs = tuple(
        Correlation(between=(spec.sensors[at % base].name, name), r=_AUX_R)
        for at, name in made.items()
    )
    kept = {sensor.name for sensor in sensors}
    origin = {name: spec.sensors[at % base].name for at, name in made.items()}
    failures = {name: _fitted(mode, kept, origin) for name, mode in spec.failures.items()}
    return msgspec.structs.replace(
        spec,
        name=f"{spec.name}-{count}",
        sensors=sensors,
        correlations=(*(p for p in spec.correlations if kept.issuperset(p.between)), *pairs),
        failures={name: mode for name, mode in failures.items() if mode is not None},
    )


def _fitted(mode: FailureMode, kept: set[str], origin: dict[str, str]) -> FailureMode | None:
    """Return a mode for the sensors that are left; None if none of its sensors is."""
    effects = {name: effect for name, effect in mode.effects.items() if name in kept}
    for name, source in origin.items():
        if source in effects:
            effects[name] = _weaker(effects[source])
    sensors = tuple(name for name in mode.sensors if name in kept)
    if (mode.effects and not effects) or (mode.sensors and not sensors):
        return None
    return msgspec.structs.replace(mode, effects=effects, sensors=sensors)


def _weaker(effect: Effect) -> Effect:
    return Effect(
        shift=effect.shift * _AUX_EFFECT,
        factor=1 + (effect.factor - 1) * _AUX_EFFECT,
        noise=1 + (effect.noise - 1) * _AUX_EFFECT,
    )
