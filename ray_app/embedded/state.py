"""What of the platform runs under one home, for every other command to find.

`services.json` is there while the platform runs; the lock on `lock` is held by the platform *and*
its warden, so that a second start waits until a crashed one's services have ended.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from domain.errors import ConflictError
from ray_app.settings import Settings, kafka_settings
from storage.settings import StorageSettings

DEMONSTRATION = "demo"
"""Folder of the configured home that is the demonstration's own."""

_FILE = "services.json"
_AFTERMATH_S = 60.0
"""How long the services of a crashed platform may take to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where everything of a running platform is.

    Attributes:
        pid: Process of the platform.
        kafka: Bootstrap servers.
        postgres: Keyword arguments of `StorageSettings`.
        tracking_uri: MLflow; may still be starting.
        api: URL of console and API.
        dashboard: URL of Ray's dashboard.
        ray: Address of the cluster, `host:port`.
        ray_token: File that holds the cluster's token.
    """

    pid: int
    kafka: str = ""
    postgres: dict[str, Any] | None = None
    tracking_uri: str = ""
    api: str = ""
    dashboard: str = ""
    ray: str = ""
    ray_token: str = ""

    def storage(self) -> StorageSettings | None:
        """Return how to reach the database."""
        if self.postgres is None:
            return None
        options = tuple((name, value) for name, value in self.postgres["options"])
        return StorageSettings(**{**self.postgres, "options": options})


def write(home: Path, running: Running) -> None:
    """Tell where everything is; readers never see half a file."""
    partial = home / f".{_FILE}.{os.getpid()}"
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(asdict(running), indent=2) + "\n")
    partial.replace(home / _FILE)


def read(home: Path) -> Running | None:
    """Return where the platform of this home is, None when it does not run."""
    try:
        running = Running(**json.loads((home / _FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return running if psutil.pid_exists(running.pid) else None


def attach(settings: Settings) -> Settings:
    """Return settings completed by the addresses of the running platform; configured ones stay."""
    running = read(settings.home)
    if running is None:
        return settings
    kafka = settings.kafka
    if kafka is None and running.kafka:
        kafka = kafka_settings(settings.env, running.kafka, {})
    return replace(
        settings,
        kafka=kafka,
        storage=settings.storage or running.storage(),
        tracking_uri=settings.tracking_uri or running.tracking_uri or None,
    )


@contextmanager
def lock(home: Path) -> Iterator[int]:
    """Hold a home for one platform; yields the descriptor, which the warden inherits.

    Raises:
        ConflictError: Another platform runs in this home.
    """
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, home)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        # Gone before the lock is: who acquires it next must not find our addresses.
        with suppress(FileNotFoundError):
            if (found := read(home)) is not None and found.pid == os.getpid():
                (home / _FILE).unlink()
        os.close(descriptor)


def _acquire(descriptor: int, home: Path) -> None:
    deadline = time.monotonic() + _AFTERMATH_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            words = os.pread(descriptor, 32, 0).split()
            owner = int(words[0]) if words else 0
            if psutil.pid_exists(owner) or time.monotonic() > deadline:
                raise ConflictError(
                    f"a platform runs in {home} already (process {owner}). Stop it with Ctrl-C, or "
                    "set MILLWRIGHT_HOME to another folder"
                ) from None
            time.sleep(0.1)
        else:
            return
