"""Where it all runs: a broker and a server of our own, a database for each measurement."""

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from benchmarks.intake import workload
from ingestion.kafka import ensure_topic
from ingestion.settings import KafkaSettings
from ray_app.embedded import kafka as kafka_service
from ray_app.embedded import postgres as postgres_service
from ray_app.embedded.supervisor import Supervisor
from storage import history, roster_store
from storage.connect import rows, session
from storage.migrate import upgrade
from storage.settings import StorageSettings

ROOT = Path(__file__).parents[2]
"""From here `python -m benchmarks.intake` finds everything."""

USER = "sensor_user"
_TEMPLATE = "bench_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Running services.

    Attributes:
        kafka: Address of the broker.
        server: The Postgres server.
        address: IP address at which it listens for who cannot use a Unix socket.
        folder: For files; goes away at the end.
    """

    kafka: str
    server: postgres_service.Server
    address: str
    folder: Path

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Start the services, and stop and remove them at the end."""
        folder = Path(tempfile.mkdtemp(prefix="mw-"))
        try:
            with Supervisor() as supervisor:
                address = _own_address()
                server = postgres_service.start(
                    supervisor, folder / "pg", options={"listen_addresses": address}
                )
                kafka = kafka_service.start(supervisor, folder / "kafka")
                site = cls(kafka=kafka, server=server, address=address, folder=folder)
                site._make_template()
                yield site
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def database(self) -> StorageSettings:
        """Make a database with our tables and the machines of the workload, without readings."""
        name = f"bench_{uuid.uuid4().hex[:8]}"
        self.server.sql(
            "SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE %I', :'name', :'owner', :'from')"
            " \\gexec\n",
            name=name,
            owner=USER,
            **{"from": _TEMPLATE},
        )
        return self.server.settings(USER, "", name)

    def drop(self, storage: StorageSettings) -> None:
        """Remove a database: what is measured next finds the disk as this one found it."""
        self.server.sql(
            "SELECT format('DROP DATABASE %I WITH (FORCE)', :'name') \\gexec\nCHECKPOINT;\n",
            name=storage.database,
        )

    @contextmanager
    def fresh(self) -> Iterator[StorageSettings]:
        """Make a database for one measurement."""
        storage = self.database()
        try:
            yield storage
        finally:
            self.drop(storage)

    def topic(self, name: str) -> KafkaSettings:
        """Make a topic with six partitions, and settings with a group of their own for it."""
        settings = KafkaSettings(bootstrap_servers=self.kafka, topic=name, group_id=name)
        ensure_topic(settings)
        return settings

    def psql_s(self, storage: StorageSettings, command: str) -> float:
        """Return the seconds that psql says one command took, without its own start."""
        said = self.server.sql(f"\\c {storage.database}\n\\timing on\n{command}\n")
        found = re.findall(r"Time: ([\d.]+) ms", said)
        if len(found) != 1:
            raise ValueError(f"psql gave no time: {said!r}")
        return float(found[0]) / 1000

    def busy_s(self) -> dict[str, float]:
        """Return the processor seconds of Kafka and PostgreSQL so far, ended children included."""
        found = {"kafka": 0.0, "postgres": 0.0}
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or ())
            for name, folder in (("kafka", "kafka"), ("postgres", "pg")):
                if f"{self.folder}/{folder}" in command:
                    found[name] += _busy_s(process)
        return found

    def _make_template(self) -> None:
        self.server.ensure(USER, _TEMPLATE)
        storage = self.server.settings(USER, "", _TEMPLATE)
        upgrade(storage)
        with session(storage) as on:
            roster_store.register_class(on, workload.CLASS)
            roster_store.register_machines(on, workload.NAMES, workload.CLASS.name)


def machine_keys(storage: StorageSettings) -> dict[str, int]:
    """Return the key of each machine by its name."""
    with session(storage) as on:
        return dict(rows(on, "SELECT name, key FROM machines"))


def verify_count(storage: StorageSettings, wanted: int) -> None:
    """Count the readings stored, one by one.

    Raises:
        ValueError: There are more or fewer: whatever was measured does not count.
    """
    with session(storage) as on:
        found = history.count(on)
    if found != wanted:
        raise ValueError(f"{found} readings are stored instead of {wanted}")


def _busy_s(process: psutil.Process) -> float:
    mine = process.cpu_times()
    # A server counts a child that ended to itself, and one that runs not yet.
    living = (one.cpu_times() for one in process.children(recursive=True))
    return float(
        mine.user
        + mine.system
        + mine.children_user
        + mine.children_system
        + sum(one.user + one.system for one in living)
    )


def _own_address() -> str:
    # A loopback address of this process alone: the server's port is fixed, and another server of
    # the machine may listen at 127.0.0.1.
    process = os.getpid()
    return f"127.{64 + (process >> 16) % 64}.{process >> 8 & 255}.{process & 255 or 1}"
