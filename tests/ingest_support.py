"""What tests of the ingestion share: a small machine class, a publisher, a loop in a thread."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np

from domain import wire
from domain.machines import MachineClass, Sensor
from domain.readings import ReadingBatch
from ingestion.consume import Ingestion
from ingestion.kafka import KafkaSink
from ingestion.settings import KafkaSettings
from storage import history
from storage.connect import rows, session
from storage.settings import StorageSettings

PUMP = MachineClass(name="pump", sensors=tuple(Sensor(name=f"s{i}") for i in range(4)))
START_US = 1_750_000_000_000_000


def settings_of(kafka: str, topic: str) -> KafkaSettings:
    """Return settings for a topic and a group of one test alone."""
    return KafkaSettings(
        bootstrap_servers=kafka,
        topic=topic,
        group_id=topic,
        partitions=3,
        commit_interval_ms=200,
        # Members hear of each other at a heartbeat.
        properties=(("heartbeat.interval.ms", "500"),),
    )


def batch(key: int, first: int, count: int) -> ReadingBatch:
    """Return readings number `first` and following of a machine, half a second apart."""
    numbers = np.arange(first, first + count)
    return ReadingBatch(
        machine_class=PUMP,
        machine_keys=np.full(count, key, dtype=np.int32),
        instants_us=START_US + numbers * 500_000,
        values=numbers[:, None] + np.arange(4) / 10,
    )


def quick_sink(settings: KafkaSettings) -> AbstractContextManager[KafkaSink]:
    """Open a producer of a test's own messages.

    It is not idempotent: for the number that this takes the client waits half a second.
    """
    plain = (*settings.properties, ("enable.idempotence", "false"))
    return KafkaSink.open(replace(settings, properties=plain))


def send(settings: KafkaSettings, machine: str, first: int, count: int) -> None:
    """Publish the readings that `batch` returns, and wait until Kafka has them."""
    made = batch(0, first, count)
    with quick_sink(settings) as sink:
        messages = wire.encode(machine, made.instants_us, made.values, PUMP.sensor_names)
        sink.send(settings.topic, machine.encode(), messages)


@contextmanager
def running(ingestion: Ingestion) -> Iterator[Ingestion]:
    """Run an ingestion in a thread until the block ends; what it raised is raised here."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            ingestion.run()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ingestion
    finally:
        ingestion.stop()
        thread.join(30)
        # What ended the loop explains better than the condition that did not come true.
        if raised:
            raise raised[0]
    assert not thread.is_alive()


def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    """Await a condition."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def waits(database: StorageSettings, application: str, *, lock: str = "%") -> bool:
    """Return whether a connection of this name waits for a lock, of a type like `lock`.

    Each look has a transaction of its own: within one, PostgreSQL shows who was connected when
    it was first asked, so who comes after would never be seen.
    """
    with session(database) as watch:
        return bool(
            rows(
                watch,
                "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted "
                "AND application_name = %s AND datname = current_database() AND locktype LIKE %s",
                (application, lock),
            )
        )


def stored(database: StorageSettings) -> int:
    """Return how many readings are stored."""
    with session(database) as on:
        return history.count(on)
