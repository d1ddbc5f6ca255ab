"""One test's topic, group and database, and the count of what is in it, key by key."""

import os
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from domain import wire
from ingestion.kafka import KafkaSink, ensure_topic
from ingestion.settings import KafkaSettings
from storage import history, offsets, quarantine, roster_store
from storage.connect import rows, session
from storage.offsets import Topic
from storage.settings import StorageSettings
from tests.faults.consumer_process import Consumer, FailPoint, consumer
from tests.faults.services import Services
from tests.ingest_support import PUMP, START_US, batch, until

MACHINES = 10

NIGHTLY = os.environ.get("MILLWRIGHT_TEST_PROFILE") == "nightly"
"""Whether there is time for the full counts."""

# The key is what makes a double delivery harmless. Without it one shows, so that a count of zero
# says that there was none.
_KEYLESS = (
    "ALTER TABLE readings DROP CONSTRAINT pk_readings",
    "CREATE INDEX ON readings (machine_key, instant)",
)

_TALLY = """
WITH published AS (
    SELECT key, to_timestamp((%s + n * 500000::bigint) / 1e6) AS instant
    FROM machines, generate_series(0, %s - 1) AS n
), stored AS (
    SELECT machine_key AS key, instant, count(*) AS times FROM readings GROUP BY 1, 2
)
SELECT count(*) FILTER (WHERE stored.times IS NULL), coalesce(sum(times - 1), 0),
    count(*) FILTER (WHERE published.key IS NULL)
FROM published FULL JOIN stored USING (key, instant)
"""


def times(short: int, full: int) -> int:
    """Return how often to do it: `full` at night, `short` in `make test`."""
    return full if NIGHTLY else short


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of the published readings.

    Attributes:
        lost: Published, and not stored.
        doubled: Stored once more than once is enough, each time counted.
        strange: Stored, and never published.
        quarantined: Messages in quarantine.
    """

    lost: int = 0
    doubled: int = 0
    strange: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test's topic, group and database."""

    kafka: KafkaSettings
    storage: StorageSettings
    topic: Topic
    folder: Path

    @classmethod
    def make(
        cls,
        services: Services,
        folder: Path,
        *,
        tablespace: str = "",
        config: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a topic and a migrated database.

        Args:
            services: Where.
            folder: For the logs of consumers.
            tablespace: Where the database lies, if not where all do.
            config: Properties of the topic.
        """
        name = f"fault{uuid.uuid4().hex[:8]}"
        services.clone(name, tablespace)
        storage = services.server.settings("sensor_user", "", name)
        with session(storage) as on:
            roster_store.register_class(on, PUMP)
        kafka = KafkaSettings(
            bootstrap_servers=services.kafka,
            topic=name,
            group_id=name,
            partitions=4,
            commit_interval_ms=100,
            max_batch=2000,
            # A killed consumer is given up soon, so that the test is short.
            properties=(("session.timeout.ms", "2000"), ("heartbeat.interval.ms", "500")),
        )
        return cls(
            kafka=kafka, storage=storage, topic=ensure_topic(kafka, config=config), folder=folder
        )

    def with_properties(self, **properties: str) -> KafkaSettings:
        """Return the settings of Kafka with more properties, written with `_` for `.`."""
        more = tuple((name.replace("_", "."), value) for name, value in properties.items())
        return replace(self.kafka, properties=self.kafka.properties + more)

    def drop_key(self) -> None:
        """Take the key away from the readings, so that one stored twice is there twice."""
        self.sql(*_KEYLESS)

    def sql(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with session(self.storage) as on:
            for one in statements:
                rows(on, one)

    def publish(self, first: int, count: int) -> None:
        """Publish `count` readings of each machine, and wait until Kafka has them."""
        with KafkaSink.open(self.kafka) as sink:
            self.send(sink, first, count)

    def send(self, sink: KafkaSink, first: int, count: int) -> None:
        """Queue `count` readings of each machine."""
        made = batch(0, first, count)
        for machine in (f"pump-{number}" for number in range(MACHINES)):
            messages = wire.encode(machine, made.instants_us, made.values, PUMP.sensor_names)
            sink.send(self.kafka.topic, machine.encode(), messages)

    def consumer(
        self, point: FailPoint | None = None, kafka: KafkaSettings | None = None
    ) -> AbstractContextManager[Consumer]:
        """Run a consumer in a process of its own; it is gone at the end, by force if need be."""
        log = self.folder / "consumers.log"
        return consumer(kafka or self.kafka, self.storage, log=log, point=point)

    def passed(self) -> int:
        """Return how many messages lie before the stored offsets."""
        with session(self.storage) as on:
            return sum(offsets.stored_positions(on, self.kafka.group_id, self.topic).values())

    def reach(self, messages: int, within_s: float = 60) -> None:
        """Await that at least so many messages were passed."""
        until(lambda: self.passed() >= messages, within_s)

    def tally(self, each: int) -> Tally:
        """Count what is stored against `each` published readings of every machine, by key."""
        with session(self.storage) as on:
            known = rows(on, "SELECT count(*) FROM machines")[0][0]
            lost, doubled, strange = rows(on, _TALLY, (START_US, each))[0]
            held = sum(quarantine.counts(on).values())
        lost += (MACHINES - known) * each
        return Tally(lost=lost, doubled=int(doubled), strange=strange, quarantined=held)

    def check(self, each: int) -> None:
        """Hold what is stored, reading by reading, against what was published."""
        found_out = self.tally(each)
        assert found_out == Tally(), found_out
        with session(self.storage) as on:
            found = history.read_history(on, [f"pump-{n}" for n in range(MACHINES)], 0, 2**62)
        wanted = batch(0, 0, each)
        assert len(found) == MACHINES
        for one in found:
            assert np.array_equal(one.instants_us, wanted.instants_us)
            assert np.array_equal(one.values, wanted.values)
