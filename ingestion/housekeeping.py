"""What a consumer does beside the stream: rollups, partitions ahead, retention."""

import logging
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

from domain.errors import BadInputError, ConflictError, PlatformError
from ingestion.archive import archive_next
from ingestion.batching import backoff_s
from storage import partitions, retention, rollups
from storage.connect import Connection, connect, translated
from storage.settings import StorageSettings

_LOG = logging.getLogger(__name__)

ROLL_EVERY_S = 1.0
"""How long the queue of the rollups may rest once it was empty."""

ROLL_WITHIN_S = 60.0
"""Under a backlog minutes are summed up this late at the most. Until then the processors belong to
the readings; and a minute that is complete by then is summed up once and not with every batch."""

REST = 9.0
"""After summing up for a second the thread rests for so many: the minutes under way are read anew
each time, which at a high rate would otherwise be most of what the machine does."""

KEEP_EVERY_S = 600.0
"""How often partitions are made ahead, days in advance, and old ones dropped."""


class Housekeeping:
    """Keeps house in a thread of its own, over a connection of its own; never stops the stream.

    Any number of consumers may do so at the same time: the database lets one at a time roll, and
    making or dropping a partition twice does nothing. What goes wrong is told and tried again.

    Args:
        storage: Where Postgres is.
        now_us: The present, microseconds UTC.
        is_behind: Whether readings wait in Kafka that ought to be stored first.
    """

    def __init__(
        self,
        storage: StorageSettings,
        *,
        now_us: Callable[[], int],
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._storage, self._now_us, self._is_behind = storage, now_us, is_behind
        self._stop = Event()
        self._kept = -KEEP_EVERY_S
        self._thread = Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the transaction under way; one that is cut off is done by the next owner."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                self._keep()
            except PlatformError as fault:
                attempt += 1
                _LOG.warning("housekeeping: %s", fault)
                self._stop.wait(backoff_s(attempt, first_s=1.0, longest_s=60.0))
            else:
                attempt = 0

    def _keep(self) -> None:
        on = connect(self._storage, application="millwright housekeeping")
        try:
            rested, took_s = monotonic(), 0.0
            while not self._stop.is_set():
                if monotonic() - self._kept >= KEEP_EVERY_S:
                    # Noted before it is tried: what is in the way may stay there for long, and the
                    # rollups do not wait for it.
                    self._kept = monotonic()
                    keep_partitions(on, self._now_us())
                    if self._archived(on):
                        # A day at a time, so that the rollups do not wait for all of them either.
                        self._kept = -KEEP_EVERY_S
                if is_roll_due(monotonic() - rested, took_s, is_behind=self._is_behind()):
                    began = monotonic()
                    self._roll(on)
                    rested = monotonic()
                    took_s = rested - began
                self._stop.wait(ROLL_EVERY_S)
        finally:
            on.close()

    def _archived(self, on: Connection) -> bool:
        """Archive one day; return whether there may be more. A full disk does not end the rest."""
        try:
            return archive_next(on, self._now_us()) is not None
        except (BadInputError, ConflictError) as fault:
            _LOG.error("nothing was archived and nothing dropped: %s", fault)
            return False

    def _roll(self, on: Connection) -> None:
        # Fewer than asked for is all there was: what came in since can wait for the next time.
        taken = rollups.MOST
        while taken >= rollups.MOST and not self._stop.is_set():
            with translated(), on:
                taken = rollups.roll(on)


def is_roll_due(rested_s: float, took_s: float, *, is_behind: bool) -> bool:
    """Say whether minutes are to be summed up now.

    Args:
        rested_s: How long ago the queue of the rollups was empty.
        took_s: How long it took to empty it.
        is_behind: Whether readings wait in Kafka.
    """
    return rested_s >= (ROLL_WITHIN_S if is_behind else min(ROLL_WITHIN_S, REST * took_s))


def keep_partitions(on: Connection, now_us: int) -> None:
    """Make the days to come, and drop those that are not kept any longer."""
    with translated(), on:
        partitions.ensure(on, partitions.ahead(now_us))
    with translated(), on:
        dropped = retention.apply(on, now_us)
    if dropped:
        _LOG.info("retention dropped %s to %s", dropped[0], dropped[-1])
