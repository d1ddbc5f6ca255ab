"""Consumers in processes of their own: killed, frozen and drained, by a signal or at a fail point.

They are forked from one process that has imported everything and serves no one, so that a consumer
is there in a tenth of a second instead of three.
"""

import faulthandler
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar, Literal

import psycopg2
from psycopg2.extensions import connection, cursor

from domain.wire import decode
from ingestion.consume import Ingestion
from ingestion.settings import KafkaSettings
from storage import intake
from storage.settings import StorageSettings

# What a consumer compiles or loads at its first message, done once for all that are forked.
decode(intake._GREETING, intake._GREETED, now_us=0)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


@dataclass(frozen=True, slots=True, kw_only=True)
class FailPoint:
    """Where a consumer sends itself a signal.

    Attributes:
        where: Amid the COPY of the readings, right before COMMIT, or right after it, before the
            consumer has heard of it; or amid the transaction that registers machines.
        commit: In which of the transactions that move offsets, or before it; 1 is the first.
        signal: SIGKILL, or SIGSTOP to be woken up later.
    """

    where: Literal["copy", "before", "after", "admit"]
    commit: int = 1
    signal: int = signal.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a consumer that ended in good order counted."""

    consumed: int
    stored: int
    duplicates: int
    quarantined: int
    faults: int


class _Doomed(connection):
    """A connection that counts the transactions which move offsets, and fails at one of them."""

    point: ClassVar[FailPoint | None] = None
    begun: ClassVar[int] = 1

    def commit(self) -> None:
        """Commit; `with` calls this as well."""
        moves = self._moves_offsets()
        if moves:
            _fail("before")
        super().commit()
        if moves:
            _fail("after")
            _Doomed.begun += 1

    def _moves_offsets(self) -> bool:
        # The server knows it, however the statements were written.
        with super().cursor() as asked:
            asked.execute(
                "SELECT count(*) FROM consumer_offsets "
                "WHERE xmin = pg_current_xact_id_if_assigned()::xid AND next > 0"
            )
            found = asked.fetchone()
        return found is not None and found[0] > 0


class _DoomedCursor(cursor):
    """A cursor that fails amid a COPY of readings, or when machines were registered."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002 - the driver's name
        """Execute."""
        super().execute(query, vars)
        if b"INSERT INTO machines " in (query if isinstance(query, bytes) else query.encode()):
            _fail("admit")

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        """Copy."""
        ours = sql.startswith("COPY readings") and "FROM STDIN" in sql
        super().copy_expert(sql, _Halting(file.read()) if ours else file, size)


class _Halting(BytesIO):
    """Fails after three quarters of its bytes, more than the server keeps back of a full batch."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return a small piece: the server works on what has arrived as a whole."""
        if self.tell() > len(self.getbuffer()) * 3 // 4:
            _fail("copy")
        return super().read(min(size or 4096, 4096))


def _fail(where: str) -> None:
    point = _Doomed.point
    if point is not None and (where, _Doomed.begun) == (point.where, point.commit):
        _Doomed.point = None
        # To this thread: one sent to the process may let it run on until another thread has it.
        signal.raise_signal(point.signal)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _consume(
    kafka: KafkaSettings, storage: StorageSettings, point: FailPoint | None, log: Path, said: Pipe
) -> None:
    logging.basicConfig(filename=log, level=logging.INFO, force=True)
    faulthandler.register(signal.SIGUSR1, log.open("a"))
    parent = multiprocessing.parent_process()
    assert parent is not None
    # No consumer outlives the tests, however these end.
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if point is not None:
        _Doomed.point = point
        psycopg2.connect = partial(
            psycopg2.connect, connection_factory=_Doomed, cursor_factory=_DoomedCursor
        )
    ingestion = Ingestion(kafka, storage, worker=f"consumer-{os.getpid()}")
    signal.signal(signal.SIGTERM, lambda *_: ingestion.stop())
    said.send("ready")
    totals = ingestion.run()
    said.send(
        Said(
            consumed=totals.consumed,
            stored=totals.stored,
            duplicates=totals.duplicates,
            quarantined=totals.quarantined,
            faults=totals.faults,
        )
    )


class Consumer:
    """A running consumer process.

    Args:
        kafka: Where Kafka is.
        storage: Where Postgres is.
        log: File that its log is appended to.
        point: Where it fails by itself, if it shall.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        storage: StorageSettings,
        *,
        log: Path,
        point: FailPoint | None = None,
    ) -> None:
        self._ear, mouth = _CONTEXT.Pipe(duplex=False)
        self.log = log
        self.process = _CONTEXT.Process(target=_consume, args=(kafka, storage, point, log, mouth))
        self.process.start()
        mouth.close()
        assert self._hear(30) == "ready"

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def died(self, within_s: float = 30) -> int:
        """Await its end; return its exit code, negative for a signal."""
        self.process.join(within_s)
        if self.process.exitcode is None:
            # Where it hangs is written into its log, which is read a moment later.
            self.send_signal(signal.SIGUSR1)
            self.process.join(1)
        assert self.process.exitcode is not None, f"it lives on; its log is {self._tail()}"
        return self.process.exitcode

    def kill(self) -> None:
        """Kill it with -9; it never knows."""
        self.process.kill()
        assert self.died() == -signal.SIGKILL

    def drain(self, within_s: float = 20) -> Said:
        """Ask it to end, and return what it did; fails unless it exits with 0 in time."""
        self.process.terminate()
        code = self.died(within_s)
        assert code == 0, f"it ended with {code}; its log is {self._tail()}"
        said = self._hear(1)
        assert isinstance(said, Said)
        return said

    def _hear(self, within_s: float) -> object:
        assert self._ear.poll(within_s), f"it says nothing; its log is {self._tail()}"
        return self._ear.recv()

    def _tail(self) -> str:
        return self.log.read_text()[-4000:] if self.log.is_file() else "empty"


@contextmanager
def consumer(
    kafka: KafkaSettings, storage: StorageSettings, *, log: Path, point: FailPoint | None = None
) -> Iterator[Consumer]:
    """Run a consumer; it is gone at the end, by force if need be."""
    made = Consumer(kafka, storage, log=log, point=point)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.join(10)
