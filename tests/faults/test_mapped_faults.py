"""Readers of a foreign topic are killed under load; each value is in its reading, once."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from domain.mapping import Mapping, parse
from ingestion.foreign import settings_for
from ingestion.kafka import KafkaSink, ensure_topic, find_topic
from ingestion.settings import KafkaSettings
from storage import history, offsets, quarantine
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.ingest_support import START_US, settings_of, until

_ROOT = Path(__file__).parents[2]
METRICS, READINGS, DEVICES, KILLS = ("a", "b", "c", "d"), 2_000, ("m-1", "m-2"), 5
TOTAL = len(METRICS) * READINGS * len(DEVICES)
MAPPING = """
machine = "$.m"
machine_class = "mill"
time = "$.t"
time_format = "epoch_ms"
[pivot]
metric = "$.k"
value = "$.v"
wait_ms = 20
""" + "".join(f'[[sensors]]\nname = "{name}"\n' for name in METRICS)


type Part = tuple[str, str, int]


def _parts() -> list[Part]:
    """Return every value once, those of a reading far apart."""
    parts = [
        (device, metric, number)
        for device in DEVICES
        for metric in METRICS
        for number in range(READINGS)
    ]
    random.Random(3).shuffle(parts)
    return parts


def _publish(settings: KafkaSettings, parts: list[Part]) -> None:
    """Send values, those of one machine into several partitions."""
    with KafkaSink.open(settings) as sink:
        for device, metric, number in parts:
            column = METRICS.index(metric)
            body = {"m": device, "k": metric, "v": number + column / 8, "t": _ms(number)}
            sink.send(settings.topic, f"{device}{metric}".encode(), [json.dumps(body).encode()])


def _ms(number: int) -> int:
    return START_US // 1000 + number * 500


def _stored_offsets(kafka: KafkaSettings, database: StorageSettings) -> int:
    with session(database) as on:
        return sum(offsets.stored_positions(on, kafka.group_id, find_topic(kafka)).values())


def _reader(
    kafka: str, topic: str, database: StorageSettings, folder: Path
) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "POSTGRES_HOST": database.host,
        "POSTGRES_PORT": str(database.port),
        "POSTGRES_USER": database.user,
        "POSTGRES_DB": database.database,
        "MILLWRIGHT_HOME": str(folder / "home"),
        "PYTHONPATH": str(_ROOT),
    }
    words = ["ingest", "--mapping", "mill.toml", "--topic", topic]
    return subprocess.Popen(
        [sys.executable, "-m", "ray_app.cli.main", *words],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.timeout(900)
@pytest.mark.nightly
def test_readers_killed_in_the_middle_lose_and_double_no_value(
    kafka: str, topic: str, database: StorageSettings, tmp_path: Path
) -> None:
    """Kill -9 while values come in: in the end all readings are whole and nothing is set aside."""
    (tmp_path / "mill.toml").write_text(MAPPING)
    mapping: Mapping = parse(MAPPING, "mill.toml")
    foreign = settings_of(kafka, topic)
    ensure_topic(foreign)
    group = settings_for(KafkaSettings(bootstrap_servers=kafka), mapping, topic)
    parts, behind = _parts(), 0
    chunk = TOTAL // KILLS
    for begin in range(0, TOTAL, chunk):
        before = _stored_offsets(group, database)
        reader = _reader(kafka, topic, database, tmp_path)
        try:
            _publish(foreign, parts[begin : begin + chunk // 2])
            until(lambda: _stored_offsets(group, database) > before, within_s=120)  # noqa: B023 - awaited at once
            _publish(foreign, parts[begin + chunk // 2 : begin + chunk])
        finally:
            # What was sent a moment ago is on its way through the reader.
            reader.send_signal(signal.SIGKILL)
            reader.wait(10)
        behind += _stored_offsets(group, database) < begin + chunk
    assert behind > 0, "every reader was through before it was killed: the test shows nothing"
    last = _reader(kafka, topic, database, tmp_path)
    try:
        until(lambda: _stored_offsets(group, database) == TOTAL, within_s=120)
    finally:
        last.send_signal(signal.SIGTERM)
        assert last.wait(30) == 0

    with session(database) as on:
        assert quarantine.counts(on) == {}
        assert rows(on, "SELECT count(*) FROM readings") == [(READINGS * len(DEVICES),)]
        for found in history.read_history(on, DEVICES, 0, 2**62):
            numbers = np.arange(READINGS)
            assert np.array_equal(found.instants_us, START_US + numbers * 500_000)
            assert np.array_equal(found.values, numbers[:, None] + np.arange(4) / 8)
