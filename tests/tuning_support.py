"""A small fleet's healthy history, stored for real."""

from collections.abc import Sequence

import numpy as np

from domain.machines import MachineClass, Sensor
from domain.readings import Matrix, ReadingBatch
from storage import offsets, roster_store
from storage.connect import session
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings

START_US = 1_790_000_000_000_000
SENSORS = ("vibration", "current", "flow", "temperature", "pressure")
FAN = MachineClass(name="fan", sensors=tuple(Sensor(name=name) for name in SENSORS), period_s=0.5)


def values(machine: int, rows: int, seed: int = 0) -> Matrix:
    """Return healthy values: sensors that follow a slowly changing load, a level per machine."""
    rng = np.random.default_rng([seed, machine])
    load = np.sin(np.arange(rows) / 15 + rng.uniform(0, 6))
    level = rng.normal(0, 0.3, len(SENSORS))
    gain = np.array([0.1, 0.4, 1.0, 0.2, 0.05])
    drawn: Matrix = level + load[:, None] * gain + rng.normal(0, 0.2, (rows, len(SENSORS)))
    return drawn


def store(
    storage: StorageSettings,
    names: Sequence[str] = ("fan-1", "fan-2"),
    rows: int = 1200,
    *,
    kind: MachineClass = FAN,
    start_us: int = START_US,
    seed: int = 0,
    moved: float = 0.0,
) -> None:
    """Register a class with machines and store readings of each at 2 Hz, all values moved."""
    with session(storage) as on:
        roster_store.register_class(on, kind)
        machines = roster_store.register_machines(on, names, kind.name)
    instants = start_us + np.arange(rows, dtype=np.int64) * 500_000
    batches = tuple(
        ReadingBatch(
            machine_class=kind,
            machine_keys=np.full(rows, machines[name].key, dtype=np.int32),
            instants_us=instants,
            values=np.ascontiguousarray(values(at, rows, seed)[:, : len(kind.sensors)]) + moved,
        )
        for at, name in enumerate(names)
    )
    topic = offsets.Topic(name="history", id="history")
    with ReadingStore.open(storage) as into:
        into.write(
            StoreBatch(group_id="test", topic=topic, readings=batches, quarantined=(), steps=())
        )
