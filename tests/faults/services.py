"""A broker and a server that a test may kill: others must not see them die."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ray_app.embedded import kafka as kafka_service
from ray_app.embedded import postgres as postgres_service
from ray_app.embedded.supervisor import Supervisor
from storage.migrate import upgrade
from storage.settings import StorageSettings
from tests.environments import CLONE

OPTIONS = {"fsync": "off", "max_connections": "40", "deadlock_timeout": "50ms"}
"""Of the server: its data need not outlive a power cut, and it finds deadlocks soon."""

_USER, _TEMPLATE = "sensor_user", "migrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Services that a test may kill."""

    supervisor: Supervisor
    home: Path
    kafka: str
    server: postgres_service.Server

    @classmethod
    def start(cls, supervisor: Supervisor, home: Path) -> "Services":
        """Start both, with a migrated database to be cloned."""
        server = postgres_service.start(supervisor, home / "pg", options=OPTIONS)
        server.ensure(_USER, _TEMPLATE)
        upgrade(server.settings(_USER, "", _TEMPLATE))
        return cls(
            supervisor=supervisor,
            home=home,
            server=server,
            kafka=kafka_service.start(supervisor, home / "kafka"),
        )

    def clone(self, name: str, tablespace: str = "") -> None:
        """Make a migrated database; it lies where all do unless a tablespace is named."""
        place = f" TABLESPACE {tablespace}" if tablespace else ""
        self.server.sql(CLONE + place, name=name, template=_TEMPLATE, role=_USER)

    def kill_postgres(self, number: int = signal.SIGKILL) -> None:
        """End the postmaster without regard to its sessions, and start it again on its data.

        Args:
            number: SIGKILL, as a crash would; or SIGQUIT, which is an immediate shutdown.
        """
        pid = int((self.home / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
        sessions = psutil.Process(pid).children(recursive=True)
        os.kill(pid, number)
        self.supervisor.stop("postgres")
        # The sessions notice by themselves; as long as one lives the data is not free.
        psutil.wait_procs(sessions, timeout=20)
        postgres_service.start(self.supervisor, self.home / "pg", options=OPTIONS)

    def kill_kafka(self) -> None:
        """Kill the broker without a word, and start it again on the same data and port."""
        config = str(self.home / "kafka" / "server.properties")
        for process in psutil.process_iter(["cmdline"]):
            if config in (process.info["cmdline"] or ()):
                process.kill()
        self.supervisor.stop("kafka")
        port = int(self.kafka.rpartition(":")[2])
        assert kafka_service.start(self.supervisor, self.home / "kafka", port=port) == self.kafka

    def as_superuser(self, storage: StorageSettings) -> StorageSettings:
        """Return how the superuser reaches a database."""
        return self.server.settings("postgres", "", storage.database)


@contextmanager
def mounted(folder: Path, *, size_mb: int) -> Iterator[Path]:
    """Mount a small file system in memory, with room for so much; it is gone at the end.

    Raises:
        CalledProcessError: Mounting is not permitted.
    """
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "none", str(folder)], check=True
    )
    try:
        shutil.chown(folder, "nobody")
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder: Path, *, size_mb: int) -> None:
    """Give a mounted file system more room."""
    subprocess.run(["mount", "-o", f"remount,size={size_mb}m", str(folder)], check=True)
