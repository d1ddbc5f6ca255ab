"""The last stage: one transaction per batch, and what a batch does that the database refuses."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from domain.errors import BadInputError
from domain.wire import RawBatch, Rejection, RejectReason
from ingestion.kafka import steps_of
from observability import catalogue
from observability.meter import Meter
from observability.metric import Metrics
from storage import rates
from storage.connect import Connection, translated
from storage.intake import Intake, Reads, Sorted
from storage.offsets import Advance, Topic
from storage.quarantine import Entry
from storage.readings import ReadingStore, StoreBatch, Written


@dataclass(slots=True, kw_only=True)
class Totals:
    """What an ingestion did since it was made; counted after each commit.

    Attributes:
        consumed: Messages.
        stored: Readings that were new.
        duplicates: Readings that were there already.
        quarantined: Messages that are no readings and are new in quarantine.
        batches: Transactions.
        faults: Times a service was away or a partition was taken over, and all began anew.
        repeated: Transactions that the server took back, as in a deadlock; each was done again.
        held: Times that reading from Kafka was paused because the database did not keep up.
        positions: Partition → the next offset, as committed.
    """

    consumed: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    batches: int = 0
    faults: int = 0
    repeated: int = 0
    held: int = 0
    positions: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who hears what a writer does.

    Attributes:
        worker: Name of this consumer in `pipeline_rates`.
        metrics: Where numbers go.
    """

    worker: str
    metrics: Metrics


class Writer:
    """Stores batches one after the other; for one thread.

    Args:
        store: Its connection.
        group_id: Consumer group.
        topic: What is read.
        totals: Counted here.
        observer: Told here.
        intake: Makes what reads the messages anew, over the store's connection.
    """

    def __init__(  # noqa: PLR0913 - what is read, where to, who hears of it
        self,
        store: ReadingStore,
        *,
        group_id: str,
        topic: Topic,
        totals: Totals,
        observer: Observer,
        intake: Callable[[Connection], Reads] = Intake,
    ) -> None:
        self._store, self._group_id, self._topic = store, group_id, topic
        self._intake = intake
        self._totals, self._observer = totals, observer
        self._meter = Meter(now_s=monotonic(), count=totals.consumed)

    def write(
        self,
        raw: RawBatch,
        found: Sorted,
        steps: tuple[Advance, ...],
        *,
        now_us: int,
        data: bytes | None = None,
    ) -> None:
        """Store a batch whole; or, if the database refuses a row, all but that row.

        Args:
            raw: The messages.
            found: What is in them.
            steps: How far they move each partition.
            now_us: The present, microseconds UTC.
            data: The readings as `copy_format.encode` returns them, if that was done already.

        Raises:
            PartitionLostError: Another consumer owns a partition.
            ServiceUnavailableError: The server went away.
        """
        before = self._store.attempts
        try:
            written = self._store.write(self._batch(raw, found, steps, data))
        except BadInputError as error:
            self._write_apart(raw, steps, error, now_us)
        else:
            self._count(raw, found, steps, written)
            repeated = self._store.attempts - before - 1
            self._totals.repeated += repeated
            self._observer.metrics.add(catalogue.TAKEN_BACK, repeated)

    def report(self, lag: int) -> None:
        """Refresh this worker's row of `pipeline_rates`."""
        per_second = self._meter.per_second(self._totals.consumed, now_s=monotonic())
        with translated(), self._store.connection as connection:
            rates.report(
                connection,
                worker=self._observer.worker,
                stage="consume",
                per_second=per_second,
                total=self._totals.stored,
                lag=lag,
            )

    def _write_apart(
        self,
        raw: RawBatch,
        steps: tuple[Advance, ...],
        error: BadInputError,
        now_us: int,
    ) -> None:
        """Halve the batch until the one message stands alone that the database refuses."""
        if len(raw) == 1:
            refused = Rejection(index=0, reason=RejectReason.REFUSED_BY_STORAGE, detail=error.what)
            self.write(raw, Sorted(readings=(), rejections=(refused,)), steps, now_us=now_us)
            return
        before = {step.partition: step.expected for step in steps}
        intake = self._intake(self._store.connection)
        for rows in np.array_split(np.arange(len(raw)), 2):
            half = raw.take(rows)
            moved = steps_of(half, before)
            self.write(half, intake.sort(half, now_us=now_us), moved, now_us=now_us)
            before |= {step.partition: step.next for step in moved}

    def _batch(
        self, raw: RawBatch, found: Sorted, steps: tuple[Advance, ...], data: bytes | None
    ) -> StoreBatch:
        return StoreBatch(
            group_id=self._group_id,
            topic=self._topic,
            readings=found.readings,
            quarantined=tuple(self._entry(raw, one) for one in found.rejections),
            steps=steps,
            origins=found.origins,
            entry=lambda one: self._entry(raw, one),
            data=data,
        )

    def _entry(self, raw: RawBatch, rejection: Rejection) -> Entry:
        row = rejection.index
        headers = None if raw.headers is None else raw.headers[row]
        return Entry(
            topic_id=self._topic.id,
            topic=self._topic.name,
            partition=int(raw.partitions[row]),
            offset=int(raw.offsets[row]),
            reason=rejection.reason,
            detail=rejection.detail,
            key=raw.keys[row],
            value=raw.values[row],
            headers=tuple(headers or ()),
        )

    def _count(
        self, raw: RawBatch, found: Sorted, steps: tuple[Advance, ...], written: Written
    ) -> None:
        totals, metrics = self._totals, self._observer.metrics
        totals.consumed += len(raw)
        totals.stored += written.stored
        totals.duplicates += written.duplicates
        totals.quarantined += written.quarantined
        totals.batches += 1
        totals.positions |= {step.partition: step.next for step in steps}
        metrics.add(catalogue.CONSUMED, len(raw))
        metrics.add(catalogue.STORED, written.stored)
        metrics.add(catalogue.DUPLICATES, written.duplicates)
        metrics.observe(catalogue.BATCH_SIZE, len(raw))
        refused = (*found.rejections, *written.refused)
        for reason, count in Counter(one.reason for one in refused).items():
            metrics.add(catalogue.QUARANTINED, count, reason=reason)
