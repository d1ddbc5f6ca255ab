"""What a sweep learns from: the newest healthy history of one machine class."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.anew import since_last
from domain.clean_training import Unusual, Vouched, clean
from domain.errors import BadInputError, NotFoundError
from domain.machines import MachineClass
from domain.readings import History, Instants, within
from storage import roster_store
from storage.care import words
from storage.connect import Connection
from storage.history import latest_instants, read_history
from storage.suspicion import Suspicion, suspected, vouched

_FEWEST_ROWS = 50
"""A machine with fewer healthy readings than this says nothing about its class."""

_SETTLED_S = 900.0
"""A machine that was repaired teaches its new level when it has run so long since; until then it is
left out, and the level that the scorers learn from the word on is the better one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is asked for.

    Attributes:
        lookback_s: Seconds of history before the newest reading of the class.
        margin_s: Seconds before and after a suspected failure that are left out with it.
        min_rows: Fewest healthy readings worth a sweep, all machines together.
        max_rows: Most readings that are kept, all machines together.
    """

    lookback_s: float
    margin_s: float
    min_rows: int
    max_rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Healthy history of one class.

    Attributes:
        machine_class: What the columns are.
        histories: One per machine, at least one.
        excluded: Readings that were left out because a failure was suspected, or the machine was
            repaired since and its level learnt anew.
        vouched: What a person called healthy of it.
        unusual: Stretches that `cleaned` left out.
    """

    machine_class: MachineClass
    histories: tuple[History, ...]
    excluded: int = 0
    vouched: Vouched = field(default_factory=dict)
    unusual: tuple[Unusual, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.histories))

    @property
    def period_us(self) -> tuple[int, int]:
        """First and last instant, microseconds UTC."""
        return (
            min(int(one.instants_us[0]) for one in self.histories),
            max(int(one.instants_us[-1]) for one in self.histories),
        )

    def cleaned(self, *, seed: int) -> Self:
        """Return it without stretches that stand far out, see `domain.clean_training`."""
        found = clean(self.histories, self.machine_class, seed=seed, vouched=self.vouched)
        return replace(self, histories=found.histories, unusual=found.unusual)

    def newest(self, rows: int, *, machines: int | None = None) -> Self:
        """Return a part: the newest readings of machines spread evenly over the fleet.

        Args:
            rows: At most so many, shared evenly by the machines.
            machines: At most so many machines; all by default.
        """
        count = min(len(self.histories), machines or len(self.histories))
        places = np.linspace(0, len(self.histories) - 1, count).round().astype(int)
        each = max(1, rows // count)
        return replace(self, histories=tuple(_last(self.histories[at], each) for at in places))


def machine_class(on: Connection, name: str) -> MachineClass:
    """Return a registered class.

    Raises:
        NotFoundError: There is none of this name.
    """
    for one in roster_store.load_classes(on):
        if one.name == name:
            return one
    raise NotFoundError("machine class", name, "`millwright sweep run` without a class takes all")


def classes_with_machines(on: Connection) -> tuple[str, ...]:
    """Return the names of classes that have at least one machine, sorted."""
    machines = roster_store.load(on).machines
    return tuple(sorted({one.machine_class for one in machines.values()}))


def read(on: Connection, class_name: str, wanted: Selection) -> Dataset:
    """Read the newest healthy history of a class.

    Raises:
        NotFoundError: The class is not registered.
        BadInputError: There is too little of it; the message says how much there is.
    """
    kind = machine_class(on, class_name)
    names = machines_of(on, class_name)
    newest = latest_instants(on, names) if names else {}
    if not newest:
        raise _too_little(class_name, 0, 0, 0, wanted)
    end_us = max(newest.values()) + 1
    start_us = end_us - round(wanted.lookback_s * 1e6)
    periods, said = suspected(on, names, start_us, end_us), words(on, names)
    each = max(_FEWEST_ROWS, wanted.max_rows // len(newest))
    found, kept = 0, []
    for name in sorted(newest):
        # One machine at a time: what is too much is dropped before the next is read.
        whole = read_history(on, [name], start_us, end_us)[0]
        found += len(whole)
        whole = since_last(whole, said.get(name, ()), settled_s=_SETTLED_S)
        kept.append(
            without(whole, (one for one in periods if one.machine == name), wanted.margin_s)
        )
    healthy = sum(map(len, kept))
    histories = tuple(_last(one, each) for one in kept if len(one) >= _FEWEST_ROWS)
    if sum(map(len, histories)) < wanted.min_rows:
        raise _too_little(class_name, found, len(newest), found - healthy, wanted)
    return Dataset(
        machine_class=kind,
        histories=histories,
        excluded=found - healthy,
        vouched=vouched(on, names, start_us, end_us),
    )


def machines_of(on: Connection, class_name: str) -> list[str]:
    """Return the names of a class's machines, sorted."""
    machines = roster_store.load(on).machines.values()
    return sorted(one.name for one in machines if one.machine_class == class_name)


def unsuspected(
    instants_us: Instants, periods: Iterable[Suspicion], margin_s: float
) -> npt.NDArray[np.bool_]:
    """Return which instants are outside of suspected periods and of a margin around each."""
    margin_us = round(margin_s * 1e6)
    newest_us = int(instants_us.max(initial=0))
    return ~within(
        instants_us,
        (
            (one.from_us - margin_us, newest_us if one.to_us is None else one.to_us + margin_us)
            for one in periods
        ),
    )


def without(history: History, periods: Iterable[Suspicion], margin_s: float) -> History:
    """Return a history without suspected periods and a margin around each."""
    return history.without(~unsuspected(history.instants_us, periods, margin_s))


def _last(history: History, rows: int) -> History:
    if len(history) <= rows:
        return history
    return History(
        machine=history.machine,
        instants_us=history.instants_us[-rows:].copy(),
        values=history.values[-rows:].copy(),
    )


def _too_little(
    name: str, found: int, machines: int, excluded: int, wanted: Selection
) -> BadInputError:
    lost = f", {excluded} of them near suspected failures or before a repair" if excluded else ""
    return BadInputError(
        f"{found} readings of {machines} machines in the last {wanted.lookback_s / 3600:g} h"
        f"{lost}; a sweep needs at least {wanted.min_rows} healthy ones, {_FEWEST_ROWS} of each "
        "machine",
        f"class {name}",
        "Let the machines run longer, raise TRAINING_LOOKBACK_HOURS, or bring a history with "
        "`millwright replay FILE`",
    )
