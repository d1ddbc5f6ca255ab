"""What a process that scores knows at one moment: machines, champions, what is their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from domain.care import NO_CARE, Care
from domain.errors import NoChampionError
from domain.pipeline import Pipeline
from domain.risk.class_risk import ClassRisk
from domain.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Champion:
    """A model that may score.

    Attributes:
        machine_class: The class it judges.
        version: Its version in the registry.
        sha256: Checksum of its package.
        pipeline: The loaded model; shared, it keeps no state of its own.
        risk: The class's risk model, loaded and verified beside it; None without one.
    """

    machine_class: str
    version: int
    sha256: str
    pipeline: Pipeline
    risk: ClassRisk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is loaded at one moment; replaced as a whole, never changed.

    Attributes:
        roster: Machines and classes.
        champions: Machine class to champion.
        care: Machine to what is its own: limits that feedback moved, maintenance.
        challengers: Machine class to the version that scores in shadow; only where asked for.
    """

    roster: Roster = field(default_factory=Roster)
    champions: Mapping[str, Champion] = field(default_factory=lambda: MappingProxyType({}))
    care: Mapping[str, Care] = field(default_factory=lambda: MappingProxyType({}))
    challengers: Mapping[str, Champion] = field(default_factory=lambda: MappingProxyType({}))

    def care_of(self, machine: str | None) -> Care:
        """Return what is a machine's own; nothing of one that is not registered."""
        return self.care.get(machine or "", NO_CARE)

    def champion(self, machine_class: str) -> Champion:
        """Return a class's champion.

        Raises:
            NoChampionError: None is promoted, or none that could be loaded.
        """
        found = self.champions.get(machine_class)
        if found is None:
            raise NoChampionError(machine_class)
        return found
