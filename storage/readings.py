"""The exactly-once batch: readings, quarantine and offsets in one transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Self

import numpy as np
import numpy.typing as npt
from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's class is in lower case

from domain.readings import ReadingBatch
from domain.wire import Rejection
from storage import copy_format, offsets, partitions, quarantine, rollups
from storage.connect import Connection, translated
from storage.contention import INGEST, again_if_taken_back, connect_impatient
from storage.settings import StorageSettings

_DIRECT = "COPY readings (machine_key, instant, values) FROM STDIN BINARY"
_STAGE = "COPY pg_temp.staging (machine_key, instant, values) FROM STDIN BINARY"
_MAKE_STAGE = (
    "CREATE TEMP TABLE IF NOT EXISTS staging "
    "(machine_key integer, instant timestamptz, values float8[]) ON COMMIT DELETE ROWS"
)
# In the order of the key: two consumers that bring the same readings wait for each other in a
# line and not in a circle.
_MERGE = (
    "INSERT INTO readings SELECT machine_key, instant, values FROM pg_temp.staging "
    "ORDER BY machine_key, instant ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreBatch:
    """What one transaction writes.

    Attributes:
        group_id: Consumer group that read it.
        topic: Topic it was read from.
        readings: Per machine class.
        quarantined: Messages that are no readings.
        steps: How far each partition moves, one each.
        origins: As in `Sorted`; what `MergingStore` needs to say which message came too late.
        entry: Makes a rejected message one for quarantine; needed where there are `origins`.
        data: The readings as `copy_format.encode` returns them, where someone had the time to do so
            beforehand; None lets `ReadingStore.write` do it.
    """

    group_id: str
    topic: offsets.Topic
    readings: tuple[ReadingBatch, ...]
    quarantined: tuple[quarantine.Entry, ...]
    steps: tuple[offsets.Advance, ...]
    origins: tuple[npt.NDArray[np.intp], ...] = ()
    entry: Callable[[Rejection], quarantine.Entry] | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a transaction changed.

    Attributes:
        stored: Readings that were new.
        duplicates: Readings that were there already.
        quarantined: Messages that are new in quarantine.
        refused: Messages whose values contradict what is stored; they are in quarantine.
    """

    stored: int
    duplicates: int
    quarantined: int
    refused: tuple[Rejection, ...] = ()


type _Load = Callable[[Cursor, bytes], int]


class ReadingStore:
    """Writes batches over one connection; for one thread.

    The delivery order of a batch, all in one READ COMMITTED transaction:

    1. Readings by binary COPY straight into the keyed table. A batch that meets a key which is
       there already is rolled back and repeated through a staging table with ON CONFLICT DO
       NOTHING: only batches with duplicates pay for them.
    2. The minutes of the readings into the queue of the rollups.
    3. Quarantined messages, one row each, ON CONFLICT DO NOTHING.
    4. Offsets, from the expected to the new one. Where the expected one is gone another consumer
       owns the partition and everything is rolled back.

    `synchronous_commit` is off: a crash of the server may take back the last transactions, but
    never a row without its offset, so a consumer that seeks anew after it reconnects reads them
    again.

    Attributes:
        connection: Its own.
        attempts: Transactions tried so far; one per batch, and one for each that was taken back.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.attempts = 0
        self._days: partitions.Days = set()

    @classmethod
    @contextmanager
    def open(cls, settings: StorageSettings) -> Iterator[Self]:
        """Connect, and disconnect at the end.

        Raises:
            ServiceUnavailableError: The server is away.
        """
        connection = connect_impatient(settings, application=INGEST)
        try:
            with translated(), connection, connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = off")
            yield cls(connection)
        finally:
            connection.close()

    def write(self, batch: StoreBatch) -> Written:
        """Store a batch as a whole or not at all.

        Raises:
            PartitionLostError: Another consumer owns a partition; nothing was stored.
            BadInputError: The database can never take one of the rows; nothing was stored.
            ServiceUnavailableError: The server went away. Whether the batch was stored is known
                to the stored offsets alone: reconnect, read them and seek.
        """
        data = batch.data or copy_format.encode(batch.readings)
        self.ensure_days(batch.readings)
        with translated():
            try:
                return self._try(batch, data)
            except errors.CheckViolation:
                # Retention dropped a partition that we had seen: make it again, then try once.
                self._days.clear()
                self.ensure_days(batch.readings)
                return self._try(batch, data)

    def ensure_days(self, batches: tuple[ReadingBatch, ...]) -> None:
        """Make the partitions that the batches need, in a transaction of its own."""
        needed = {day for one in batches for day in partitions.days_of(one.instants_us)}
        if needed <= self._days:
            return
        with translated(), self.connection:
            partitions.ensure(self.connection, needed - self._days)
        self._days |= needed

    @again_if_taken_back
    def _try(self, batch: StoreBatch, data: bytes) -> Written:
        self.attempts += 1
        return self._store(batch, data)

    def _store(self, batch: StoreBatch, data: bytes) -> Written:
        try:
            return self._transact(batch, data, _direct)
        except errors.UniqueViolation:
            return self._transact(batch, data, _staged)

    def _transact(self, batch: StoreBatch, data: bytes, load: _Load) -> Written:
        count = sum(len(one) for one in batch.readings)
        with self.connection, self.connection.cursor() as cursor:
            stored = load(cursor, data) if count else 0
            if stored:
                rollups.mark(self.connection, batch.readings)
            new = quarantine.add(self.connection, batch.quarantined)
            offsets.advance(self.connection, batch.group_id, batch.topic, batch.steps)
        return Written(stored=stored, duplicates=count - stored, quarantined=new)


def _direct(cursor: Cursor, data: bytes) -> int:
    _copy(cursor, _DIRECT, data)
    return cursor.rowcount


def _staged(cursor: Cursor, data: bytes) -> int:
    cursor.execute(_MAKE_STAGE)
    _copy(cursor, _STAGE, data)
    cursor.execute(_MERGE)
    return cursor.rowcount


def _copy(cursor: Cursor, sql: str, data: bytes) -> None:
    # In one piece: after every piece the driver takes the interpreter's lock again and may wait
    # for it as long as the switch interval, while the server waits for the next piece.
    cursor.copy_expert(sql, BytesIO(data), size=len(data))
