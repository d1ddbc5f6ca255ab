"""Kafka topics of other shapes to Postgres through the real loop, each value once."""

import json
import random

import numpy as np
import pytest

from domain.mapping import parse
from ingestion.consume import Ingestion
from ingestion.kafka import ensure_topic
from ingestion.settings import KafkaSettings
from storage import history, mappings, quarantine, retention, roster_store
from storage.connect import rows, session
from storage.redrive import Redriven, redrive
from storage.settings import StorageSettings
from tests.ingest_support import START_US, quick_sink, running, settings_of, stored, until

START_MS = START_US // 1000
PIVOT = parse(
    """
machine = "$.device"
machine_class = "press"
period_s = 0.5
time = "$.ts"
time_format = "epoch_ms"
[pivot]
metric = "$.metric"
value = "$.value"
window_ms = 50
wait_ms = 100
[[sensors]]
name = "pressure"
[[sensors]]
name = "temperature"
[[sensors]]
name = "speed"
from = "rpm"
scale = 0.5
""",
    "pivot.toml",
)
NAMES = {"pressure": 0, "temperature": 1, "rpm": 2}
type Part = tuple[str, str, float, int]


@pytest.fixture
def settings(kafka: str, topic: str) -> KafkaSettings:
    """Return settings of this test alone; the topic is there."""
    found = settings_of(kafka, topic)
    ensure_topic(found)
    return found


def send(settings: KafkaSettings, parts: list[Part], *, spread: bool = False) -> None:
    """Publish (device, metric, value, milliseconds after the start), with the device as key."""
    with quick_sink(settings) as sink:
        for device, metric, value, at_ms in parts:
            body = {"device": device, "metric": metric, "value": value, "ts": START_MS + at_ms}
            # A foreign topic may lay one machine's values into several partitions.
            key = f"{device}/{metric}" if spread else device
            sink.send(settings.topic, key.encode(), [json.dumps(body).encode()])


def instants(count: int, device: str) -> list[Part]:
    """Return the parts of a machine's readings, half a second apart, some milliseconds jittered."""
    jitter = random.Random(device)
    return [
        (device, metric, number + column / 10, number * 500 + jitter.randint(-20, 20))
        for number in range(count)
        for metric, column in NAMES.items()
    ]


def wanted(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return what `instants` comes to."""
    found = np.arange(count)[:, None] + np.arange(3) / 10
    found[:, 2] *= 0.5
    return found


def test_single_values_in_any_order_become_whole_readings_once(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """Shuffled over three partitions, some twice, in several runs by two consumers."""
    count, devices = 60, ["p1", "p2", "p3"]
    parts = [part for device in devices for part in instants(count, device)]
    shuffled = random.Random(7)
    again = shuffled.sample(parts, 80)
    everything = parts + again
    shuffled.shuffle(everything)
    third = len(everything) // 3

    with running(Ingestion(settings, database, mapping=PIVOT, worker="a")) as one:
        send(settings, everything[:third], spread=True)
        until(lambda: one.totals.consumed == third)
    with (
        running(Ingestion(settings, database, mapping=PIVOT, worker="b")) as two,
        running(Ingestion(settings, database, mapping=PIVOT, worker="c")) as three,
    ):
        until(lambda: len(two.totals.positions) > 0 and len(three.totals.positions) > 0)
        send(settings, everything[third:], spread=True)
        until(
            lambda: (
                two.totals.consumed + three.totals.consumed >= len(everything) - third
                and two.totals.faults + three.totals.faults == 0
            )
        )

    with session(database) as on:
        assert quarantine.counts(on) == {}
        for found in history.read_history(on, devices, 0, 2**62):
            assert np.array_equal(found.instants_us, START_US + np.arange(count) * 500_000)
            assert np.array_equal(found.values, wanted(count))


def test_a_late_value_is_merged_and_never_overwrites(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """It fills what is missing; one that differs from what is stored is kept aside, told why."""
    send(settings, [("p1", "pressure", 1.0, 0), ("p1", "rpm", 6.0, 0)])
    with running(Ingestion(settings, database, mapping=PIVOT)) as first:
        until(lambda: first.totals.consumed == 2)
    send(settings, [("p1", "temperature", 20.0, 10), ("p1", "rpm", 6.0, 0), ("p1", "rpm", 8.0, 5)])
    with running(Ingestion(settings, database, mapping=PIVOT)) as second:
        until(lambda: second.totals.consumed == 3)

    assert (first.totals.stored, second.totals.stored, second.totals.duplicates) == (1, 0, 1)
    assert second.totals.quarantined == 1
    with session(database) as on:
        (found,) = history.read_history(on, ["p1"], 0, 2**62)
        (kept,) = quarantine.listed(on)
        assert rows(on, "SELECT machine_key, hold_s FROM to_score") == [(1, 0.1)]
    assert found.values.tolist() == [[1.0, 20.0, 3.0]]
    assert kept.entry.reason == "conflicting_value"
    assert "speed had another value at 2025-06-15T15:06:40.000000Z" in kept.entry.detail
    assert json.loads(kept.entry.value or b"")["value"] == 8.0


def test_a_day_that_retention_dropped_meanwhile_is_made_again(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A reader that has seen the day stores a late value into it, and blames no message."""
    with running(Ingestion(settings, database, mapping=PIVOT)) as ingestion:
        send(settings, [("p1", "pressure", 1.0, 0)])
        until(lambda: ingestion.totals.consumed == 1)
        with session(database) as on:
            retention.set_days(on, 1)
            assert len(retention.apply(on, START_US + 10**12)) == 1
        send(settings, [("p1", "rpm", 4.0, 0)])
        until(lambda: ingestion.totals.consumed == 2)

    with session(database) as on:
        (found,) = history.read_history(on, ["p1"], 0, 2**62)
        assert quarantine.counts(on) == {}
    assert np.array_equal(found.values, [[np.nan, np.nan, 2.0]], equal_nan=True)
    assert ingestion.totals.faults == 0


def test_messages_that_fit_no_rule_are_kept_and_re_driven_by_the_mended_mapping(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """The raw bytes stay as they came; the mapping that was mended later reads them."""
    send(settings, [("p1", "pressure", 1.0, 0), ("p1", "torque", 5.0, 0), ("p 2", "rpm", 1.0, 0)])
    with running(Ingestion(settings, database, mapping=PIVOT)) as ingestion:
        until(lambda: ingestion.totals.consumed == 3)
    with session(database) as on:
        assert quarantine.counts(on) == {"bad_name": 1, "unknown_sensor": 1}
    now_us = START_US + 10**9
    assert redrive(database, now_us=now_us) == Redriven(refused=2)

    mended = parse(PIVOT.text + '\n[[sensors]]\nname = "torque"\nscale = 2', "pivot.toml")
    with session(database) as on:
        mappings.register(on, settings.topic, mended)
    assert redrive(database, now_us=now_us) == Redriven(duplicates=1, refused=1)
    assert redrive(database, now_us=now_us) == Redriven(refused=1)

    with session(database) as on:
        (found,) = history.read_history(on, ["p1"], 0, 2**62)
        names = roster_store.load(on).classes["press"].sensor_names
    assert names == ("pressure", "temperature", "speed", "torque")
    assert np.array_equal(found.values, [[1.0, np.nan, np.nan, 10.0]], equal_nan=True)


def test_whole_readings_of_another_shape_are_stored(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A machine that another class has keeps it; what has no column there is kept aside."""
    wide = parse(
        """
machine = "key"
machine_class = "fan"
time = "$.t"
[[sensors]]
name = "rpm"
from = "$.data.rpm"
[[sensors]]
name = "amps"
from = "$.data['motor amps']"
""",
        "wide.toml",
    )
    with session(database) as on:
        mappings.register(on, "elsewhere", PIVOT)
        roster_store.register_machines(on, ["press-1"], "press")
    with quick_sink(settings) as sink:
        for second in range(30):
            data = {"rpm": second, "motor amps": second / 2}
            body = {"t": f"2025-06-15T15:06:{second:02}Z", "data": data}
            sink.send(settings.topic, b"fan-1", [json.dumps(body).encode()])
        body = {"t": "2025-06-15T15:06:00Z", "data": {"rpm": 1}}
        sink.send(settings.topic, b"press-1", [json.dumps(body).encode()])

    with running(Ingestion(settings, database, mapping=wide)) as ingestion:
        until(lambda: ingestion.totals.consumed == 31)

    with session(database) as on:
        (found,) = history.read_history(on, ["fan-1"], 0, 2**62)
        (kept,) = quarantine.listed(on)
    assert stored(database) == 30
    assert np.array_equal(found.values, np.arange(30)[:, None] * [1.0, 0.5])
    assert kept.entry.reason == "unknown_sensor"
    assert "press-1 is of class press, which has no sensor rpm" in kept.entry.detail


def test_a_row_the_database_refuses_costs_its_own_message_alone(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """Halved until it stands alone, the other parts of its instant merge as ever."""
    with session(database) as on:
        rows(on, 'ALTER TABLE readings ADD CHECK (NOT 77 = ANY ("values"))')
    send(settings, [*instants(20, "p1"), ("p2", "pressure", 77.0, 0), ("p2", "rpm", 4.0, 0)])

    with running(Ingestion(settings, database, mapping=PIVOT)) as ingestion:
        until(lambda: ingestion.totals.consumed == 62)

    with session(database) as on:
        one, two = history.read_history(on, ["p1", "p2"], 0, 2**62)
        (kept,) = quarantine.listed(on)
    assert np.array_equal(one.values, wanted(20))
    assert np.array_equal(two.values, [[np.nan, np.nan, 2.0]], equal_nan=True)
    assert kept.entry.reason == "refused_by_storage"
