"""Who is known: machines by name, classes by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from domain.errors import BadInputError
from domain.machines import Machine, MachineClass


@dataclass(frozen=True, kw_only=True, eq=False)
class Roster:
    """The machines and classes of a fleet at one moment; never changed, only replaced.

    Attributes:
        classes: Class name → class.
        machines: Machine name → machine; its class is in `classes`.
    """

    classes: Mapping[str, MachineClass] = field(default_factory=dict)
    machines: Mapping[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for machine in self.machines.values():
            if machine.machine_class not in self.classes:
                raise BadInputError(
                    f"class {machine.machine_class!r} is not registered", f"machine {machine.name}"
                )

    @classmethod
    def of(cls, classes: Iterable[MachineClass], machines: Iterable[Machine] = ()) -> Self:
        """Build a roster; a later entry of a name replaces an earlier one.

        Raises:
            BadInputError: A machine's class is not among the classes.
        """
        return cls(
            classes={each.name: each for each in classes},
            machines={each.name: each for each in machines},
        )

    def with_class(self, machine_class: MachineClass) -> Self:
        """Return a roster that also knows this class, in place of one of the same name."""
        return type(self)(
            classes={**self.classes, machine_class.name: machine_class}, machines=self.machines
        )

    def with_machines(self, machines: Iterable[Machine]) -> Self:
        """Return a roster that also knows these machines, in place of those of the same name.

        Raises:
            BadInputError: A machine's class is not registered.
        """
        return type(self)(
            classes=self.classes,
            machines={**self.machines, **{each.name: each for each in machines}},
        )

    def class_of(self, machine: Machine) -> MachineClass:
        """Return the class of a machine of this roster."""
        return self.classes[machine.machine_class]

    def match_class(self, sensor_names: Iterable[str]) -> MachineClass | None:
        """Return the one class that has exactly these sensors, in any order.

        None where no class has them, or more than one: then nobody can say which was meant.
        """
        match self._by_sensors.get(frozenset(sensor_names), ()):
            case (only,):
                return only
            case _:
                return None

    @cached_property
    def by_key(self) -> dict[int, Machine]:
        """`Machine.key` → machine."""
        return {machine.key: machine for machine in self.machines.values()}

    @cached_property
    def _by_sensors(self) -> dict[frozenset[str], tuple[MachineClass, ...]]:
        found: dict[frozenset[str], tuple[MachineClass, ...]] = {}
        for each in self.classes.values():
            sensors = frozenset(each.sensor_names)
            found[sensors] = (*found.get(sensors, ()), each)
        return found
