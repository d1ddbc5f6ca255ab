"""Learn a class's risk from what is stored of it and from the failures that are known.

1. Read the steps of every machine over the whole lookback, the labels, and when people said that
   a machine was repaired.
2. Fit risk, trend and modes; restore the package once, so that none is stored that cannot be read.
3. Store it: predictors and scorers swap to it within a second.
"""

import hashlib
from dataclasses import dataclass

from domain.risk.class_risk import ClassRisk
from domain.risk.steps import Event, step_us
from storage import failures, risk_models, steps
from storage.care import words
from storage.connect import Connection, session
from storage.history import latest_instants
from storage.settings import StorageSettings
from tuning import data

_LOOKBACK_US = 90 * 86_400_000_000
"""Failures are rare: three months of minutes, where there are so many."""

_MOST_STEPS = 2_000_000
"""Of all machines together: 20 sensors of so many steps are 320 MB."""

_SENSOR_FAULT = "sensor_"
"""A label of this beginning says that a sensor is broken, and nothing of its machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskOutcome:
    """What was learnt.

    Attributes:
        machine_class: Of which class.
        version: Number it is stored under.
        lives: Lives it was learnt from.
        failures: Those that ended in a failure.
        horizons: Horizons with a probability.
        lacking: Horizon → why it has none.
        modes: Names of the failure modes.
    """

    machine_class: str
    version: int
    lives: int
    failures: int
    horizons: tuple[str, ...]
    lacking: dict[str, str]
    modes: tuple[str, ...]

    def sentence(self) -> str:
        """Return the outcome for people."""
        told = ", ".join(self.horizons) or "no probability, the trend of health only"
        return (
            f"risk of {self.machine_class} version {self.version}, {self.failures} failures in "
            f"{self.lives} lives: {told}; {len(self.modes)} failure modes"
        )


def train(storage: StorageSettings, machine_class: str, *, seed: int = 0) -> RiskOutcome:
    """Learn and store the risk of one class.

    Raises:
        NotFoundError: There is no such class.
        BadInputError: There is too little history.
        ServiceUnavailableError: Postgres is away.
    """
    with session(storage) as on:
        labels = _fingerprint(on, machine_class)
        made = learn(on, machine_class, seed=seed)
    package = made.to_package()
    ClassRisk.from_package(package, f"risk of {machine_class}")
    with session(storage) as on:
        version = risk_models.add(
            on,
            machine_class,
            package,
            labels=labels,
            facts={**made.facts, "lacking": dict(made.lacking)},
            modes=made.modes.to_json(),
        )
    return RiskOutcome(
        machine_class=machine_class,
        version=version,
        lives=made.facts["lives"],
        failures=made.facts["failures"],
        horizons=tuple(made.models),
        lacking=dict(made.lacking),
        modes=tuple(mode.name for mode in made.modes.modes),
    )


def learn(on: Connection, machine_class: str, *, seed: int) -> ClassRisk:
    """Read and fit, without storing."""
    kind = data.machine_class(on, machine_class)
    names = data.machines_of(on, machine_class)
    newest = latest_instants(on, names) if names else {}
    length = step_us(kind.period_s)
    if not newest:
        return ClassRisk.fit(kind, [], [], seed=seed)
    end_us = max(newest.values()) + 1
    start_us = max(0, end_us - min(_LOOKBACK_US, _MOST_STEPS // len(newest) * length))
    histories = steps.read(on, sorted(newest), start_us, end_us, step_us=length)
    said, found = words(on, names), events(on, names, end_us)
    return ClassRisk.fit(kind, histories, found, seed=seed, words=said)


def events(on: Connection, machines: list[str], end_us: int) -> list[Event]:
    """Return the failures of machines that happened before an instant, as risk counts them.

    Faults of sensors are left out; of two labels of one failure that overlap the first counts.
    """
    found: list[Event] = []
    last: dict[str, int] = {}
    for label in failures.listed(on, machines=machines, end_us=end_us):
        failed_us = label.onset_us if label.failed_us is None else label.failed_us
        over = label.onset_us <= last.get(label.machine, -1)
        if label.kind.startswith(_SENSOR_FAULT) or failed_us >= end_us or over:
            continue
        last[label.machine] = failed_us if label.end_us is None else label.end_us
        found.append(
            Event(
                machine=label.machine,
                kind=label.kind,
                onset_us=label.onset_us,
                failed_us=failed_us,
                ended_us=label.end_us,
            )
        )
    return found


def is_behind(on: Connection, machine_class: str) -> bool:
    """Say whether labels or words of repairs changed since the risk of a class was learnt."""
    wanted = _fingerprint(on, machine_class)
    known = risk_models.current(on, machine_class)
    return bool(wanted) and (not known or known[0].labels != wanted)


def _fingerprint(on: Connection, machine_class: str) -> str:
    """Return what changes with labels and with words of repairs; empty without labels."""
    labels = failures.fingerprint(on, machine_class)
    names = data.machines_of(on, machine_class) if labels else []
    said = words(on, names) if names else {}
    if not said:
        return labels
    return hashlib.sha256(repr((labels, sorted(said.items()))).encode()).hexdigest()[:16]
