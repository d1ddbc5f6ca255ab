"""Consumers, Postgres and Kafka are killed under load; every reading is stored once.

These tests have services of their own: others must not see them die.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from domain.errors import OffsetsLostError
from ingestion.consume import Ingestion
from ingestion.gaps import accept_gaps
from ingestion.kafka import ensure_topic, held
from ingestion.settings import KafkaSettings
from ray_app.embedded import kafka as kafka_service
from ray_app.embedded import postgres as postgres_service
from ray_app.embedded.supervisor import Supervisor
from storage import history, offsets, quarantine, roster_store
from storage.connect import session
from storage.migrate import upgrade
from storage.offsets import Topic
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, batch, running, send, stored, until

MACHINES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Services that a test may kill."""

    supervisor: Supervisor
    home: Path
    kafka: str
    server: postgres_service.Server

    def kill_postgres(self) -> None:
        """Kill the postmaster without a word, and start it again on the same data."""
        pid = int((self.home / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
        sessions = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        self.supervisor.stop("postgres")
        # The sessions notice by themselves; as long as one lives the data is not free.
        psutil.wait_procs(sessions, timeout=20)
        postgres_service.start(self.supervisor, self.home / "pg", options={"fsync": "off"})

    def kill_kafka(self) -> None:
        """Kill the broker without a word, and start it again on the same data and port."""
        config = str(self.home / "kafka" / "server.properties")
        for process in psutil.process_iter(["cmdline"]):
            if config in (process.info["cmdline"] or ()):
                process.kill()
        self.supervisor.stop("kafka")
        port = int(self.kafka.rpartition(":")[2])
        assert kafka_service.start(self.supervisor, self.home / "kafka", port=port) == self.kafka


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """Return a broker and a server for the tests of this file."""
    with tempfile.TemporaryDirectory(prefix="mw-") as folder, Supervisor() as supervisor:
        home = Path(folder)
        server = postgres_service.start(supervisor, home / "pg", options={"fsync": "off"})
        yield Services(
            supervisor=supervisor,
            home=home,
            kafka=kafka_service.start(supervisor, home / "kafka"),
            server=server,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test's topic, group and database."""

    kafka: KafkaSettings
    storage: StorageSettings
    topic: Topic

    def publish(self, first: int, count: int) -> None:
        """Publish `count` readings of each machine."""
        for machine in range(MACHINES):
            send(self.kafka, f"pump-{machine}", first, count)

    def passed(self) -> int:
        """Return how many messages lie before the stored offsets."""
        with session(self.storage) as on:
            return sum(offsets.stored_positions(on, self.kafka.group_id, self.topic).values())

    def reach(self, messages: int, within_s: float = 60) -> None:
        """Await that at least so many messages were passed."""
        until(lambda: self.passed() >= messages, within_s)

    def check(self, each: int) -> None:
        """Hold what is stored, reading by reading, against what was published."""
        with session(self.storage) as on:
            found = history.read_history(on, [f"pump-{n}" for n in range(MACHINES)], 0, 2**62)
            held = quarantine.counts(on)
        wanted = batch(0, 0, each)
        for one in found:
            assert np.array_equal(one.instants_us, wanted.instants_us)
            assert np.array_equal(one.values, wanted.values)
        assert stored(self.storage) == MACHINES * each
        assert held == {}


@pytest.fixture
def case(services: Services) -> Case:
    """Return a topic and a migrated database of one test alone."""
    name = f"fault{uuid.uuid4().hex[:8]}"
    services.server.ensure("sensor_user", name)
    storage = services.server.settings("sensor_user", "", name)
    upgrade(storage)
    with session(storage) as on:
        roster_store.register_class(on, PUMP)
    kafka = KafkaSettings(
        bootstrap_servers=services.kafka,
        topic=name,
        group_id=name,
        partitions=4,
        commit_interval_ms=100,
        max_batch=2000,
        # A killed consumer is given up soon, so that the test is short.
        properties=(("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "500")),
    )
    return Case(kafka=kafka, storage=storage, topic=ensure_topic(kafka))


@contextmanager
def consumer(case: Case) -> Iterator[subprocess.Popen[str]]:
    """Run a consumer in a process of its own; it is gone at the end, by force if need be."""
    given = {"kafka": asdict(case.kafka), "storage": asdict(case.storage)}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("consumer_process.py")), json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_consumers_killed_five_times_lose_and_double_nothing(case: Case) -> None:
    """Kill -9 in the middle of 200,000 readings, five times: each is stored once."""
    each = 200_000 // MACHINES
    case.publish(0, each)
    for kill in range(1, 6):
        with consumer(case) as process:
            case.reach(kill * 25_000)
            process.send_signal(signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
        assert case.passed() < 200_000

    with consumer(case) as process:
        case.reach(200_000)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert json.loads(said)["duplicates"] == 0
    case.check(each)


def test_a_crash_of_postgres_is_waited_for(case: Case, services: Services) -> None:
    """The server dies under load and comes back: writing goes on, nothing is quarantined."""
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(0, 2000)
        until(lambda: ingestion.totals.stored > 2000)
        services.kill_postgres()
        case.publish(2000, 1000)
        case.reach(3000 * MACHINES)

    assert ingestion.totals.faults >= 1
    case.check(3000)


def test_a_crash_of_the_broker_is_waited_for(case: Case, services: Services) -> None:
    """The broker dies under load and comes back: reading goes on, nothing is quarantined."""
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(0, 1000)
        until(lambda: ingestion.totals.stored > 1000)
        services.kill_kafka()
        case.publish(1000, 1000)
        case.reach(2000 * MACHINES, 90)

    case.check(2000)


def test_a_frozen_consumer_that_wakes_up_writes_nothing_stale(case: Case) -> None:
    """SIGSTOP for longer than the session timeout: the group goes on, the sleeper is refused."""
    with ExitStack() as stack:
        sleeper = stack.enter_context(consumer(case))
        case.publish(0, 500)
        case.reach(500 * MACHINES)
        sleeper.send_signal(signal.SIGSTOP)
        other = stack.enter_context(running(Ingestion(case.kafka, case.storage)))
        case.publish(500, 500)
        case.reach(1000 * MACHINES)
        sleeper.send_signal(signal.SIGCONT)
        case.publish(1000, 500)
        case.reach(1500 * MACHINES)
        sleeper.send_signal(signal.SIGTERM)
        said, _ = sleeper.communicate(timeout=30)

    assert sleeper.returncode == 0
    assert json.loads(said)["duplicates"] == other.totals.duplicates == 0
    case.check(1500)


def test_a_gap_in_kafka_is_told_and_never_skipped(case: Case) -> None:
    """Messages that retention took before they were stored are named, offset by offset."""
    case.publish(0, 100)
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        until(lambda: ingestion.totals.consumed == 100 * MACHINES)
    before = case.passed()
    case.publish(100, 100)
    delete_records(case)

    with pytest.raises(OffsetsLostError, match="lost offsets"):
        Ingestion(case.kafka, case.storage).run()

    assert case.passed() == before
    gone = accept_gaps(case.kafka, case.storage)
    assert sum(one.lost for one in gone) == 100 * MACHINES
    assert accept_gaps(case.kafka, case.storage) == []
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(200, 10)
        until(lambda: ingestion.totals.stored == 10 * MACHINES)


def delete_records(case: Case) -> None:
    """Let Kafka drop everything it holds."""
    ends = {part: one.end for part, one in held(case.kafka).items()}
    admin = AdminClient({"bootstrap.servers": case.kafka.bootstrap_servers})
    futures = admin.delete_records(
        [TopicPartition(case.kafka.topic, part, end) for part, end in ends.items()]
    )
    for future in futures.values():
        future.result(20)
