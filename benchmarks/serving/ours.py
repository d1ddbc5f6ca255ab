"""Millwright as it is deployed, with a database of its own.

    python -m benchmarks.serving.ours PACKAGES HOME

PACKAGES is a folder with two models; the first becomes the champion. Prints the URL, then does what
each line of its input says, and runs until that ends.
"""

import hashlib
import os
import sys
import threading
from pathlib import Path

import numpy as np

from benchmarks.serving import model
from domain.readings import History
from ray_app import cluster, front, serving
from ray_app.embedded import postgres
from ray_app.embedded.supervisor import Supervisor
from storage import models, roster_store
from storage.connect import session
from storage.migrate import upgrade
from storage.settings import StorageSettings

_TRIALS = 200
"""More than end while anybody measures."""


def store(storage: StorageSettings, packages: list[bytes]) -> None:
    """Store the class and its models, and promote the first."""
    with session(storage) as on:
        roster_store.register_class(on, model.CLASS)
        for version, package in enumerate(packages, 1):
            stored = models.StoredModel(
                machine_class=model.CLASS.name,
                version=version,
                run_id="benchmark",
                sha256=hashlib.sha256(package).hexdigest(),
                package=package,
                metrics={},
                params={},
            )
            models.add_version(on, stored, actor="benchmark", reason="trained")
    promote(storage, 1)


def promote(storage: StorageSettings, version: int) -> None:
    """Make a version the champion."""
    with session(storage) as on:
        models.promote(on, model.CLASS.name, version, actor="benchmark", reason="measured")


def obey(storage: StorageSettings) -> None:
    """Do what each line of the input says, until it ends: `next` promotes, `sweep` sweeps."""
    version = 1
    for line in sys.stdin:
        if line.strip() == "sweep":
            threading.Thread(target=sweep, daemon=True).start()
        else:
            version = 3 - version
            promote(storage, version)


def sweep() -> None:
    """Try configurations as a sweep does, on the cluster that serves; say when trials run."""
    # Not before the cluster: it imports Ray, which reads its token at that time.
    from tuning.data import Dataset
    from tuning.search import search
    from tuning.settings import TuningSettings

    instants = 1_750_000_000_000_000 + np.arange(3600, dtype=np.int64) * 500_000
    histories = tuple(
        History(machine=f"m{number}", instants_us=instants, values=model.rows(3600, number))
        for number in range(8)
    )
    dataset = Dataset(machine_class=model.CLASS, histories=histories)
    told: list[object] = []

    def tell(record: object) -> None:
        if not told:
            say("sweeping")
        told.append(record)

    search(dataset, TuningSettings(tracking_uri="", trials=_TRIALS), tell)
    say("swept")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(packages: Path, home: Path) -> None:
    """Serve until the input ends."""
    with Supervisor() as supervisor, front.prepared():
        server = postgres.start(supervisor, home / "pg")
        server.ensure("sensor_user", "serving")
        storage = server.settings("sensor_user", "", "serving")
        upgrade(storage)
        store(storage, [path.read_bytes() for path in sorted(packages.glob("*.model"))])
        os.environ |= {
            "MILLWRIGHT_HOME": str(home),
            "POSTGRES_HOST": storage.host,
            "POSTGRES_PORT": str(storage.port),
            "POSTGRES_USER": storage.user,
            "POSTGRES_DB": storage.database,
        }
        with cluster.local(home, dashboard_port=front.quiet_ports(1)[0]) as ray:
            url = serving.deploy(ray.dashboard, host="127.0.0.1", port=front.quiet_ports(1)[0])
            serving.wait(ray.dashboard, url)
            say(url)
            obey(storage)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
