"""How long a sweep takes: 24 trials over 8 machines, one hour at 2 Hz, 20 sensors.

    python benchmarks/sweep.py [--trials 24] [--machines 8] [--repeats 1]

PostgreSQL, Ray and MLflow's server are started for it and are not part of the time; the start of
the trials' actors, the read of the history, the logging to MLflow, the final fit, the gate and the
promotion are. The last line is one JSON object.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from domain.class_files import load_class
from domain.readings import ReadingBatch
from domain.simulation.fleet import Fleet
from ray_app import cluster
from ray_app.embedded import mlflow, postgres
from ray_app.embedded.ports import free_port
from ray_app.embedded.supervisor import Supervisor
from storage import offsets, roster_store
from storage.connect import session
from storage.migrate import upgrade
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tuning.settings import TuningSettings
from tuning.sweep import run_sweep

if TYPE_CHECKING:
    from tuning.outcome import SweepOutcome

_USER, _HOUR_US = "sensor_user", 3_600_000_000


def simulate(storage: StorageSettings, machines: int) -> int:
    """Store an hour of a healthy simulated fleet; return how many readings that is."""
    names = [f"pump-{number}" for number in range(machines)]
    start_us = 1_790_000_000_000_000
    fleet = Fleet.create(load_class("pump"), names, start_us=start_us, num_sensors=20)
    with session(storage) as on:
        roster_store.register_class(on, fleet.machine_class)
        known = roster_store.register_machines(on, names, fleet.machine_class.name)
    batches = tuple(
        ReadingBatch(
            machine_class=fleet.machine_class,
            machine_keys=np.full(len(one.values), known[names[one.machine]].key, dtype=np.int32),
            instants_us=one.instants_us,
            values=np.ascontiguousarray(one.values),
        )
        for one in fleet.advance(start_us + _HOUR_US)
    )
    topic = offsets.Topic(name="benchmark", id="benchmark")
    with ReadingStore.open(storage) as into:
        return into.write(
            StoreBatch(group_id="b", topic=topic, readings=batches, quarantined=(), steps=())
        ).stored


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--machines", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mwb-") as folder, Supervisor() as supervisor:
        home = Path(folder)
        server = postgres.start(supervisor, home / "pg")
        server.ensure(_USER, "sensor_data")
        storage = server.settings(_USER, "", "sensor_data")
        upgrade(storage)
        tracking = mlflow.begin(supervisor, home / "mlflow", None, port=free_port())
        readings = simulate(storage, given.machines)
        mlflow.wait(supervisor, tracking)
        settings = TuningSettings(tracking_uri=tracking, trials=given.trials)
        with cluster.local(home / "ray", dashboard_port=free_port()):
            outcomes: list[SweepOutcome] = []
            took = []
            for _ in range(given.repeats):
                began = time.monotonic()
                outcomes.append(run_sweep(storage, settings, say=print))
                took.append(time.monotonic() - began)
    print(
        json.dumps(
            {
                "readings": readings,
                "trials": outcomes[0].trials,
                "failed": outcomes[0].failed,
                "seconds": round(statistics.median(took), 1),
                "all_seconds": [round(one, 1) for one in took],
                "objective": round(outcomes[0].objective, 3),
                "champion": outcomes[0].spec.detector + "/" + outcomes[0].spec.features,
                "outcomes": [one.sentence() for one in outcomes],
            }
        )
    )


if __name__ == "__main__":
    main()
