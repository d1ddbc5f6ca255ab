"""Minutes summed up against brute force, whatever comes late, twice, or from several hands."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import numpy as np
import pytest

from domain.errors import BadInputError
from domain.readings import ReadingBatch
from ingestion.housekeeping import keep_partitions
from storage import history, partitions, retention, rollup_format, rollups, roster_store
from storage.connect import connect, rows, session
from storage.offsets import Topic
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, START_US

NOBODY = Topic(name="", id="")
MINUTE_US = rollup_format.MINUTE_US
_MINUTES = "SELECT readings_1m::text FROM readings_1m ORDER BY machine_key, minute"


@pytest.fixture
def keys(database: StorageSettings) -> list[int]:
    """Return the keys of three registered pumps."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        names = ["pump-1", "pump-2", "pump-3"]
        found = roster_store.register_machines(on, names, "pump")
    return [found[name].key for name in names]


def _write(store: ReadingStore, readings: ReadingBatch) -> None:
    store.write(
        StoreBatch(group_id="", topic=NOBODY, readings=(readings,), quarantined=(), steps=())
    )


def _made(rng: np.random.Generator, keys: list[int], count: int) -> ReadingBatch:
    """Return readings on a coarse grid of half an hour, so that many of them are the same."""
    numbers = rng.integers(0, 600, count)
    of = rng.choice(np.array(keys, dtype=np.int32), count)
    # Decided by the key: what is delivered twice is the same both times.
    values = np.sin(numbers[:, None] * 7.1 + of[:, None] + np.arange(4)) * 10.0 ** np.arange(4)
    values[(numbers[:, None] * 13 + np.arange(4)) % 5 == 0] = np.nan
    values[:, 3][numbers < 100] = np.nan  # missing for whole minutes
    values[:, 0] = numbers
    return ReadingBatch(
        machine_class=PUMP,
        machine_keys=of,
        instants_us=START_US + numbers * 3_000_000,
        values=values,
    )


def _roll_all(database: StorageSettings, most: int = 50) -> None:
    while True:
        with session(database) as on:
            if not rollups.roll(on, most=most):
                return


def _check_against_brute_force(database: StorageSettings) -> int:
    """Compare every rollup with the readings of its minute, one by one; return how many."""
    with session(database) as on:
        raw = rows(on, "SELECT machine_key, instant, values FROM readings ORDER BY 1, 2")
        kept = rows(
            on,
            "SELECT machine_key, minute, count, mean, min, max, last, last_instant::text[] "
            "FROM readings_1m ORDER BY 1, 2",
        )
    minutes: dict[tuple[int, object], list[tuple[object, list[float]]]] = {}
    for key, at, values in raw:
        minutes.setdefault((key, at.replace(second=0, microsecond=0)), []).append((at, values))
    assert [(key, minute) for key, minute, *_ in kept] == sorted(minutes)
    for key, minute, *sums in kept:
        for sensor, found in enumerate(zip(*sums, strict=True)):
            with_it = [one for one in minutes[key, minute] if not np.isnan(one[1][sensor])]
            there = [values[sensor] for _, values in with_it]
            assert found[0] == len(there)
            if not there:
                assert np.isnan(found[1:5]).all()
                assert found[5] == "-infinity"
                continue
            assert found[1] == pytest.approx(np.mean(there), rel=1e-12, abs=1e-12)
            last = str(with_it[-1][0]).removesuffix(":00")  # as Postgres writes UTC
            assert found[2:] == (min(there), max(there), there[-1], last)
    return len(kept)


@pytest.mark.parametrize("seed", range(3))
def test_rollups_equal_brute_force_after_late_and_repeated_readings(
    database: StorageSettings, keys: list[int], seed: int
) -> None:
    """Batches in any order, with what was there already, rolled now and then."""
    rng = np.random.default_rng(seed)
    with ReadingStore.open(database) as store:
        for _ in range(12):
            _write(store, _made(rng, keys, int(rng.integers(1, 200))))
            if rng.random() < 0.5:
                with session(database) as on:
                    rollups.roll(on, most=int(rng.integers(1, 40)))
    _roll_all(database)

    assert _check_against_brute_force(database) > 60


def test_rollups_are_exact_under_writers_and_rollers_at_once(
    database: StorageSettings, keys: list[int]
) -> None:
    """Two consumers write the same minutes while two housekeepers sum them up."""

    def write(seed: int) -> None:
        rng = np.random.default_rng(seed)
        with ReadingStore.open(database) as store:
            for _ in range(25):
                _write(store, _made(rng, keys, 40))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, seed) for seed in (10, 11)]
        while not all(writer.done() for writer in writers):
            for done in [pool.submit(_roll_all, database, 20) for _ in range(2)]:
                done.result()
        for writer in writers:
            writer.result()
    _roll_all(database)

    assert _check_against_brute_force(database) > 60


def test_what_is_not_committed_is_not_summed_up_and_not_forgotten(
    database: StorageSettings, keys: list[int]
) -> None:
    """A transaction that is open while its minute is rolled queues it once more."""
    rng = np.random.default_rng(5)
    first, second = _made(rng, keys[:1], 30), _made(rng, keys[:1], 30)
    slow = connect(database)
    try:
        with ReadingStore.open(database) as store:
            _write(store, first)
            fresh = second.take(~np.isin(second.instants_us, first.instants_us))
            rows(
                slow,
                "INSERT INTO readings SELECT %s, to_timestamp(at / 1e6), '{1,2,3,4}' "
                "FROM unnest(%s::bigint[]) AS at",
                (keys[0], np.unique(fresh.instants_us).tolist()),
            )
            rollups.mark(slow, (fresh,))
            _roll_all(database)
            _check_against_brute_force(database)
            slow.commit()
    finally:
        slow.close()
    _roll_all(database)

    assert _check_against_brute_force(database) > 10


def test_a_trend_is_raw_or_by_minutes_as_the_period_asks(
    database: StorageSettings, keys: list[int]
) -> None:
    """A short period shows readings, a long one minutes; both tell the same extremes."""
    with ReadingStore.open(database) as store:
        _write(store, _made(np.random.default_rng(1), keys, 2000))
    _roll_all(database)

    with session(database) as on:
        names = ["pump-2", "pump-1"]
        end_us = START_US + 30 * MINUTE_US
        raw = history.read_trends(on, names, START_US, end_us)
        coarse = history.read_trends(on, names, START_US, end_us, most=100)

    assert [(one.machine, one.step_s) for one in raw] == [("pump-2", 0), ("pump-1", 0)]
    assert [(one.machine, one.step_s) for one in coarse] == [("pump-2", 60), ("pump-1", 60)]
    for fine, summed in zip(raw, coarse, strict=True):
        assert len(fine.instants_us) > 300
        assert 30 <= len(summed.instants_us) <= 31
        assert np.array_equal(np.nanmin(fine.mean, axis=0), np.nanmin(summed.low, axis=0))
        assert np.array_equal(np.nanmax(fine.mean, axis=0), np.nanmax(summed.high, axis=0))


def test_retention_drops_whole_days_and_keeps_their_minutes(
    database: StorageSettings, keys: list[int]
) -> None:
    """By the days that the owner set; a later reading does not spoil a dropped day's minutes."""
    readings = _made(np.random.default_rng(2), keys[:1], 200)
    now_us = START_US + 3 * partitions.DAY_US
    with ReadingStore.open(database) as store:
        _write(store, readings)
        _roll_all(database)
        with session(database) as on:
            assert retention.days(on) is None
            before = rows(on, _MINUTES)
            assert retention.apply(on, now_us) == ()
            retention.set_days(on, 2)
        on = connect(database)
        try:
            keep_partitions(on, now_us)
            days = partitions.existing(on)
        finally:
            on.close()
        assert days == (date(2025, 6, 17), *(date(2025, 6, day) for day in range(18, 22)))
        _write(store, readings.take(np.arange(1)))
    _roll_all(database)

    with session(database) as on:
        assert rows(on, "SELECT count(*) FROM readings") == [(1,)]
        assert str(rows(on, _MINUTES)) == str(before)


def test_retention_believes_the_servers_clock(database: StorageSettings) -> None:
    """A consumer whose clock runs a century ahead drops nothing; a day is the least."""
    with session(database) as on:
        today = rows(on, "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")[0][0]
        partitions.ensure(on, [today])
        retention.set_days(on, 1)
        assert retention.apply(on, 4_000_000_000_000_000) == ()
        assert today in partitions.existing(on)
    with pytest.raises(BadInputError), session(database) as on:
        retention.set_days(on, 0)
