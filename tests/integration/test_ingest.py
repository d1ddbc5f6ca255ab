"""Kafka to Postgres through the real loop."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest

from domain import wire
from ingestion.consume import Ingestion
from ingestion.kafka import ensure_topic
from ingestion.settings import KafkaSettings
from storage import history, quarantine, roster_store
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.ingest_support import (
    PUMP,
    START_US,
    batch,
    quick_sink,
    running,
    send,
    settings_of,
    stored,
    until,
)


@pytest.fixture
def settings(kafka: str, topic: str, database: StorageSettings) -> KafkaSettings:
    """Return settings of this test alone; the topic and the machine class are there."""
    found = settings_of(kafka, topic)
    ensure_topic(found)
    with session(database) as on:
        roster_store.register_class(on, PUMP)
    return found


def test_what_is_published_is_stored_bit_equal(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A machine's readings come back as numpy columns, in order, bit-equal."""
    send(settings, "pump-1", 0, 500)

    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.stored == 500)

    with session(database) as on:
        (found,) = history.read_history(on, ["pump-1"], 0, 2**62)
    numbers = np.arange(500)
    assert np.array_equal(found.instants_us, START_US + numbers * 500_000)
    assert np.array_equal(found.values, numbers[:, None] + np.arange(4) / 10)


def test_a_second_run_goes_on_where_the_first_stopped(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """The stored offset, and not Kafka's commit, says where to read on."""
    send(settings, "pump-1", 0, 300)
    with running(Ingestion(settings, database)) as first:
        until(lambda: first.totals.consumed == 300)
    send(settings, "pump-1", 300, 200)

    with running(Ingestion(settings, database)) as second:
        until(lambda: stored(database) == 500)

    assert second.totals.consumed == 200


def test_the_same_reading_twice_is_stored_once(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A producer that repeats itself makes duplicates, which are counted and left out."""
    send(settings, "pump-1", 0, 100)
    send(settings, "pump-1", 50, 100)

    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 200)

    assert (ingestion.totals.stored, ingestion.totals.duplicates) == (150, 50)
    assert stored(database) == 150


def test_packed_and_json_of_one_topic_are_stored_once(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A stranger that packs is admitted; damage is kept with its header, nothing twice."""
    made = batch(0, 0, 400)
    names, columns = PUMP.sensor_names, (made.instants_us, made.values)
    with quick_sink(settings) as sink:
        for size in (1, 7, 100):
            messages = wire.encode_packed("pump-1", *columns, names, per_message=size)
            sink.send(settings.topic, b"pump-1", messages, wire.PACKED_HEADERS)
        sink.send(settings.topic, b"pump-1", [b"MWP1"], wire.PACKED_HEADERS)
    send(settings, "pump-1", 300, 200)

    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 400 + 58 + 4 + 1 + 200)

    totals = ingestion.totals
    assert (totals.stored, totals.duplicates, totals.quarantined) == (500, 900, 1)
    with session(database) as on:
        (found,) = history.read_history(on, ["pump-1"], 0, 2**62)
        (kept,) = quarantine.listed(on)
    assert np.array_equal(found.values, batch(0, 0, 500).values)
    assert (kept.entry.reason, kept.entry.value) == ("bad_packed", b"MWP1")
    assert kept.entry.headers == tuple(wire.PACKED_HEADERS)


TIME = b'"timestamp":"2025-06-15T15:06:40Z"'
POISON = {
    b"": "not_json",
    b"\xff\xfe": "not_utf8",
    b"[]": "not_an_object",
    b"{}": "missing_field",
    b'{"machine_id":"pump-1",' + TIME + b',"values":{"s0":true}}': "wrong_type",
    b'{"machine_id":"pump-1",' + TIME + b',"values":{"s9":1}}': "unknown_sensor",
    b'{"machine_id":"stranger",' + TIME + b',"values":{"x":1}}': "unknown_machine",
    b'{"machine_id":"a\\u0000b",' + TIME + b',"values":{"s0":1}}': "bad_name",
}


def test_poison_among_good_messages_is_kept_with_its_reason(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """Every good message is stored, every bad one is in quarantine once with raw bytes."""
    send(settings, "pump-1", 0, 50)
    with quick_sink(settings) as sink:
        for value in POISON:
            sink.send(settings.topic, None, [value])
    send(settings, "pump-1", 50, 50)

    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 100 + len(POISON))

    assert stored(database) == 100
    with session(database) as on:
        kept = quarantine.listed(on)
    assert {one.entry.value: one.entry.reason for one in kept} == POISON
    assert len(kept) == len(POISON)


@contextmanager
def frozen(database: StorageSettings) -> Iterator[None]:
    """Freeze the server's process that stores readings until the block ends."""
    with session(database) as on:
        ((pid,),) = rows(
            on,
            "SELECT pid FROM pg_stat_activity "
            "WHERE application_name = 'millwright ingest' AND datname = current_database()",
        )
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_database_that_hangs_holds_kafka_back_and_costs_no_membership(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """Full stages pause the partitions; the client is polled, and everything is stored once."""
    limits = {
        "session.timeout.ms": "3000",
        "heartbeat.interval.ms": "500",
        "max.poll.interval.ms": "3000",
    }
    small = replace(settings, batch_size=20, max_batch=50, properties=tuple(limits.items()))
    send(settings, "pump-1", 0, 100)
    with running(Ingestion(small, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 100)
        with frozen(database):
            for machine in range(4):
                send(settings, f"pump-{machine}", 100, 500)
            until(lambda: ingestion.totals.held == 1)
            hung = monotonic()
            until(lambda: monotonic() - hung > 4)  # longer than the client may stay away
            assert ingestion.totals.consumed == 100
        until(lambda: ingestion.totals.consumed == 2100)

    totals = ingestion.totals
    assert (totals.stored, totals.duplicates, totals.quarantined, totals.faults) == (2100, 0, 0, 0)
    assert stored(database) == 2100


def test_a_row_the_database_refuses_goes_to_quarantine_alone(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A row fault costs its own message and no other; it never stops the ingestion."""
    with session(database) as on:
        rows(on, 'ALTER TABLE readings ADD CHECK ("values"[1] <> 77)')
    send(settings, "pump-1", 0, 200)

    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 200)

    assert stored(database) == 199
    with session(database) as on:
        (kept,) = quarantine.listed(on)
    assert kept.entry.reason == "refused_by_storage"
    assert ingestion.totals.faults == 0


def test_two_consumers_share_the_partitions(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """Joining and leaving moves partitions without a reading lost or stored twice."""
    with running(Ingestion(settings, database, worker="a")) as one:
        for machine in range(6):
            send(settings, f"pump-{machine}", 0, 100)
        until(lambda: one.totals.consumed == 600)
        with running(Ingestion(settings, database, worker="b")) as other:
            until(lambda: len(other.totals.positions) > 0)
            for machine in range(6):
                send(settings, f"pump-{machine}", 100, 100)
            until(lambda: stored(database) == 1200)
        for machine in range(6):
            send(settings, f"pump-{machine}", 200, 100)
        until(lambda: stored(database) == 1800)

    assert one.totals.consumed + other.totals.consumed == 1800
    assert one.totals.duplicates + other.totals.duplicates == 0
    assert other.totals.consumed > 0


def test_a_topic_made_anew_is_read_from_its_beginning(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A topic's id and not its name says which offsets are meant."""
    send(settings, "pump-1", 0, 100)
    with running(Ingestion(settings, database)) as first:
        until(lambda: first.totals.consumed == 100)
    with session(database) as on:
        # As if the stored offsets belonged to a topic of this name that was deleted since.
        rows(on, "UPDATE consumer_offsets SET topic_id = 'deleted'")

    with running(Ingestion(settings, database)) as second:
        until(lambda: second.totals.consumed == 100)

    assert second.totals.duplicates == 100
    assert stored(database) == 100


def test_a_topic_is_there_as_soon_as_it_was_made(kafka: str, topic: str) -> None:
    """Whoever makes a topic can use it at once, and making it again changes nothing."""
    for number in range(20):
        wanted = settings_of(kafka, f"{topic}.{number}")
        assert ensure_topic(wanted) == ensure_topic(wanted)
