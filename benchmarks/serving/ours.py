"""Millwright as it is deployed, with a database of its own.

    python -m benchmarks.serving.ours PACKAGES HOME

PACKAGES is a folder with two models; the first becomes the champion. Prints the URL, then promotes
the other one for every line of its input, and runs until that ends.
"""

import hashlib
import os
import sys
from pathlib import Path

from benchmarks.serving import model
from ray_app import cluster, front, serving
from ray_app.embedded import postgres
from ray_app.embedded.supervisor import Supervisor
from storage import models, roster_store
from storage.connect import session
from storage.migrate import upgrade
from storage.settings import StorageSettings


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
            sys.stdout.write(f"{url}\n")
            sys.stdout.flush()
            for number, _ in enumerate(sys.stdin):
                promote(storage, 2 - number % 2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
