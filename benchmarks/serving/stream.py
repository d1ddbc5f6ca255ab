"""How long after a reading was made its anomaly can be read from Postgres.

    python -m benchmarks.serving.stream scorer|consumer TASK

is the process of one actor. Around them: a broker and a server of our own, fifty machines that are
heard a hundred times a second, and a reader that looks for new anomalies as fast as it can.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import model, ours
from domain.wire import encode
from ingestion.kafka import KafkaSink, ensure_topic
from ingestion.settings import KafkaSettings
from ray_app.consumer_actor import ConsumerActor
from ray_app.embedded import kafka, postgres
from ray_app.embedded.supervisor import Supervisor
from ray_app.scorer_actor import ScorerActor
from storage import roster_store
from storage.connect import Connection, connect, rows, session
from storage.migrate import upgrade
from storage.settings import StorageSettings

MACHINES = 50
ILL = 5
"""Machines that go wrong, so that their readings have anomalies."""

TICK_S = 0.01
"""Each machine is heard once per tick: 5,000 readings a second."""

_WARM_S = 30.0
"""Windows fill, and what is compiled or connected at first use is there."""

_ILL_BY = 60.0
_WITHIN_S = 60.0
"""Patience for the last anomaly."""

_NAMES = [f"machine-{number:02}" for number in range(MACHINES)]


@dataclass(slots=True)
class Seen:
    """What the reader saw.

    Attributes:
        looks: (monotonic seconds by the wall clock, newest instant) per ill machine.
    """

    looks: dict[int, list[tuple[float, int]]]

    def delays_s(self, machine_key: int, instants_us: list[int]) -> list[float]:
        """Return, per reading, seconds from its instant until its anomaly could be read."""
        looks, at, found = self.looks[machine_key], 0, []
        for instant in instants_us:
            while looks[at][1] < instant:
                at += 1
            found.append(looks[at][0] - instant / 1e6)
        return found


def delay_s(package: Path, *, seconds: float) -> dict[str, float]:
    """Send readings for some seconds; return p50, p99 and worst delay, and how many there were.

    Raises:
        ValueError: Anomalies are missing after a minute.
    """
    with tempfile.TemporaryDirectory(prefix="mw-stream-") as folder, ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor())
        server = postgres.start(supervisor, Path(folder) / "pg")
        server.ensure("sensor_user", "stream")
        storage = server.settings("sensor_user", "", "stream")
        upgrade(storage)
        ours.store(storage, [package.read_bytes()])
        with session(storage) as on:
            known = roster_store.register_machines(on, _NAMES, model.CLASS.name)
        address = kafka.start(supervisor, Path(folder) / "kafka")
        settings = KafkaSettings(bootstrap_servers=address, topic="stream", group_id="stream")
        ensure_topic(settings)
        task = _task(settings, storage)
        for actor in ("consumer", "scorer"):
            stack.enter_context(_process(actor, task, Path(folder) / f"{actor}.log"))
        return _measure(settings, storage, [known[name].key for name in _NAMES[:ILL]], seconds)


def _measure(
    settings: KafkaSettings, storage: StorageSettings, keys: list[int], seconds: float
) -> dict[str, float]:
    sent: list[int] = []
    done = threading.Event()
    with closing(connect(storage)) as on:
        on.autocommit = True
        reader = Reader(on, keys)
        thread = threading.Thread(target=reader.run, args=(done,))
        with KafkaSink.open(settings) as sink:
            _send(sink, settings.topic, _WARM_S, by=0.0)
            thread.start()
            try:
                sent = _send(sink, settings.topic, seconds, by=_ILL_BY)
                sink.flush()
                # The window needs a moment to see it: what counts begins with the second second.
                counted = sent[round(1 / TICK_S) :]
                reader.await_instant(counted[-1], _WITHIN_S)
            finally:
                done.set()
                thread.join()
        found = rows(
            on,
            "SELECT count(*) FROM anomalies WHERE machine_key = ANY(%s)"
            " AND instant >= to_timestamp(%s)",
            (keys, (counted[0] - 1) / 1e6),
        )[0][0]
    if found < len(counted) * len(keys):
        raise ValueError(f"{found} anomalies are stored, not {len(counted) * len(keys)}")
    delays = np.array([each for key in keys for each in reader.seen.delays_s(key, counted)])
    p50, p99 = np.percentile(delays, (50, 99))
    rate = len(sent) * MACHINES / ((sent[-1] - sent[0]) / 1e6)
    return {
        "p50_s": float(p50),
        "p99_s": float(p99),
        "worst_s": float(delays.max()),
        "anomalies": float(len(delays)),
        "readings_per_s": rate,
    }


class Reader:
    """Looks for the newest anomaly of each ill machine, again and again."""

    def __init__(self, on: Connection, keys: list[int]) -> None:
        self._on, self._keys = on, keys
        self._newest = threading.Condition()
        self.seen = Seen(looks={key: [] for key in keys})

    def run(self, done: threading.Event) -> None:
        """Look until told to stop."""
        while not done.wait(0.002):
            found = rows(
                self._on,
                "SELECT key, (SELECT (extract(epoch FROM max(instant)) * 1e6)::bigint"
                " FROM anomalies WHERE machine_key = key) FROM unnest(%s::int[]) AS key",
                (self._keys,),
            )
            now_s = time.time()
            with self._newest:
                for key, instant_us in found:
                    looks = self.seen.looks[key]
                    if instant_us is not None and (not looks or looks[-1][1] < instant_us):
                        looks.append((now_s, instant_us))
                self._newest.notify_all()

    def await_instant(self, instant_us: int, within_s: float) -> None:
        """Await that anomalies up to an instant can be read of every ill machine.

        Raises:
            ValueError: They cannot within the time.
        """
        with self._newest:
            if not self._newest.wait_for(
                lambda: all(
                    looks and looks[-1][1] >= instant_us for looks in self.seen.looks.values()
                ),
                within_s,
            ):
                raise ValueError(f"no anomaly of the last readings within {within_s:.0f} s")


def _send(sink: KafkaSink, topic: str, seconds: float, *, by: float) -> list[int]:
    """Send each machine's reading once per tick; return the instants.

    Args:
        sink: Where.
        topic: The same.
        seconds: How long.
        by: How far from its level a sensor of each ill machine is.
    """
    rng = np.random.default_rng(0)
    began, sent = time.monotonic(), []
    for tick in range(round(seconds / TICK_S)):
        time.sleep(max(0.0, began + tick * TICK_S - time.monotonic()))
        values = np.round(rng.normal(50, 5, (MACHINES, model.SENSORS)), 3)
        values[:ILL, 0] += by
        instants = np.array([round(time.time() * 1e6)], dtype=np.int64)
        sent.append(int(instants[0]))
        for name, row in zip(_NAMES, values, strict=True):
            message = encode(name, instants, row[None], model.CLASS.sensor_names)
            sink.send(topic, name.encode(), message)
    return sent


def _task(settings: KafkaSettings, storage: StorageSettings) -> str:
    return json.dumps(
        {
            "kafka": {
                "bootstrap_servers": settings.bootstrap_servers,
                "topic": settings.topic,
                "group_id": settings.group_id,
            },
            "storage": {
                "host": storage.host,
                "port": storage.port,
                "user": storage.user,
                "password": storage.password,
                "database": storage.database,
            },
        }
    )


@contextmanager
def _process(actor: str, task: str, log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.serving.stream", actor, task]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=errors, stderr=errors) as process,
    ):
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def main(actor: str, task: dict[str, Any]) -> None:
    """Be one actor until the input ends."""
    kind = {"consumer": ConsumerActor, "scorer": ScorerActor}[actor]
    one = kind(KafkaSettings(**task["kafka"]), StorageSettings(**task["storage"]), actor)

    def leave() -> None:
        sys.stdin.read()
        one.stop()

    threading.Thread(target=leave, daemon=True).start()
    one.run()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
