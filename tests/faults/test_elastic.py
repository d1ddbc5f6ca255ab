"""Consumers come and go with the load, on a real cluster of two nodes: once each, in order."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from ingestion.gaps import standings
from ingestion.kafka import ensure_topic
from ingestion.settings import KafkaSettings
from storage import history, quarantine, rates, roster_store
from storage.connect import session
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, batch, send, stored, until

MACHINES = 8
CHUNK = 2500


def publish(kafka: KafkaSettings, first: int, count: int) -> None:
    """Send so many readings of every machine."""
    for machine in range(MACHINES):
        send(kafka, f"pump-{machine}", first, count)


def totals(database: StorageSettings) -> dict[str, int]:
    """Return what each consumer has said it stored."""
    with session(database) as on:
        return {one.worker: one.total for one in rates.current(on, within_s=3600)}


@pytest.mark.nightly
def test_a_backlog_calls_a_second_consumer_and_quiet_sends_both_home(
    kafka: str, topic: str, database: StorageSettings, tmp_path: Path
) -> None:
    """From none to two and back to none: 0 lost, 0 twice, and each machine's order is kept."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic=topic, group_id=topic, partitions=4, max_batch=500
    )
    ensure_topic(settings)
    with session(database) as on:
        roster_store.register_class(on, PUMP)
    each = 4 * CHUNK
    publish(settings, 0, each)
    given = json.dumps({"kafka": asdict(settings), "storage": asdict(database)})
    script = Path(__file__).with_name("elastic_process.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), given], stdin=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        changes = tmp_path / "changes"
        until(lambda: "0 → 1" in text(changes), 180)
        # No consumer has to be there for the lag to be known.
        while sum(total > 0 for total in totals(database).values()) < 2:
            assert process.poll() is None
            assert each < 400 * CHUNK, "the second consumer never stored anything"
            publish(settings, each, CHUNK)
            each += CHUNK
        process.stdin.write("places\n")
        process.stdin.flush()
        until(lambda: sum(one.lag for one in standings(settings, database)) == 0, 120)
        until(lambda: "1 → 0" in text(changes), 60)
        publish(settings, each, 1)
        each += 1
        until(lambda: stored(database) == MACHINES * each, 60)
        process.stdin.close()

    assert process.returncode == 0
    steps = [line.split(",")[0].removeprefix("consumers: ") for line in text(changes).splitlines()]
    if steps[-1] == "1 → 0":
        # The quiet after the last reading may send its consumer home before the process ends.
        steps.pop()
    assert steps[:2] == ["0 → 1", "1 → 2"]
    assert steps[-3:] == ["2 → 1", "1 → 0", "0 → 1"]
    placed = json.loads(text(tmp_path / "places"))
    assert placed.keys() == {"consumer-0", "consumer-1"}
    assert placed["consumer-0"] != placed["consumer-1"], "both on one node"
    check(database, each)


def check(database: StorageSettings, each: int) -> None:
    """Hold what is stored, reading by reading, against what was published."""
    with session(database) as on:
        found = history.read_history(on, [f"pump-{n}" for n in range(MACHINES)], 0, 2**62)
        held = quarantine.counts(on)
    wanted = batch(0, 0, each)
    for one in found:
        assert np.array_equal(one.instants_us, wanted.instants_us)
        assert np.array_equal(one.values, wanted.values)
    assert held == {}


def text(path: Path) -> str:
    """Return what is in a file; nothing when it is not there yet."""
    return path.read_text() if path.exists() else ""
