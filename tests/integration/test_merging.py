"""Parts of readings by many writers at once: each fills what is missing, none overwrites."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from domain.mapping.gather import NOBODY
from domain.readings import ReadingBatch
from domain.wire import Rejection
from storage import history, quarantine, roster_store
from storage.connect import session
from storage.merging import MergingStore
from storage.offsets import Topic
from storage.quarantine import Entry
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, START_US

type Cell = tuple[int, int, int, float]
"""Message number, reading, sensor, value."""


@pytest.fixture
def key(database: StorageSettings) -> int:
    """Return the key of a registered pump."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        return roster_store.register_machines(on, ["pump-1"], "pump")["pump-1"].key


def entry(message: int) -> Entry:
    """Return a message on its way into quarantine."""
    return Entry(
        topic_id="t",
        topic="t",
        partition=0,
        offset=message,
        reason="conflicting_value",
        detail="",
        key=None,
        value=b"x",
    )


def as_batch(key: int, cells: Iterable[Cell]) -> StoreBatch:
    """Return cells as one batch, no two of them in the same place."""
    taken = list(cells)
    numbers = sorted({reading for _, reading, _, _ in taken})
    values = np.full((len(numbers), 4), np.nan)
    origins = np.full((len(numbers), 4), NOBODY, dtype=np.intp)
    for message, reading, sensor, value in taken:
        values[numbers.index(reading), sensor] = value
        origins[numbers.index(reading), sensor] = message
    readings = ReadingBatch(
        machine_class=PUMP,
        machine_keys=np.full(len(numbers), key, dtype=np.int32),
        instants_us=START_US + np.array(numbers) * 1_000_000,
        values=values,
    )

    def kept(one: Rejection) -> Entry:
        return entry(one.index)

    return StoreBatch(
        group_id="g",
        topic=Topic(name="t", id="t"),
        readings=(readings,),
        quarantined=(),
        steps=(),
        origins=(origins,),
        entry=kept,
    )


def write(database: StorageSettings, batches: list[StoreBatch]) -> int:
    """Store batches one after the other; return how many readings were new."""
    with ReadingStore.open(database) as plain:
        store = MergingStore(plain.connection)
        return sum(store.write(batch).stored for batch in batches)


def test_many_writers_of_the_same_readings_agree(database: StorageSettings, key: int) -> None:
    """No deadlock, no lost part: every value stands, or its message is in quarantine for another.

    Four writers bring 4,000 cells of 100 readings in random order and random batches; half of the
    cells are contradicted by another message.
    """
    rng = np.random.default_rng(11)
    places = [(reading, sensor) for reading in range(100) for sensor in range(4)]
    cells = [
        (message, *places[message % 400], float(message // 400 % 2 + places[message % 400][0]))
        for message in range(1600)
    ]
    lanes: list[list[StoreBatch]] = []
    for lane in range(4):
        mine = [cells[at] for at in rng.permutation(np.arange(lane * 400, lane * 400 + 400))]
        cuts = np.sort(rng.integers(0, 400, 20))
        lanes.append([as_batch(key, mine[a:b]) for a, b in pairwise(cuts)])
        lanes[-1] += [as_batch(key, mine[: cuts[0]]), as_batch(key, mine[cuts[-1] :])]
        lanes[-1] = [batch for batch in lanes[-1] if len(batch.readings[0])]

    with ThreadPoolExecutor(4) as pool:
        new = sum(pool.map(lambda mine: write(database, mine), lanes))

    with session(database) as on:
        (found,) = history.read_history(on, ["pump-1"], 0, 2**62)
        kept = {one.entry.offset for one in quarantine.listed(on, limit=10_000)}
    assert new == len(found) == 100
    assert not np.isnan(found.values).any()
    for message, reading, sensor, value in cells:
        assert bool(found.values[reading, sensor] == value) is (message not in kept)
    assert len(kept) == 800


def test_what_one_transaction_brings_again_changes_nothing(
    database: StorageSettings, key: int
) -> None:
    """The same batch twice: no new reading, nothing contradicted, the same row."""
    batch = as_batch(key, [(0, 0, 1, 5.0), (1, 0, 2, 6.0), (2, 7, 0, 1.0)])

    assert write(database, [batch]) == 2
    assert write(database, [batch, batch]) == 0

    with session(database) as on:
        (found,) = history.read_history(on, ["pump-1"], 0, 2**62)
        assert quarantine.counts(on) == {}
    expected = np.array([[np.nan, 5, 6, np.nan], [1, np.nan, np.nan, np.nan]])
    assert np.array_equal(found.values, expected, equal_nan=True)


def test_a_row_from_before_a_sensor_was_added_takes_its_value(
    database: StorageSettings, key: int
) -> None:
    """Older rows are shorter: what is filled in makes them as long as the class is now."""
    from dataclasses import replace

    from domain.machines import MachineClass, Sensor

    write(database, [as_batch(key, [(0, 0, 0, 1.0)])])
    longer = MachineClass(name="pump", sensors=(*PUMP.sensors, Sensor(name="s4")))
    with session(database) as on:
        roster_store.register_class(on, longer)
    late = as_batch(key, [(1, 0, 2, 3.0)])
    wide = replace(
        late,
        readings=(
            ReadingBatch(
                machine_class=longer,
                machine_keys=late.readings[0].machine_keys,
                instants_us=late.readings[0].instants_us,
                values=np.array([[np.nan, np.nan, 3.0, np.nan, 9.0]]),
            ),
        ),
        origins=(np.array([[NOBODY, NOBODY, 1, NOBODY, 1]]),),
    )
    write(database, [wide])

    with session(database) as on:
        (found,) = history.read_history(on, ["pump-1"], 0, 2**62)
    assert np.array_equal(found.values, [[1, np.nan, 3, np.nan, 9]], equal_nan=True)
