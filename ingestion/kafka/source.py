"""The way out of Kafka: positions come from the database, never from Kafka's own commits."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from domain.errors import OffsetsLostError, PartitionLostError, PlatformError
from domain.wire import RawBatch
from ingestion.kafka.admin import find_topic, held
from ingestion.kafka.client import away, configuration, translate, translated
from ingestion.kafka.messages import columns_of, steps_of
from ingestion.settings import KafkaSettings
from storage.offsets import Advance, Topic

_LOG = logging.getLogger(__name__)

CHUNK = 1000
"""Messages per call of the client: its objects are opened while they are still in the cache."""

_DEFAULTS: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # We always say where to begin; if that place is gone it is told, never skipped.
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",
    # A killed consumer's partitions go to another one after this long.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    # Partitions that were added are heard of this soon; the client's own default is five minutes.
    "topic.metadata.refresh.interval.ms": 10_000,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 20,
    "queued.max.messages.kbytes": 32 * 1024,
}

_LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001 - librdkafka's local codes are public constants with an underscore
_QUIET = frozenset(
    {KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}  # noqa: SLF001 - as above
)
"""Errors the client recovers from by itself."""

type Messages = RawBatch
"""What was taken at once; `KafkaSource.batch` joins several and says which are still ours."""

type Positions = Callable[[Mapping[int, int]], Mapping[int, int]]
"""Given where each newly assigned partition begins in Kafka, say where to read on."""


class KafkaSource:
    """Reads one topic as a member of a group; for one thread.

    On assignment the position of a partition is asked of `positions` and sought; the rows of
    `consumer_offsets` decide, and Kafka's own commits only feed tools that show lag. On
    revocation `before_revoke` may finish what is under way.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: Topic,
        positions: Positions,
        before_revoke: Callable[[], None],
    ) -> None:
        self._settings, self.topic = settings, topic
        self._positions, self._before_revoke = positions, before_revoke
        self._failure: PlatformError | None = None
        # Partition → the offset after the last message that was handed out as a batch.
        self._next: dict[int, int] = {}
        self._held: set[int] = set()
        with translated():
            self._consumer = Consumer(
                configuration(settings, {**_DEFAULTS, "group.id": settings.group_id})
            )
            self._consumer.subscribe(
                [topic.name],
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )

    @classmethod
    @contextmanager
    def open(
        cls,
        settings: KafkaSettings,
        topic: Topic,
        positions: Positions,
        before_revoke: Callable[[], None] = lambda: None,
    ) -> Iterator[Self]:
        """Join the group, and leave it at the end.

        Args:
            settings: Where Kafka is, and which group.
            topic: What to read.
            positions: Says where to read on.
            before_revoke: Called before partitions are given away in good order.
        """
        source = cls(settings, topic, positions, before_revoke)
        try:
            yield source
        finally:
            source.close()

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that are ours now."""
        return frozenset(self._next)

    def take(self, most: int, timeout_s: float) -> Messages:
        """Return up to `most` messages, waiting at most so long for the first ones.

        Raises:
            OffsetsLostError: Kafka dropped messages before they were read.
            ServiceUnavailableError: Kafka, or whoever knows the positions, is away.
        """
        with translated():
            messages = self._consumer.consume(min(most, CHUNK), timeout_s)
        if self._failure is not None:
            raise self._failure
        if any(message.error() is not None for message in messages):
            self._judge_errors(messages)
            messages = [message for message in messages if message.error() is None]
        # Opened at once: thousands of the client's objects that live on make the garbage
        # collector walk through them again and again, under the lock that all threads share.
        return columns_of(self.topic.name, messages)

    def batch(self, *taken: Messages) -> RawBatch:
        """Return what was taken as one, without messages that are not ours to store any more.

        A revocation may fall between the client's queue and us; a message before the position
        that was sought is one that another consumer has stored.
        """
        raw = RawBatch.joined(self.topic.name, taken)
        floor = np.full(len(raw), np.iinfo(np.int64).max)
        for part, at in self._next.items():
            floor[raw.partitions == part] = at
        ours = raw.offsets >= floor
        if not ours.all():
            raw = raw.take(np.flatnonzero(ours))
        return raw

    def steps(self, raw: RawBatch) -> tuple[Advance, ...]:
        """Move the positions behind a batch; return by how much, per partition."""
        taken = steps_of(raw, self._next)
        self._next |= {step.partition: step.next for step in taken}
        return taken

    def hold(self) -> None:
        """Pause every partition that is ours; `take` goes on to serve the group, and finds nothing.

        Raises:
            ServiceUnavailableError: The client can not any more.
        """
        fresh = self._next.keys() - self._held
        if fresh:
            with translated():
                self._consumer.pause(self._parts(fresh))
            self._held |= fresh

    def release(self) -> None:
        """Let every partition go on from where it was paused."""
        # One that was given away meanwhile is somebody else's by now.
        ours, self._held = self._held & self._next.keys(), set()
        if ours:
            with translated():
                self._consumer.resume(self._parts(ours))

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell Kafka how far the group is, for tools that show lag; nobody waits for it."""
        parts = [TopicPartition(self.topic.name, part, at) for part, at in offsets.items()]
        if parts:
            # A commit that fails changes nothing: the truth is in the database.
            with suppress(KafkaException):
                self._consumer.commit(offsets=parts, asynchronous=True)

    def lag(self, offsets: Mapping[int, int]) -> int:
        """Return how many messages lie behind the given positions, as the client last heard."""
        total = 0
        for part, at in offsets.items():
            with suppress(KafkaException):
                edges = self._consumer.get_watermark_offsets(
                    TopicPartition(self.topic.name, part), cached=True
                )
                if edges is not None and edges[1] >= 0:
                    total += max(0, edges[1] - at)
        return total

    def verify(self) -> None:
        """Look whether the topic is still the one whose positions we hold.

        Raises:
            ServiceUnavailableError: It was made anew under the same name, or Kafka is away.
            NotFoundError: It was deleted.
        """
        if find_topic(self._settings, self.topic.name).id != self.topic.id:
            raise away(f"topic {self.topic.name} was made anew")

    def close(self) -> None:
        """Leave the group; what is under way is finished as for a revocation."""
        with suppress(KafkaException, RuntimeError):
            self._consumer.close()

    def _parts(self, numbers: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self.topic.name, number) for number in numbers]

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        # What goes wrong in here is raised by `take`: the client would swallow it.
        try:
            start = held(self._settings, self.topic.name, [part.partition for part in parts])
            places = dict(self._positions({part: one.earliest for part, one in start.items()}))
            for part, at in places.items():
                if at < start[part].earliest:
                    raise OffsetsLostError(self.topic.name, part, at, start[part].earliest)
            consumer.incremental_assign(
                [TopicPartition(self.topic.name, part, at) for part, at in places.items()]
            )
            self._next |= places
            _LOG.info("reading %s from %s", self.topic.name, places)
        except KafkaException as error:
            self._failure = translate(error.args[0])
        except PlatformError as error:
            self._failure = error

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        try:
            self._before_revoke()
        except PlatformError as error:
            self._failure = error
        self._forget(consumer, parts)

    def _lost(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        # Someone else owns them by now: what is under way is refused by the stored offset, and
        # what is still in memory must not be mixed with what a later assignment brings.
        part = parts[0].partition if parts else -1
        self._failure = PartitionLostError(self.topic.name, part, self._next.get(part, -1))
        self._forget(consumer, parts)

    def _forget(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        ours = {part.partition for part in parts}
        for number in ours:
            self._next.pop(number, None)
        with suppress(KafkaException):
            # What comes back to us later must not come back paused.
            if ours & self._held:
                consumer.resume(self._parts(ours & self._held))
        with suppress(KafkaException):
            consumer.incremental_unassign(parts)
        self._held -= ours

    def _judge_errors(self, messages: list[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is None or error.code() in _QUIET:
                continue
            if error.code() in _LOST:
                self._raise_lost(message)
            raise translate(error)

    def _raise_lost(self, message: Message) -> None:
        part = message.partition()
        if part is None or part not in self._next:
            raise away("a position is gone and the partition is not known")
        edges = held(self._settings, self.topic.name, [part])[part]
        wanted = self._next[part]
        if find_topic(self._settings, self.topic.name).id != self.topic.id:
            raise away(f"topic {self.topic.name} was made anew")
        if wanted < edges.earliest:
            raise OffsetsLostError(self.topic.name, part, wanted, edges.earliest)
        raise PlatformError(
            f"{self.topic.name}[{part}] ends at {edges.end}, yet offset {wanted - 1} was stored "
            "from it: Kafka lost messages that we hold. Check its replication"
        )
