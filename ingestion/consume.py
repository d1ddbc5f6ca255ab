"""The ingestion: Kafka to Postgres, each reading once, through every fault."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from threading import Event
from time import monotonic, perf_counter

from domain.errors import (
    NotFoundError,
    PartitionLostError,
    PlatformError,
    ServiceUnavailableError,
)
from ingestion.batching import Batching, backoff_s
from ingestion.housekeeping import Housekeeping
from ingestion.kafka import KafkaSource, Messages, ensure_topic
from ingestion.settings import KafkaSettings
from ingestion.stages import Chunk, Stages
from ingestion.writer import Observer, Totals, Writer
from observability import catalogue
from observability.catalogue import Metrics, NoMetrics
from storage import contention, offsets, partitions
from storage.connect import connect, session, translated
from storage.intake import Intake
from storage.readings import ReadingStore
from storage.settings import StorageSettings

_LOG = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0
"""How often rates, lag and Kafka's own commits are refreshed."""

VERIFY_EVERY_S = 15.0
"""How often the topic's id is looked at: a topic made anew begins at offset 0 again."""

MOST_BYTES = 16 << 20
"""A batch that holds so much is handed over: packed messages and large ones are many readings."""

HEALTHY_AFTER_S = 30.0
"""A run that lasted so long ends a row of faults: the next one waits little again."""


def wall_clock_us() -> int:
    """Return microseconds since 1970, UTC."""
    return time.time_ns() // 1000


class Ingestion:
    """Moves messages of a topic into Postgres until stopped.

    The order of delivery, which nothing may change:

    1. On assignment the stored offset of each partition is read, or written where there is none,
       and sought. Kafka's own commits are never read.
    2. Messages are consumed, decoded and stored by three threads, batch after batch in the order
       of offsets. A message that is no reading goes to quarantine with its reason.
    3. Readings, quarantine and the offsets behind them are committed in one transaction, which
       fails whole when another consumer has moved an offset.
    4. Only then is Kafka told, for tools that show lag.
    5. On revocation what is under way is stored first; a partition that was lost is let go.
    6. After any fault of Kafka, Postgres or the group all of this is closed and begins anew at 1,
       after a pause that doubles up to five seconds. So a commit whose answer was lost, a crash of
       the server that took back the last transactions, and a process that was frozen for an hour
       all come to the same: the stored offset decides. Nothing is quarantined for such a fault.

    Args:
        kafka: Where Kafka is, which topic and group, bounds of a batch.
        storage: Where Postgres is.
        worker: Name of this consumer, unique in the platform.
        metrics: Where numbers go.
        now_us: The present, microseconds UTC.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        storage: StorageSettings,
        *,
        worker: str = "consumer-0",
        metrics: Metrics | None = None,
        now_us: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._kafka, self._storage, self._worker = kafka, storage, worker
        self._metrics = metrics or NoMetrics()
        self._now_us = now_us
        self._stop = Event()
        self.totals = Totals()

    def run(self) -> Totals:
        """Ingest until stopped; return what was done.

        Raises:
            OffsetsLostError: Kafka dropped messages before they were stored; the gap is named.
            PlatformError: Something that waiting does not mend.
        """
        attempt = 0
        while not self._stop.is_set():
            began = monotonic()
            try:
                self._run_once()
            except (ServiceUnavailableError, NotFoundError, PartitionLostError) as fault:
                attempt = 1 if monotonic() - began > HEALTHY_AFTER_S else attempt + 1
                self._tell(fault, attempt)
                self._stop.wait(backoff_s(attempt))
        return self.totals

    def stop(self) -> None:
        """Let what is under way be stored, then end `run`; may be called from any thread."""
        self._stop.set()

    def _run_once(self) -> None:
        topic = ensure_topic(self._kafka)
        with ExitStack() as stack:
            lookup = connect(self._storage, application="millwright intake")
            stack.callback(lookup.close)
            with translated(), lookup:
                partitions.ensure(lookup, partitions.ahead(self._now_us()))
            store = stack.enter_context(ReadingStore.open(self._storage))
            writer = Writer(
                store,
                group_id=self._kafka.group_id,
                topic=topic,
                totals=self.totals,
                observer=Observer(worker=self._worker, metrics=self._metrics),
            )
            stages = Stages(Intake(lookup), writer, now_us=self._now_us, observe=self._observe)
            feed = _Feed(self._batching(), stages, self._observe)
            source = stack.enter_context(
                KafkaSource.open(
                    self._kafka, topic, lambda start: self._positions(topic, start), feed.settle
                )
            )
            feed.source = source
            house = Housekeeping(self._storage, now_us=self._now_us)
            house.start()
            stack.callback(house.stop)
            stages.start()
            stack.callback(stages.finish)
            # Runs first at the end: after a fault nothing that still waits may be handed over.
            stack.callback(feed.close)
            self._pump(source, feed, stages)

    def _pump(self, source: KafkaSource, feed: "_Feed", stages: Stages) -> None:
        reported = verified = monotonic()
        while not self._stop.is_set():
            feed.step()
            now = monotonic()
            if now - reported >= REPORT_EVERY_S:
                reported = now
                self._report(source, stages)
            if now - verified >= VERIFY_EVERY_S:
                verified = now
                source.verify()
        feed.settle()
        source.commit(self.totals.positions)

    def _report(self, source: KafkaSource, stages: Stages) -> None:
        ours = {part: at for part, at in self.totals.positions.items() if part in source.assigned}
        source.commit(ours)
        lag = source.lag(ours)
        self._metrics.set(catalogue.LAG, lag, group="ingest")
        stages.tick(lag)

    def _positions(self, topic: offsets.Topic, start: Mapping[int, int]) -> dict[int, int]:
        with session(self._storage, application="millwright positions") as on:
            contention.end_sleepers(on)
            found = offsets.positions(on, self._kafka.group_id, topic, start)
        self.totals.positions |= found
        return found

    def _batching(self) -> Batching:
        return Batching(
            quiet_size=self._kafka.batch_size,
            quiet_s=self._kafka.commit_interval_ms / 1000,
            most=self._kafka.max_batch,
        )

    def _observe(self, stage: str, seconds: float) -> None:
        self._metrics.observe(catalogue.BATCH_LATENCY, seconds, stage=stage)

    def _tell(self, fault: PlatformError, attempt: int) -> None:
        self.totals.faults += 1
        if isinstance(fault, ServiceUnavailableError):
            service = "kafka" if fault.service == "Kafka" else "postgres"
            self._metrics.add(catalogue.INFRASTRUCTURE_FAULTS, service=service)
        _LOG.warning(
            "%s: %s; attempt %d follows in %.1f s", self._worker, fault, attempt, backoff_s(attempt)
        )


class _Feed:
    """Gathers messages and hands them to the stages when they are due."""

    source: KafkaSource

    def __init__(
        self, batching: Batching, stages: Stages, observe: Callable[[str, float], None]
    ) -> None:
        self._batching, self._stages, self._observe = batching, stages, observe
        self._waiting: Messages = []
        self._bytes = 0
        self._since = 0.0
        self._open = True

    def step(self) -> None:
        """Take what Kafka has, and hand over what is due."""
        age_s = monotonic() - self._since
        room = self._room()
        if room:
            patience_s = self._batching.patience_s(len(self._waiting), age_s)
            began = perf_counter()
            taken = self.source.take(room, patience_s)
            if taken:
                self._observe("consume", perf_counter() - began)
                if not self._waiting:
                    self._since = monotonic()
                self._waiting += taken
                self._bytes += sum(map(len, taken))
        self._stages.check()
        age_s = monotonic() - self._since
        full = not self._room()
        if full or self._batching.is_due(len(self._waiting), age_s, free=self._stages.is_free):
            self._hand_over()

    def settle(self) -> None:
        """Have everything stored that was taken.

        Raises:
            ServiceUnavailableError: It took too long.
            PlatformError: A stage failed.
        """
        if self._open:
            self._hand_over()
            self._stages.drain()

    def close(self) -> None:
        """Forget what was taken; whoever owns the partitions next reads it again."""
        self._open, self._waiting, self._bytes = False, [], 0

    def _room(self) -> int:
        return self._batching.room(len(self._waiting)) if self._bytes < MOST_BYTES else 0

    def _hand_over(self) -> None:
        raw = self.source.batch(self._waiting)
        self._waiting, self._bytes = [], 0
        if len(raw):
            self._stages.put(Chunk(raw=raw, steps=self.source.steps(raw)))
