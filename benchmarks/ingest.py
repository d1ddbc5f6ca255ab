"""Kafka to committed rows: readings per second of one consumer, 20 sensors each, JSON.

    python benchmarks/ingest.py [--readings N] [--rounds R]

Starts a broker and a server of its own. What is measured runs in a process of its own, as a
consumer does: from the first message taken to the last commit, against the ceiling of the decoder
alone, in one thread, over the same messages. The last line is one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from domain import wire
from domain.machines import MachineClass, Sensor
from domain.roster import Roster
from ingestion.consume import Ingestion
from ingestion.kafka import KafkaSink, ensure_topic
from ingestion.settings import KafkaSettings
from ray_app.embedded import kafka as kafka_service
from ray_app.embedded import postgres as postgres_service
from ray_app.embedded.supervisor import Supervisor
from storage import history, offsets, roster_store
from storage.connect import session
from storage.migrate import upgrade
from storage.settings import StorageSettings

MACHINES = 50
SENSORS = 20
START_US = 1_750_000_000_000_000
CLASS = MachineClass(
    name="bench", sensors=tuple(Sensor(name=f"sensor_{n:02}") for n in range(SENSORS))
)


def messages(count: int) -> list[tuple[bytes, list[bytes]]]:
    """Return readings of every machine as messages: believable numbers of 5 digits."""
    generator = np.random.default_rng(0)
    each = count // MACHINES
    instants = START_US + np.arange(each) * 500_000
    made = []
    for machine in range(MACHINES):
        values = np.round(generator.normal(50, 5, (each, SENSORS)), 3)
        name = f"machine-{machine:03}"
        made.append((name.encode(), wire.encode(name, instants, values, CLASS.sensor_names)))
    return made


def publish(settings: KafkaSettings, made: list[tuple[bytes, list[bytes]]]) -> float:
    """Publish all of them, machines taking turns; return the seconds until Kafka had them."""
    began = time.perf_counter()
    with KafkaSink.open(settings) as sink:
        for at in range(0, len(made[0][1]), 200):
            for key, values in made:
                sink.send(settings.topic, key, values[at : at + 200])
    return time.perf_counter() - began


def consume(given: str) -> None:
    """Ingest everything a topic holds; print seconds from the first message to the last commit."""
    settings = json.loads(given)
    kafka = KafkaSettings(**settings["kafka"] | {"properties": ()})
    ingestion = Ingestion(kafka, StorageSettings(**settings["storage"]))
    thread = threading.Thread(target=ingestion.run)
    thread.start()
    wait_for(lambda: bool(ingestion.totals.positions))
    began = time.perf_counter()
    wait_for(lambda: ingestion.totals.consumed >= settings["readings"])
    seconds = time.perf_counter() - began
    ingestion.stop()
    thread.join()
    totals = ingestion.totals
    sys.stdout.write(
        json.dumps({"seconds": seconds, "stored": totals.stored, "batches": totals.batches}) + "\n"
    )


def wait_for(condition: Callable[[], bool], within_s: float = 300) -> None:
    """Await a condition, looking often enough to time it."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark did not end in time")
        time.sleep(0.002)


def decode_ceiling(made: list[tuple[bytes, list[bytes]]]) -> float:
    """Return messages per second of the decoder alone, in batches of 5,000."""
    names = [key.decode() for key, _ in made]
    roster = Roster.of([CLASS])
    from domain.machines import Machine

    roster = roster.with_machines(
        Machine(key=number, name=name, machine_class="bench") for number, name in enumerate(names)
    )
    flat = [(key, value) for at in zip(*(values for _, values in made), strict=True)
            for key, value in zip((key for key, _ in made), at, strict=True)]  # fmt: skip
    batches = [
        wire.RawBatch(
            topic="t",
            partitions=np.zeros(len(part), np.int32),
            offsets=np.arange(len(part), dtype=np.int64),
            keys=[key for key, _ in part],
            values=[value for _, value in part],
        )
        for part in (flat[at : at + 5000] for at in range(0, len(flat), 5000))
    ]
    wire.decode(batches[0], roster, now_us=START_US + 10**12)
    began = time.perf_counter()
    for batch in batches:
        found = wire.decode(batch, roster, now_us=START_US + 10**12)
        if found.rejections or found.strangers:
            raise ValueError("the benchmark's own messages were refused")
    return len(flat) / (time.perf_counter() - began)


def round_of(
    kafka: str, server: postgres_service.Server, made: list[tuple[bytes, list[bytes]]]
) -> dict[str, float]:
    """Measure once: a new topic, a new database, a new consumer process."""
    name = f"bench{uuid.uuid4().hex[:8]}"
    server.ensure("sensor_user", name)
    storage = server.settings("sensor_user", "", name)
    upgrade(storage)
    settings = KafkaSettings(bootstrap_servers=kafka, topic=name, group_id=name)
    topic = ensure_topic(settings)
    with session(storage) as on:
        roster_store.register_class(on, CLASS)
        roster_store.register_machines(on, [key.decode() for key, _ in made], CLASS.name)
    published_s = publish(settings, made)
    count = sum(len(values) for _, values in made)
    given = {"kafka": asdict(settings), "storage": asdict(storage), "readings": count}
    done = subprocess.run(
        [sys.executable, __file__, "--consume", json.dumps(given)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    took = json.loads(done.stdout.splitlines()[-1])
    with session(storage) as on:
        stored = history.count(on)
        passed = sum(offsets.stored_positions(on, name, topic).values())
    if not stored == passed == count == took["stored"]:
        raise ValueError(f"{count} published, {stored} stored, {passed} passed: {took}")
    return {
        "json_readings_per_s": count / took["seconds"],
        "readings_per_batch": count / took["batches"],
        "produced_per_s": count / published_s,
        "decode_per_s": decode_ceiling(made),
    }


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--consume", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.consume:
        consume(given.consume)
        return
    made = messages(given.readings)
    with tempfile.TemporaryDirectory(prefix="mw-") as folder, Supervisor() as supervisor:
        server = postgres_service.start(supervisor, Path(folder) / "pg")
        kafka = kafka_service.start(supervisor, Path(folder) / "kafka")
        rounds = [round_of(kafka, server, made) for _ in range(given.rounds)]
    for number, one in enumerate(rounds, 1):
        print(f"round {number}: " + ", ".join(f"{key} {value:,.0f}" for key, value in one.items()))
    medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    ratios = [one["json_readings_per_s"] / one["decode_per_s"] for one in rounds]
    medians["json_vs_decode"] = statistics.median(ratios)
    print(json.dumps({key: round(value, 3) for key, value in medians.items()}))


if __name__ == "__main__":
    main()
