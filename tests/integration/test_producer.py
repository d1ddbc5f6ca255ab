"""The producer and the consumer as plain classes, over the real Kafka and Postgres."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic, sleep

import pytest

from ingestion.settings import KafkaSettings
from ray_app.consumer_actor import ConsumerActor
from ray_app.producer_actor import ProducerActor
from ray_app.producer_plan import ProducerPlan
from storage import failures
from storage.connect import rows, session
from storage.settings import StorageSettings

_START_US = 1_760_000_000_000_000
_MINUTE_US = 60_000_000


def _plan(minutes: int) -> ProducerPlan:
    return ProducerPlan(
        machines=("p-1", "p-2"),
        start_us=_START_US,
        live_us=_START_US + minutes * _MINUTE_US,
        until_us=_START_US + minutes * _MINUTE_US,
        seed=7,
    )


@pytest.fixture
def settings(kafka: str, topic: str) -> KafkaSettings:
    """Return a topic of this test alone."""
    return KafkaSettings(
        bootstrap_servers=kafka, topic=topic, group_id=topic, partitions=2, commit_interval_ms=100
    )


@contextmanager
def _consuming(kafka: KafkaSettings, storage: StorageSettings) -> Iterator[ConsumerActor]:
    actor = ConsumerActor(kafka, storage, "consumer-0")
    worker = Thread(target=actor.run)
    worker.start()
    try:
        yield actor
    finally:
        actor.stop()
        worker.join()


def _stored(storage: StorageSettings, wanted: int) -> int:
    deadline = monotonic() + 60
    while True:
        with session(storage) as on:
            count = int(rows(on, "SELECT count(*) FROM readings")[0][0])
        if count >= wanted or monotonic() > deadline:
            return count
        sleep(0.05)


def test_every_reading_of_a_history_arrives_once(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """What the producer says it delivered is what is stored, and the machines are known."""
    delivered = ProducerActor(settings, database, _plan(10), "producer-0").run()
    with _consuming(settings, database):
        stored = _stored(database, delivered)

    assert delivered == stored > 2 * 10 * 60
    with session(database) as on:
        names = [name for (name,) in rows(on, "SELECT name FROM machines ORDER BY name")]
        quarantined = rows(on, "SELECT count(*) FROM quarantine")[0][0]
    assert names == ["p-1", "p-2"]
    assert quarantined == 0


def test_a_producer_that_died_goes_on_where_postgres_stands(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """The second life sends nothing again that is stored, and together they send all."""
    whole = ProducerActor(settings, database, _plan(6), "producer-0")
    half = ProducerActor(settings, database, _plan(3), "producer-0")
    with _consuming(settings, database):
        first = half.run()
        _stored(database, first)
        second = whole.run()
        stored = _stored(database, first + second - 2)

    # At the seam one reading per machine may be sent twice, and is stored once.
    assert first + second - 2 <= stored <= first + second
    assert second < 1.2 * first


def test_an_injected_failure_is_recorded_as_truth_and_survives_a_restart(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """The truth lies beside the stream, and a new process of the producer knows it."""
    first = ProducerActor(settings, database, _plan(2), "producer-0")
    first.run()
    onset_us = _START_US + 3 * _MINUTE_US
    injected = first.inject("p-2", "overheating", onset_us=onset_us, develop_s=60, duration_s=120)

    second = ProducerActor(settings, database, _plan(2), "producer-0")
    second.run()

    assert second.truth() == (injected,)
    with session(database) as on:
        (label,) = failures.listed(on, machines=["p-2"])
    assert (label.kind, label.source, label.onset_us) == ("overheating", "simulator", onset_us)
