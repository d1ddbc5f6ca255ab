"""What runs in a process of its own while it is measured."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import psutil

from benchmarks.intake import workload
from domain import wire
from domain.machines import Machine
from domain.roster import Roster
from ingestion.consume import Ingestion
from ingestion.kafka import find_topic, held
from ingestion.settings import KafkaSettings
from observability.metric import Metrics
from storage import offsets
from storage.settings import StorageSettings

NOW_US = workload.START_US + 10**12
MOST_S = 3000.0

PAUSE_S = 0.002
"""How exactly the end of a measurement is seen."""

SLICE = 5000
"""Messages per batch of the decoder alone."""

_UNSAFE = (("enable.auto.commit", "true"), ("enable.auto.offset.store", "true"))


def task(kafka: KafkaSettings, storage: StorageSettings, **more: Any) -> dict[str, Any]:
    """Return what `consume` and `drain` are given, as JSON can carry it."""
    return {"kafka": asdict(kafka), "storage": asdict(storage), **more}


def consume(given: dict[str, Any], metrics: Metrics | None = None) -> dict[str, Any]:
    """Ingest so many messages.

    Returns:
        Seconds from the assignment to the last commit, of processor time as well, readings stored,
        transactions, and the resident bytes after each tenth.
    """
    with _ingesting(given, metrics) as ingestion:
        wanted, began, resident = given["messages"], time.perf_counter(), []
        busy = time.process_time()
        for tenth in range(1, 11):
            while ingestion.totals.consumed < wanted * tenth // 10:
                _pause(ingestion, began)
            resident.append(psutil.Process().memory_info().rss)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    totals = ingestion.totals
    return {
        "seconds": seconds,
        "busy_s": busy,
        "stored": totals.stored,
        "batches": totals.batches,
        "resident": resident,
    }


def consume_unsafe(given: dict[str, Any]) -> dict[str, Any]:
    """Do the same with Kafka's auto-commit, and no offset in Postgres: fast and wrong."""
    given["kafka"]["properties"] = _UNSAFE
    with patch.object(offsets, "advance") as never:
        found = consume(given)
    if not never.called:
        raise ValueError("the offsets are written in another way now: nothing was left out")
    return found


def drain(given: dict[str, Any]) -> dict[str, Any]:
    """Ingest while messages keep arriving, until what lies in Kafka is a quarter second of them."""
    kafka = _kafka(given)
    topic, rest = find_topic(kafka).name, given["arriving"] / 4
    with _ingesting(given) as ingestion:
        began = time.perf_counter()
        lag = rest + 1
        while lag > rest:
            if time.perf_counter() - began > given["patience_s"]:
                break
            time.sleep(0.1)
            ends = sum(one.end for one in held(kafka, topic).values())
            lag = ends - sum(ingestion.totals.positions.values())
        seconds, stored = time.perf_counter() - began, ingestion.totals.stored
    return {"seconds": seconds, "stored": stored, "in_all": ingestion.totals.stored, "left": lag}


def decode(given: dict[str, Any]) -> dict[str, float]:
    """Return JSON messages per second of decoders alone, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    batches = list(_batches(given["messages"]))
    return {
        "ours": _rate(_decoded, batches),
        "msgspec": _rate(_msgspec_lines(), batches),
    }


class _Running(Ingestion):
    """An ingestion in a thread of its own."""

    def start(self) -> None:
        """Begin."""
        self.thread = threading.Thread(target=self.run)
        self.thread.start()


@contextmanager
def _ingesting(given: dict[str, Any], metrics: Metrics | None = None) -> Iterator[_Running]:
    """Run an ingestion, from its assignment on, until the block ends."""
    _warm_up()
    ingestion = _Running(_kafka(given), StorageSettings(**given["storage"]), metrics=metrics)
    ingestion.start()
    try:
        began = time.perf_counter()
        while not ingestion.totals.positions:
            _pause(ingestion, began)
        yield ingestion
    finally:
        ingestion.stop()
        ingestion.thread.join()


def _pause(ingestion: _Running, began: float) -> None:
    """Wait a little, as long as there is something to wait for."""
    if not ingestion.thread.is_alive():
        raise RuntimeError("the ingestion ended by itself; what it raised stands above")
    if time.perf_counter() - began > MOST_S:
        raise TimeoutError("what is measured did not end in time")
    time.sleep(PAUSE_S)


def _kafka(given: dict[str, Any]) -> KafkaSettings:
    # JSON made lists of the pairs.
    pairs = tuple((name, value) for name, value in given["kafka"]["properties"])
    return KafkaSettings(**given["kafka"] | {"properties": pairs})


@cache
def _roster() -> Roster:
    return Roster.of([workload.CLASS]).with_machines(
        Machine(key=number, name=name, machine_class=workload.CLASS.name)
        for number, name in enumerate(workload.NAMES)
    )


def _warm_up() -> None:
    """Load the compiled decoders, as a consumer that has run for a second has them."""
    one = next(workload.turns(workload.MACHINES))
    for made, headers in (
        (workload.json_messages(one), None),
        (workload.packed_messages(one), wire.PACKED_HEADERS),
    ):
        raw = wire.RawBatch(
            topic="t",
            partitions=np.zeros(len(made), np.int32),
            offsets=np.arange(len(made), dtype=np.int64),
            keys=[workload.NAMES[one.machine].encode()] * len(made),
            values=[*made],
            headers=None if headers is None else [headers] * len(made),
        )
        wire.decode(raw, _roster(), now_us=NOW_US)


def _batches(count: int) -> Iterator[wire.RawBatch]:
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    for one in workload.turns(count):
        made = workload.json_messages(one)
        keys += [workload.NAMES[one.machine].encode()] * len(made)
        values += made
    for at in range(0, len(values), SLICE):
        part = slice(at, at + SLICE)
        yield wire.RawBatch(
            topic="t",
            partitions=np.zeros(len(values[part]), np.int32),
            offsets=np.arange(len(values[part]), dtype=np.int64),
            keys=keys[part],
            values=values[part],
        )


def _decoded(batch: wire.RawBatch) -> None:
    found = wire.decode(batch, _roster(), now_us=NOW_US)
    if found.rejections or found.strangers:
        raise ValueError("the benchmark's own messages were refused")


class _Message(msgspec.Struct):
    machine_id: str
    timestamp: str
    values: dict[str, float]


def _msgspec_lines() -> Callable[[wire.RawBatch], None]:
    """Return what is fastest without compiled code: typed, all lines of a batch in one call."""
    decoder = msgspec.json.Decoder(_Message)

    def decoded(batch: wire.RawBatch) -> None:
        found = decoder.decode_lines(b"\n".join(value or b"" for value in batch.values))
        np.array([list(one.values.values()) for one in found])

    return decoded


def _rate(work: Callable[[wire.RawBatch], None], batches: list[wire.RawBatch]) -> float:
    work(batches[0])
    began = time.perf_counter()
    for one in batches:
        work(one)
    return sum(map(len, batches)) / (time.perf_counter() - began)
