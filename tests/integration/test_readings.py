"""The exactly-once batch and what comes back of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from domain.errors import BadInputError, PartitionLostError
from domain.machines import MachineClass, Sensor
from storage import history, offsets, partitions, quarantine, retention, roster_store
from storage.connect import rows, session
from storage.offsets import Advance, Topic
from storage.quarantine import Entry
from storage.readings import ReadingStore, StoreBatch, Written
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, START_US, batch, stored

TOPIC = Topic(name="readings", id="one")


@pytest.fixture
def keys(database: StorageSettings) -> dict[str, int]:
    """Return the keys of two registered pumps."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        found = roster_store.register_machines(on, ["pump-1", "pump-2"], "pump")
        offsets.positions(on, "group", TOPIC, {0: 0, 1: 0})
    return {name: machine.key for name, machine in found.items()}


@pytest.fixture
def store(database: StorageSettings) -> Iterator[ReadingStore]:
    """Return an open store."""
    with ReadingStore.open(database) as opened:
        yield opened


def work(*, key: int, first: int, count: int, expected: int, partition: int = 0) -> StoreBatch:
    """Return a batch of one machine that lies between two offsets."""
    return StoreBatch(
        group_id="group",
        topic=TOPIC,
        readings=(batch(key, first, count),),
        quarantined=(),
        steps=(Advance(partition=partition, expected=expected, next=expected + count),),
    )


def bad(offset: int) -> Entry:
    """Return a message for quarantine."""
    return Entry(
        topic_id="one",
        topic="readings",
        partition=0,
        offset=offset,
        reason="not_json",
        detail="NUL \x00 and a lone surrogate \ud800",
        key=None,
        value=b"\x00\xff",
        headers=(("content-type", b"\xfe"),),
    )


def next_offsets(database: StorageSettings) -> dict[int, int]:
    """Return the stored offsets of the group."""
    with session(database) as on:
        return offsets.stored_positions(on, "group", TOPIC)


def test_a_batch_and_its_offsets_are_stored_as_one(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """Rows, quarantine and offset appear together."""
    both = replace(work(key=keys["pump-1"], first=0, count=3, expected=0), quarantined=(bad(1),))

    assert store.write(both) == Written(stored=3, duplicates=0, quarantined=1)

    assert stored(database) == 3
    assert next_offsets(database) == {0: 3, 1: 0}


def test_a_batch_with_known_readings_stores_only_the_new_ones(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """Delivered twice, and twice within one batch, is stored once."""
    store.write(work(key=keys["pump-1"], first=0, count=10, expected=0))
    twice = replace(
        work(key=keys["pump-1"], first=5, count=10, expected=10),
        readings=(batch(keys["pump-1"], 5, 10), batch(keys["pump-1"], 12, 5)),
    )

    assert store.write(twice) == Written(stored=7, duplicates=8, quarantined=0)
    assert stored(database) == 17


def test_a_batch_from_a_stale_position_is_refused_whole(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """A zombie whose partition was taken over writes neither rows nor quarantine nor offset."""
    store.write(work(key=keys["pump-1"], first=0, count=10, expected=0))
    stale = replace(work(key=keys["pump-1"], first=50, count=5, expected=0), quarantined=(bad(2),))

    with pytest.raises(PartitionLostError, match=r"readings\[0\] is no longer ours"):
        store.write(stale)

    assert stored(database) == 10
    assert next_offsets(database) == {0: 10, 1: 0}
    with session(database) as on:
        assert quarantine.counts(on) == {}
    assert store.write(work(key=keys["pump-1"], first=10, count=5, expected=10)).stored == 5


def test_late_and_early_readings_find_a_partition_of_their_day(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """Days are made on demand, whatever the order of arrival, and again after retention."""
    day = partitions.DAY_US
    scattered = replace(
        batch(keys["pump-1"], 0, 3), instants_us=np.array([START_US, 10**15, START_US + 3 * day])
    )
    one = replace(work(key=1, first=0, count=3, expected=0), readings=(scattered,))

    assert store.write(one).stored == 3

    with session(database) as on:
        assert date(2001, 9, 9) in partitions.existing(on)
        retention.set_days(on, 365)
        assert retention.apply(on, START_US) == (date(2001, 9, 9),)
    assert stored(database) == 2
    again = replace(one, steps=(Advance(partition=0, expected=3, next=6),))
    assert store.write(again) == Written(stored=1, duplicates=2, quarantined=0)


def test_a_row_that_the_database_refuses_is_told_as_bad_input(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """A row fault is not a service that is away, and leaves nothing behind."""
    with session(database) as on:
        rows(on, 'ALTER TABLE readings ADD CHECK ("values"[1] < 5)')

    with pytest.raises(BadInputError):
        store.write(work(key=keys["pump-1"], first=0, count=10, expected=0))

    assert stored(database) == 0
    assert next_offsets(database) == {0: 0, 1: 0}


def test_quarantine_keeps_a_message_once_with_its_raw_bytes(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """Bytes that are no text come back as they were; the words about them are made text."""
    assert keys
    held = StoreBatch(
        group_id="group", topic=TOPIC, readings=(), quarantined=(bad(7), bad(7)), steps=()
    )

    assert store.write(held).quarantined == 1
    assert store.write(held).quarantined == 0

    with session(database) as on:
        (kept,) = quarantine.listed(on)
        assert quarantine.show(on, kept.id) == kept
    assert kept.entry.value == b"\x00\xff"
    assert kept.entry.headers == (("content-type", b"\xfe"),)
    assert kept.entry.detail == "NUL \\x00 and a lone surrogate \\ud800"
    assert kept.place == "readings[0]@7"


def test_history_is_what_was_stored_in_order_of_time(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """Columns per machine, oldest first, only the period asked for."""
    store.write(work(key=keys["pump-2"], first=100, count=50, expected=0, partition=1))
    store.write(work(key=keys["pump-1"], first=100, count=100, expected=0))
    store.write(work(key=keys["pump-1"], first=0, count=100, expected=100))

    with session(database) as on:
        two, one = history.read_history(
            on, ["pump-2", "pump-1"], START_US + 25_000_000, START_US + 75_000_000
        )
        (last,) = history.read_history(on, ["pump-1"], 0, 2**62, last=3)
        newest = history.latest_instants(on)

    wanted = batch(0, 50, 100)
    assert (one.machine, two.machine, len(two)) == ("pump-1", "pump-2", 50)
    assert np.array_equal(one.instants_us, wanted.instants_us)
    assert np.array_equal(one.values, wanted.values)
    assert np.array_equal(last.instants_us, batch(0, 197, 3).instants_us)
    assert newest == {"pump-1": START_US + 199 * 500_000, "pump-2": START_US + 149 * 500_000}


def test_rows_from_before_a_sensor_was_added_read_as_missing(
    store: ReadingStore, keys: dict[str, int], database: StorageSettings
) -> None:
    """A new sensor is appended to its class; older rows are shorter and read as NaN."""
    key = keys["pump-1"]
    store.write(work(key=key, first=0, count=5, expected=0))
    wider = MachineClass(name="pump", sensors=(Sensor(name="new"), *PUMP.sensors))
    with session(database) as on:
        merged = roster_store.register_class(on, wider)
    assert merged.sensor_names == ("s0", "s1", "s2", "s3", "new")
    narrow = batch(key, 5, 100)
    wide = replace(
        narrow, machine_class=merged, values=np.hstack([narrow.values, narrow.values[:, :1]])
    )
    store.write(
        replace(
            work(key=key, first=0, count=100, expected=5),
            readings=(wide, batch(key, 200, 3)),
        )
    )

    with session(database) as on:
        (found,) = history.read_history(on, ["pump-1"], 0, 2**62)

    assert found.values.shape == (108, 5)
    assert np.isnan(found.values[:5, 4]).all()
    assert np.array_equal(found.values[5:105], wide.values)
    assert np.isnan(found.values[105:, 4]).all()
