"""A fleet that ran, failed and was repaired, stored for real with its labels."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from domain.class_files import load_class
from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.simulation.fleet import Fleet
from storage import failures, models, offsets, roster_store
from storage.connect import session
from storage.failures import Label
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tuning.drift import Reference

SENSORS = ("vibration", "current", "flow", "temperature")
PUMP = MachineClass(name="pump", sensors=tuple(Sensor(name=name) for name in SENSORS), period_s=20)
MACHINES = tuple(f"pump-{at}" for at in range(14))
STEP_US = 20_000_000
MINUTE_US = 60_000_000
HOURS = 7
LAST_US = round(datetime.now(UTC).timestamp() * 1e6) // MINUTE_US * MINUTE_US
START_US = LAST_US - HOURS * 3_600_000_000
_KINDS = {"bearing_wear": (6.0, 0.0, 0.0, 3.0), "cavitation": (1.0, 0.0, -6.0, 0.0)}
_WEAR_S = 5400.0


def history(at: int) -> tuple[History, Label]:
    """Return seven hours of a machine, and the failure that it comes to in them."""
    rng = np.random.default_rng(at)
    instants = START_US + np.arange(HOURS * 180, dtype=np.int64) * STEP_US
    kind = tuple(_KINDS)[at % 2]
    failed_us = START_US + round(rng.uniform(2.5, 5.5) * 3.6e9)
    onset_us, end_us = failed_us - round(_WEAR_S * 1e6), failed_us + 5 * MINUTE_US
    worn = np.clip((instants - onset_us) / (_WEAR_S * 1e6), 0, 1) * (instants < end_us)
    values = rng.normal(size=(len(instants), 4)) + worn[:, None] * np.array(_KINDS[kind])
    label = Label(
        machine=MACHINES[at],
        kind=kind,
        source="file",
        onset_us=onset_us,
        failed_us=failed_us,
        end_us=end_us,
    )
    return History(machine=MACHINES[at], instants_us=instants, values=values), label


def store(storage: StorageSettings, *, labels: bool = True) -> list[tuple[History, Label]]:
    """Register the fleet, store its readings and, unless told otherwise, its labels."""
    found = [history(at) for at in range(len(MACHINES))]
    write(storage, PUMP, [one for one, _ in found])
    if labels:
        with session(storage) as on:
            failures.add(on, [label for _, label in found])
    return found


def write(storage: StorageSettings, kind: MachineClass, histories: list[History]) -> None:
    """Register machines and store their readings."""
    with session(storage) as on:
        roster_store.register_class(on, kind)
        machines = roster_store.register_machines(on, [h.machine for h in histories], kind.name)
    batches = tuple(
        ReadingBatch(
            machine_class=kind,
            machine_keys=np.full(len(one), machines[one.machine].key, dtype=np.int32),
            instants_us=one.instants_us,
            values=one.values,
        )
        for one in histories
    )
    topic = offsets.Topic(name="history", id="history")
    with ReadingStore.open(storage) as into:
        into.write(
            StoreBatch(group_id="test", topic=topic, readings=batches, quarantined=(), steps=())
        )


def champion(
    storage: StorageSettings,
    histories: list[History],
    kind: MachineClass = PUMP,
    **about: object,
) -> None:
    """Make a champion that learnt the first hour, and says `about` of itself."""
    early = [
        History(
            machine=one.machine, instants_us=one.instants_us[:180], values=one.values[:180]
        )
        for one in histories
    ]  # fmt: skip
    spec = PipelineSpec(detector="pca", window_s=200.0, regimes=1)
    fitted = Pipeline.fit(spec, early, kind, seed=0)
    drift = Reference.of(np.concatenate([one.values for one in early])).to_json()
    package = replace(fitted, about={**fitted.about, "drift": drift, **about}).to_package()
    stored = models.StoredModel(
        machine_class=kind.name,
        version=1,
        run_id="",
        sha256=hashlib.sha256(package).hexdigest(),
        package=package,
        params={"to_us": max(int(one.instants_us[-1]) for one in early)},
    )
    with session(storage) as on:
        models.add_version(on, stored, actor="test", reason="trained")
        models.promote(on, kind.name, 1, actor="test", reason="to be used")


FANS = tuple(f"wind-{at}" for at in range(12))


def simulated(storage: StorageSettings) -> tuple[Label, ...]:
    """Store six hours of simulated fans that wear for an hour and fail, and make a champion.

    Returns:
        The simulator's truth as an operator would report it; it is not recorded.
    """
    start_us = LAST_US - 6 * 3_600_000_000
    fleet = Fleet.create(load_class("fan"), FANS, start_us=start_us, period_s=20.0, seed=5)
    modes = [mode for mode in fleet.modes if not mode.startswith("sensor_")]
    rng = np.random.default_rng(5)
    for at, name in enumerate(FANS):
        fleet.inject(
            name,
            modes[at % 2],
            onset_us=start_us + round(rng.uniform(2, 4) * 3.6e9),
            develop_s=3600,
            duration_s=3900,
            severity=1.5,
        )
    found = [
        History(machine=fleet.names[at], instants_us=instants, values=values)
        for at, instants, values in fleet.advance(LAST_US)
    ]
    write(storage, fleet.machine_class, found)
    champion(storage, found, fleet.machine_class)
    return tuple(
        Label(
            machine=one.machine,
            kind=one.kind,
            source="operator",
            onset_us=one.onset_us,
            failed_us=one.onset_us + round(one.develop_s * 1e6),
            end_us=one.end_us,
        )
        for one in fleet.truth()
    )
