"""The stream's scorer over real Kafka and Postgres: once, again after a restart, and swapped."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import numpy as np
import pytest

from domain.health import Health
from domain.machines import MachineClass, Sensor
from domain.mapping import parse
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.wire import encode
from ingestion.consume import Ingestion
from ingestion.kafka import ensure_topic
from ingestion.settings import KafkaSettings
from ray_app.consumer_actor import ConsumerActor
from ray_app.scorer_actor import ScorerActor
from ray_app.serve.views import machine_view
from storage import (
    anomalies,
    fleet,
    history,
    incidents,
    models,
    movements,
    quarantine,
    rates,
    roster_store,
    sensor_states,
)
from storage.connect import rows, session
from storage.redrive import redrive
from storage.settings import StorageSettings
from tests.ingest_support import quick_sink

SENSORS = ("vibration", "current", "flow", "temperature")
PUMP = MachineClass(name="pump", sensors=tuple(Sensor(name=name) for name in SENSORS), period_s=0.5)
TRAINED, LIVE = 1200, 240
START_US = round(datetime.now(UTC).timestamp() * 1e6) - (TRAINED + LIVE) * 500_000


def readings(machine: str, first: int, count: int) -> History:
    """Return readings at 2 Hz; those of pump-2 drift away over the second half after training."""
    rng = np.random.default_rng([int(machine[-1]), first])
    at = np.arange(first, first + count, dtype=np.int64)
    values = rng.normal((0.2, 2.4, 125.0, 89.5), (0.01, 0.1, 1.5, 0.4), (count, 4))
    if machine == "pump-2":
        values[:, 0] += 0.01 * np.maximum(0, at - TRAINED - LIVE // 2)
    return History(machine=machine, instants_us=START_US + at * 500_000, values=values)


@pytest.fixture(scope="module")
def packages() -> list[bytes]:
    """Return two models of the same history."""
    spec = PipelineSpec(detector="pca", window_s=10.0, regimes=1)
    past = [readings(name, 0, TRAINED) for name in ("pump-1", "pump-2")]
    return [Pipeline.fit(spec, past, PUMP, seed=seed).to_package() for seed in (1, 2)]


@pytest.fixture
def settings(kafka: str, topic: str, database: StorageSettings) -> KafkaSettings:
    """Return a topic of this test, and a database that knows the class."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
    made = KafkaSettings(
        bootstrap_servers=kafka, topic=topic, group_id=topic, partitions=2, commit_interval_ms=200
    )
    ensure_topic(made)
    return made


def publish(settings: KafkaSettings, first: int, count: int) -> None:
    """Send both machines' readings."""
    with quick_sink(settings) as sink:
        for name in ("pump-1", "pump-2"):
            one = readings(name, first, count)
            sink.send(
                settings.topic, name.encode(), encode(name, one.instants_us, one.values, SENSORS)
            )
        sink.flush()


def promote(database: StorageSettings, version: int, package: bytes) -> None:
    """Store a version and make it the champion."""
    with session(database) as on:
        models.add_version(
            on,
            models.StoredModel(
                machine_class="pump",
                version=version,
                run_id="run",
                sha256=hashlib.sha256(package).hexdigest(),
                package=package,
            ),
            actor="test",
            reason="trained",
        )
        models.promote(on, "pump", version, actor="test", reason="to be used")


@contextmanager
def at_work[Actor: (ScorerActor, ConsumerActor, Ingestion)](actor: Actor) -> Iterator[Actor]:
    """Run an actor in a thread, and let it finish at the end."""
    thread = threading.Thread(target=actor.run)
    thread.start()
    try:
        yield actor
    finally:
        actor.stop()
        thread.join(30)
        assert not thread.is_alive()


def ingest(settings: KafkaSettings, database: StorageSettings, count: int) -> None:
    """Store what was published: the past that a scorer looks back on."""

    def stored(at: StorageSettings) -> bool:
        with session(at) as on:
            return history.count(on) == count

    with at_work(ConsumerActor(settings, database, "consumer-0")):
        until(database, stored)


def until(database: StorageSettings, holds: Callable[[StorageSettings], bool]) -> None:
    """Await a condition on the database."""
    deadline = monotonic() + 60
    while not holds(database):
        assert monotonic() < deadline
        threading.Event().wait(0.1)


def scored_to(last: int, version: int = 1) -> Callable[[StorageSettings], bool]:
    """Say whether both machines' states have come to this reading."""
    wanted = START_US + last * 500_000

    def holds(database: StorageSettings) -> bool:
        with session(database) as on:
            states = rows(
                on,
                "SELECT (extract(epoch FROM instant) * 1e6)::bigint, model_version"
                " FROM machine_states",
            )
        return len(states) == 2 and all(at >= wanted and by == version for at, by in states)

    return holds


def test_a_failing_machine_becomes_one_incident_with_its_sensor(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """What the champion was trained on is not judged; all that came after it is."""
    publish(settings, 0, TRAINED + LIVE)
    with at_work(ScorerActor(settings, database)):
        promote(database, 1, packages[0])
        until(database, scored_to(TRAINED + LIVE - 1))
    with session(database) as on:
        found = incidents.incidents(on)
        told = anomalies.listed(on, limit=1000)
        states = {one.name: one.score for one in fleet.machines(on)}
        rate = rates.by_stage(on)
        moved = movements.of_incidents(on, [found[0].id])
        still = movements.listed(on, "pump-1")

    assert [(one.machine, one.root_sensor, one.state) for one in found] == [
        ("pump-2", "vibration", "open")
    ]
    ill_since_us = START_US + (TRAINED + LIVE // 2) * 500_000
    ill_since = datetime.fromtimestamp(ill_since_us / 1e6, UTC)
    assert 0 <= (found[0].opened - ill_since).total_seconds() < 30
    of_ill = [one for one in told if one.machine == "pump-2" and one.instant >= ill_since]
    assert len(of_ill) > LIVE // 4
    assert {one.incident_id for one in of_ill if one.instant >= found[0].began} == {found[0].id}
    assert (states["pump-1"] or 9) < 1 < (states["pump-2"] or 0)
    assert rate[0].stage == "score"
    assert {one.sensor for one in moved[found[0].id]} == {"vibration"}
    assert moved[found[0].id][-1].settled is None
    assert still == ()


def test_a_restart_goes_on_with_incident_and_offset_and_repeats_nothing(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """The same incident grows; no verdict is given twice."""
    promote(database, 1, packages[0])
    publish(settings, 0, TRAINED + LIVE - 40)
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(TRAINED + LIVE - 41))
    with session(database) as on:
        before = incidents.incidents(on)
        moving = movements.listed(on, "pump-2")
    ingest(settings, database, 2 * (TRAINED + LIVE - 40))
    publish(settings, TRAINED + LIVE - 40, 40)
    with at_work(ScorerActor(settings, database)) as second:
        until(database, scored_to(TRAINED + LIVE - 1))
    with session(database) as on:
        after = incidents.incidents(on)
        moved = movements.listed(on, "pump-2")

    assert moving[0].settled is None
    assert [one.began for one in moved] == [one.began for one in moving]
    assert [one.id for one in after] == [one.id for one in before]
    assert after[0].anomalies > before[0].anomalies
    assert after[0].peak_score > before[0].peak_score
    assert second._scored == 2 * 40


def test_a_new_champion_takes_over_between_two_batches(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """States and anomalies say which version gave them; the open incident goes on."""
    promote(database, 1, packages[0])
    publish(settings, 0, TRAINED + LIVE - 20)
    ingest(settings, database, 2 * (TRAINED + LIVE - 20))
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(TRAINED + LIVE - 21))
        promote(database, 2, packages[1])

        def noticed(at: StorageSettings) -> bool:
            with session(at) as on:
                return bool(
                    rows(
                        on,
                        "SELECT FROM pipeline_rates WHERE updated_at >"
                        " (SELECT max(at) + interval '3 s' FROM model_events)",
                    )
                )

        until(database, noticed)
        publish(settings, TRAINED + LIVE - 20, 20)
        until(database, scored_to(TRAINED + LIVE - 1, version=2))
    with session(database) as on:
        versions = {one.model_version for one in anomalies.listed(on, limit=1000)}
        live = incidents.incidents(on, live=True)

    assert versions == {1, 2}
    assert len(live) == 1


def test_poison_is_passed_over_and_the_rest_is_scored(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """The ingestion quarantines it; the scorer only moves on."""
    promote(database, 1, packages[0])
    publish(settings, 0, TRAINED + 20)
    with quick_sink(settings) as sink:
        sink.send(settings.topic, b"pump-1", [b"{", b"\xff", b'{"machine_id": 1}'])
        sink.flush()
    publish(settings, TRAINED + 20, 20)
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(TRAINED + 39))
    with session(database) as on:
        assert rows(on, "SELECT count(*) FROM quarantine") == [(0,)]


def states(database: StorageSettings) -> set[tuple[str, str, str]]:
    """Return machine, sensor and condition of all that the API shows."""
    with session(database) as on:
        views = [machine_view(one) for one in fleet.machines(on)]
    return {(view.id, one.sensor, one.condition.value) for view in views for one in view.conditions}


def test_sensors_and_silence_are_states_that_end(
    settings: KafkaSettings,
    database: StorageSettings,
    packages: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stuck sensor and a machine that stops are told apart from anomalies, and taken back.

    Patience is shortened; readings lie in the past all the while, which makes nobody silent.
    """
    monkeypatch.setattr("domain.health.SILENT_AT_LEAST_S", 3.0)
    monkeypatch.setattr("domain.health.SILENT_PERIODS", 2)
    promote(database, 1, packages[0])
    publish(settings, 0, TRAINED + 100)
    at, stuck = TRAINED + 100, 40

    def speak(count: int, *, flow: float | None) -> None:
        """Let pump-1 alone go on."""
        nonlocal at
        one = readings("pump-1", at, count)
        if flow is not None:
            one.values[:, 2] = flow
        with quick_sink(settings) as sink:
            messages = encode("pump-1", one.instants_us, one.values, SENSORS)
            sink.send(settings.topic, b"pump-1", messages)
            sink.flush()
        at += count

    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(TRAINED + 99))
        speak(stuck, flow=125.0)

        def told(found: StorageSettings) -> bool:
            speak(1, flow=125.0)
            return states(found) == {("pump-1", "flow", "stuck"), ("pump-2", "", "silent")}

        until(database, told)
        with session(database) as on:
            healths = {one.id: one for one in map(machine_view, fleet.machines(on))}
            held = {one.sensor: one for one in sensor_states.every(on)}
        speak(40, flow=None)
        until(database, lambda found: states(found) == {("pump-2", "", "silent")})
        # The readings that are missing of it are a hole in the window of its model.
        publish(settings, at, 5)
        until(database, lambda found: states(found) == {("pump-2", "", "gap")})

    assert healths["pump-1"].health is Health.SENSOR_FAULT
    assert healths["pump-2"].health is Health.SILENT
    assert (healths["pump-2"].silent_s or 0) > 3
    assert healths["pump-1"].silent_s is None
    assert healths["pump-1"].data_quality["faults"] == [{"sensor": "flow", "kind": "stuck"}]
    first = START_US + (TRAINED + 100) * 500_000
    assert 0 < held["flow"].since_us - first < 30 * 500_000


def test_silence_is_told_before_there_is_a_champion(
    settings: KafkaSettings, database: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is stored; while the ingestion is away nobody is silent, we are deaf."""
    monkeypatch.setattr("domain.health.SILENT_AT_LEAST_S", 2.0)
    monkeypatch.setattr("domain.health.SILENT_PERIODS", 2)
    publish(settings, 0, 20)
    ingest(settings, database, 40)

    def lag(waiting: int) -> None:
        with session(database) as on:
            rates.report(
                on, worker="consumer-0", stage="consume", per_second=1.0, total=1, lag=waiting
            )

    lag(10_000)
    began = monotonic()
    with at_work(ScorerActor(settings, database)):
        until(database, lambda _: monotonic() - began > 4)
        assert states(database) == set()
        lag(0)
        until(
            database, lambda at: states(at) == {("pump-1", "", "silent"), ("pump-2", "", "silent")}
        )
        with quick_sink(settings) as sink:
            one = readings("pump-1", 20, 5)
            sink.send(
                settings.topic, b"pump-1", encode("pump-1", one.instants_us, one.values, SENSORS)
            )
            sink.flush()
        ingest(settings, database, 45)
        until(database, lambda at: ("pump-1", "", "silent") not in states(at))


def test_gaps_and_stuck_sensors_are_told_before_there_is_a_champion(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """By what is stored: limits of sensors are learnt from it, and gaps need none."""
    publish(settings, 0, 200)
    ingest(settings, database, 400)
    with at_work(ScorerActor(settings, database)):
        stuck, late = readings("pump-1", 200, 40), readings("pump-2", 300, 5)
        stuck.values[:, 2] = 125.0
        with quick_sink(settings) as sink:
            for one in (stuck, late):
                messages = encode(one.machine, one.instants_us, one.values, SENSORS)
                sink.send(settings.topic, one.machine.encode(), messages)
            sink.flush()
        ingest(settings, database, 445)
        until(
            database,
            lambda at: states(at) >= {("pump-1", "flow", "stuck"), ("pump-2", "", "gap")},
        )
        with quick_sink(settings) as sink:
            one = readings("pump-1", 240, 5)
            sink.send(
                settings.topic, b"pump-1", encode("pump-1", one.instants_us, one.values, SENSORS)
            )
            sink.flush()
        ingest(settings, database, 450)
        until(database, lambda at: ("pump-1", "flow", "stuck") not in states(at))


def test_sensors_of_a_class_without_a_champion_are_told_beside_one_that_has_it(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """On the stream itself: nothing of that class is scored, and its sensors are looked at."""
    vent = MachineClass(name="vent", sensors=(*PUMP.sensors, Sensor(name="air")), period_s=0.5)
    promote(database, 1, packages[0])
    with session(database) as on:
        roster_store.register_class(on, vent)
        roster_store.register_machines(on, ["vent-1"], "vent")
    one = readings("vent-1", 0, 300)
    one.values[-60:, 2] = 125.0
    with quick_sink(settings) as sink:
        sink.send(settings.topic, b"vent-1", encode("vent-1", one.instants_us, one.values, SENSORS))
        sink.flush()
    with at_work(ScorerActor(settings, database)):
        until(database, lambda at: ("vent-1", "flow", "stuck") in states(at))
    with session(database) as on:
        assert rows(on, "SELECT count(*) FROM machine_states") == [(0,)]


def test_a_scorer_that_starts_anew_goes_on_with_the_states_it_finds(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """A sensor is stuck since it was stuck, not since a restart."""
    promote(database, 1, packages[0])
    publish(settings, 0, TRAINED)
    last = TRAINED + 60
    with quick_sink(settings) as sink:
        for name in ("pump-1", "pump-2"):
            one = readings(name, TRAINED, 60)
            one.values[20:, 1] = 2.5
            messages = encode(name, one.instants_us, one.values, SENSORS)
            sink.send(settings.topic, name.encode(), messages)
        sink.flush()
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(last - 1))
    with session(database) as on:
        before = sensor_states.every(on)
    ingest(settings, database, 2 * last)
    with quick_sink(settings) as sink:
        for name in ("pump-1", "pump-2"):
            one = readings(name, last, 30)
            one.values[:, 1] = 2.5
            messages = encode(name, one.instants_us, one.values, SENSORS)
            sink.send(settings.topic, name.encode(), messages)
        sink.flush()
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(last + 29))
    with session(database) as on:
        after = sensor_states.every(on)

    assert [(one.sensor, one.condition) for one in before] == 2 * [("current", "stuck")]
    assert [one.since_us for one in after] == [one.since_us for one in before]
    assert all(b.last_seen_us > a.last_seen_us for a, b in zip(before, after, strict=True))


MAPPING = """
machine = "key"
machine_class = "pump"
time = "$.at"
time_format = "epoch_us"
[pivot]
metric = "$.tag"
value = "$.v"
wait_ms = 200
""" + "".join(f'[[sensors]]\nname = "{name}"\n' for name in SENSORS)


def publish_single_values(settings: KafkaSettings, first: int, count: int) -> int:
    """Send both machines' readings one value per message; return how many messages."""
    with quick_sink(settings) as sink:
        for name in ("pump-1", "pump-2"):
            one = readings(name, first, count)
            for at, row in zip(one.instants_us.tolist(), one.values.tolist(), strict=True):
                parts = [
                    f'{{"tag":"{sensor}","at":{at},"v":{value!r}}}'.encode()
                    for sensor, value in zip(SENSORS, row, strict=True)
                ]
                sink.send(settings.topic, name.encode(), parts)
    return 2 * count * len(SENSORS)


def test_mapped_readings_are_judged_whole_from_the_queue(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """They never pass the scorer's topic, yet the ill machine gets its incident."""
    promote(database, 1, packages[0])
    foreign = replace(settings, topic=f"{settings.topic}.foreign")
    ensure_topic(foreign)
    sent = publish_single_values(foreign, 0, TRAINED + LIVE)
    ingestion = Ingestion(foreign, database, mapping=parse(MAPPING, "pump.toml"))
    with at_work(ingestion), at_work(ScorerActor(settings, database)) as scorer:
        until(database, scored_to(TRAINED + LIVE - 1))
        until(database, lambda at: not _queued(at))
    with session(database) as on:
        found = incidents.incidents(on)

    assert ingestion.totals.consumed == sent
    assert scorer._scored == 2 * (TRAINED + LIVE)
    assert [(one.machine, one.root_sensor) for one in found] == [("pump-2", "vibration")]


def test_re_driven_readings_are_judged(
    settings: KafkaSettings, database: StorageSettings, packages: list[bytes]
) -> None:
    """Machines whose class was registered too late get their verdicts after all, each once."""
    promote(database, 1, packages[0])
    publish(settings, 0, TRAINED)
    ingest(settings, database, 2 * TRAINED)
    with session(database) as on:
        quarantine.add(on, _kept(settings.topic))
    with at_work(ScorerActor(settings, database)) as scorer:
        assert redrive(database, now_us=START_US + 10**10).stored == 2 * LIVE
        until(database, scored_to(TRAINED + LIVE - 1))
        until(database, lambda at: not _queued(at))
    with session(database) as on:
        found = incidents.incidents(on)

    assert redrive(database, now_us=START_US + 10**10).stored == 0
    assert scorer._scored == 2 * (TRAINED + LIVE)
    assert [(one.machine, one.root_sensor) for one in found] == [("pump-2", "vibration")]


def _queued(database: StorageSettings) -> int:
    with session(database) as on:
        return int(rows(on, "SELECT count(*) FROM to_score")[0][0])


def _kept(topic: str) -> list[quarantine.Entry]:
    """Return what came after the training, as if nobody had known the machines then."""
    messages = [
        (name.encode(), value)
        for name in ("pump-1", "pump-2")
        for one in [readings(name, TRAINED, LIVE)]
        for value in encode(name, one.instants_us, one.values, SENSORS)
    ]
    return [
        quarantine.Entry(
            topic_id="one",
            topic=topic,
            partition=0,
            offset=offset,
            reason="unknown_machine",
            detail="as it was then",
            key=key,
            value=value,
        )
        for offset, (key, value) in enumerate(messages)
    ]
