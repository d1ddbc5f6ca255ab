"""Between Kafka and the stages: gathers messages into batches, and holds Kafka back in time."""

import logging
from collections.abc import Callable
from time import monotonic, perf_counter

from domain.errors import ServiceUnavailableError
from ingestion.batching import Batching
from ingestion.kafka import KafkaSource, Messages
from ingestion.stages import DRAIN_S, Chunk, Stages
from ingestion.writer import Totals

_LOG = logging.getLogger(__name__)

MOST_BYTES = 4 << 20
"""A batch that holds so much is handed over: packed messages and large ones are many readings, and
three stages that overlap want several batches of 10,000 to 25,000 rather than one of 100,000."""

HOLD_AFTER_S = 1.0
"""A full batch waits so long for a free stage before Kafka is held back. Not at once: the client
throws away what it has fetched of a partition when that is paused, and fetches it anew."""


class Feed:
    """Gathers messages and hands them to the stages when they are due; for one thread.

    Memory is bounded: one batch here, `stages.UNDER_WAY` behind it, and what the client fetches
    ahead (`queued.max.messages.kbytes`). When all of it is full for `HOLD_AFTER_S` the partitions
    are paused, and the client is still polled: a database that hangs for an hour neither costs the
    membership of the group (`max.poll.interval.ms`) nor a rebalance that nobody answers.

    Args:
        batching: When a batch is due.
        stages: Take batches.
        totals: Counts how often Kafka was held back.
        observe: Told how long a stage took, seconds.
    """

    source: KafkaSource

    def __init__(
        self,
        batching: Batching,
        stages: Stages,
        *,
        totals: Totals,
        observe: Callable[[str, float], None],
    ) -> None:
        self._batching, self._stages = batching, stages
        self._totals, self._observe = totals, observe
        self._waiting: list[Messages] = []
        self._count = self._bytes = 0
        self._since = 0.0
        self._open = True
        self._is_holding = False

    def step(self) -> None:
        """Take what Kafka has, and hand over what is due."""
        if self._room():
            self._take(self._room(), self._batching.patience_s(self._count, self._age_s()))
        self._stages.check()
        full = not self._room()
        if full and not self._stages.wait_free(0.0 if self._is_holding else HOLD_AFTER_S):
            self._hold()
            return
        self._release()
        free = self._stages.wait_free(0.0)
        if full or self._batching.is_due(self._count, self._age_s(), free=free):
            self._hand_over()

    def settle(self) -> None:
        """Have everything stored that was taken.

        Raises:
            ServiceUnavailableError: It took too long.
            PlatformError: A stage failed.
        """
        if self._open:
            if not self._stages.wait_free(DRAIN_S):
                raise ServiceUnavailableError(
                    "PostgreSQL", f"no batch was stored within {DRAIN_S:.0f} s"
                )
            self._hand_over()
            self._stages.drain()

    def close(self) -> None:
        """Forget what was taken; whoever owns the partitions next reads it again."""
        self._open = False
        self._clear()

    def _take(self, most: int, patience_s: float) -> None:
        began = perf_counter()
        taken = self.source.take(most, patience_s)
        if len(taken):
            self._observe("consume", perf_counter() - began)
            if not self._waiting:
                self._since = monotonic()
            self._waiting.append(taken)
            self._count += len(taken)
            self._bytes += taken.nbytes

    def _hold(self) -> None:
        if not self._is_holding:
            self._is_holding = True
            self._totals.held += 1
            _LOG.warning("the database does not keep up: reading from Kafka pauses")
        # A partition that is assigned meanwhile may bring a message before it is paused as well.
        self.source.hold()
        self._take(1, HOLD_AFTER_S / 10)

    def _release(self) -> None:
        if self._is_holding:
            self._is_holding = False
            self.source.release()
            _LOG.warning("reading from Kafka goes on")

    def _age_s(self) -> float:
        return monotonic() - self._since

    def _room(self) -> int:
        return self._batching.room(self._count) if self._bytes < MOST_BYTES else 0

    def _hand_over(self) -> None:
        raw = self.source.batch(*self._waiting)
        self._clear()
        if len(raw):
            self._stages.put(Chunk(raw=raw, steps=self.source.steps(raw)))

    def _clear(self) -> None:
        self._waiting, self._count, self._bytes = [], 0, 0
