"""The ingestion: Kafka to Postgres, each reading once, through every fault."""

import gc
import logging
import time
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Table
from contextlib import ExitStack, contextmanager
from threading import Event
from time import monotonic

from domain.errors import (
    NotFoundError,
    PartitionLostError,
    PlatformError,
    ServiceUnavailableError,
)
from domain.mapping import Mapping
from ingestion.batching import Batching, backoff_s
from ingestion.feed import Feed
from ingestion.foreign import find_foreign
from ingestion.housekeeping import Housekeeping
from ingestion.kafka import KafkaSource, ensure_topic
from ingestion.settings import KafkaSettings
from ingestion.stages import Stages
from ingestion.writer import Observer, Totals, Writer
from observability import catalogue
from observability.metric import Metrics, NoMetrics
from storage import contention, offsets, partitions
from storage.connect import session, translated
from storage.mapped_intake import intake_for
from storage.merging import open_store
from storage.settings import StorageSettings

_LOG = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0
"""How often rates, lag and Kafka's own commits are refreshed."""

VERIFY_EVERY_S = 15.0
"""How often the topic's id is looked at: a topic made anew begins at offset 0 again."""

COLLECT_AFTER = 50_000
"""New objects after which the garbage collector looks at them: dozens of calls of the client."""

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
        mapping: How to read messages of another shape; None reads value v1 and packed ones.
    """

    def __init__(  # noqa: PLR0913 - what is read, where to, who hears of it
        self,
        kafka: KafkaSettings,
        storage: StorageSettings,
        *,
        worker: str = "consumer-0",
        metrics: Metrics | None = None,
        now_us: Callable[[], int] = wall_clock_us,
        mapping: Mapping | None = None,
    ) -> None:
        self._kafka, self._storage, self._worker = kafka, storage, worker
        self._mapping = mapping
        self._metrics = metrics or NoMetrics()
        self._now_us = now_us
        self._stop = Event()
        # Until the first look at the lag there may be anything.
        self._is_behind = True
        self.totals = Totals()

    def run(self) -> Totals:
        """Ingest until stopped; return what was done.

        Raises:
            OffsetsLostError: Kafka dropped messages before they were stored; the gap is named.
            PlatformError: Something that waiting does not mend.
        """
        with _spared_by_the_collector():
            self._run_until_stopped()
        return self.totals

    def stop(self) -> None:
        """Let what is under way be stored, then end `run`; may be called from any thread."""
        self._stop.set()

    def _run_until_stopped(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            began = monotonic()
            try:
                self._run_once()
            except (ServiceUnavailableError, NotFoundError, PartitionLostError) as fault:
                attempt = 1 if monotonic() - began > HEALTHY_AFTER_S else attempt + 1
                self._tell(fault, attempt)
                self._stop.wait(backoff_s(attempt))

    def _run_once(self) -> None:
        topic = ensure_topic(self._kafka) if self._mapping is None else find_foreign(self._kafka)
        with ExitStack() as stack:
            lookup = contention.connect_impatient(self._storage, application=contention.INTAKE)
            stack.callback(lookup.close)
            with translated(), lookup:
                partitions.ensure(lookup, partitions.ahead(self._now_us()))
            store = stack.enter_context(open_store(self._storage, self._mapping))
            reads = intake_for(self._mapping, topic.name)
            writer = Writer(
                store,
                group_id=self._kafka.group_id,
                topic=topic,
                totals=self.totals,
                observer=Observer(worker=self._worker, metrics=self._metrics),
                intake=reads,
            )
            stages = Stages(reads(lookup), writer, now_us=self._now_us, observe=self._observe)
            feed = Feed(self._batching(), stages, totals=self.totals, observe=self._observe)
            source = stack.enter_context(
                KafkaSource.open(
                    self._kafka, topic, lambda start: self._positions(topic, start), feed.settle
                )
            )
            feed.source = source
            house = Housekeeping(
                self._storage, now_us=self._now_us, is_behind=lambda: self._is_behind
            )
            house.start()
            stack.callback(house.stop)
            stages.start()
            stack.callback(stages.finish)
            # Runs first at the end: after a fault nothing that still waits may be handed over.
            stack.callback(feed.close)
            self._pump(source, feed, stages)

    def _pump(self, source: KafkaSource, feed: Feed, stages: Stages) -> None:
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
        self._is_behind = lag > self._kafka.max_batch
        self._metrics.set(catalogue.LAG, lag, group="ingest")
        stages.tick(lag)

    def _positions(self, topic: offsets.Topic, start: Table[int, int]) -> dict[int, int]:
        with session(self._storage, application=contention.POSITIONS) as on:
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


@contextmanager
def _spared_by_the_collector() -> Iterator[None]:
    """Let the garbage collector look seldom, and at nothing that was there before.

    Modules and compiled functions are some 300,000 objects that stay, and messages come and go by
    the thousand without ever referring to each other. The collector's walks found no garbage and
    took 0.37 s of processor time per 600,000 messages, a fifth of what Python needs for them, under
    the lock that all threads wait for.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
