"""The stages of the ingestion as overlapping threads: consume → decode → store."""

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, Thread
from time import monotonic, perf_counter

from domain.errors import PlatformError, ServiceUnavailableError
from domain.wire import RawBatch
from ingestion.writer import Writer
from storage import copy_format
from storage.intake import Reads, Sorted
from storage.offsets import Advance

UNDER_WAY = 3
"""Batches between consumer and commit: one decoded, one stored, one waiting between the two."""

DRAIN_S = 15.0
"""What is under way is stored within this time, or given up and read again by the next owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A batch of messages on its way.

    Attributes:
        raw: The messages.
        steps: How far they move each partition.
    """

    raw: RawBatch
    steps: tuple[Advance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A decoded batch, ready for the database.

    Attributes:
        chunk: The messages.
        found: What is in them.
        data: The readings as COPY takes them: built beside the transaction before, not within this
            one's, where the server would wait for it.
    """

    chunk: Chunk
    found: Sorted
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Once in a while through the stages, so that the last one has a clock.

    Attributes:
        lag: Messages behind the stored positions.
    """

    lag: int


class Stages:
    """Runs decode and store in threads of their own until `finish` or a failure.

    The first failure of a thread ends both; the consuming thread finds it at its next call.
    """

    def __init__(
        self,
        intake: Reads,
        writer: Writer,
        *,
        now_us: Callable[[], int],
        observe: Callable[[str, float], None],
    ) -> None:
        self._intake, self._writer = intake, writer
        self._now_us, self._observe = now_us, observe
        self._to_decode: SimpleQueue[Chunk | Tick | None] = SimpleQueue()
        self._to_store: SimpleQueue[Ready | Tick | None] = SimpleQueue()
        self._change = Condition()
        self._under_way = 0
        self._failure: BaseException | None = None
        self._threads = (
            Thread(target=self._guard, args=(self._decode,), name="decode", daemon=True),
            Thread(target=self._guard, args=(self._store,), name="store", daemon=True),
        )

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wait_free(self, timeout_s: float) -> bool:
        """Wait until a batch would be taken; return whether one is.

        Raises:
            PlatformError: A stage failed.
        """
        with self._change:
            self._change.wait_for(lambda: self._failure is not None or self._is_free(), timeout_s)
            self._raise_failure()
            return self._is_free()

    def put(self, chunk: Chunk) -> None:
        """Hand a batch over; `wait_free` says when, and more are kept none the less."""
        with self._change:
            self._raise_failure()
            self._under_way += 1
        self._to_decode.put(chunk)

    def tick(self, lag: int) -> None:
        """Let the last stage report, however little there is to store."""
        self.check()
        self._to_decode.put(Tick(lag=lag))

    def check(self) -> None:
        """Raise the failure of a stage, if there is one."""
        with self._change:
            self._raise_failure()

    def drain(self, timeout_s: float = DRAIN_S) -> None:
        """Wait until nothing is under way.

        Raises:
            ServiceUnavailableError: It took too long.
            PlatformError: A stage failed.
        """
        with self._change:
            done = self._change.wait_for(
                lambda: self._failure is not None or not self._under_way, timeout_s
            )
            self._raise_failure()
        if not done:
            raise ServiceUnavailableError(
                "PostgreSQL", f"a batch was not stored within {timeout_s:.0f} s"
            )

    def finish(self) -> None:
        """End both threads; what is under way is stored first unless a stage failed."""
        self._to_decode.put(None)
        deadline = monotonic() + DRAIN_S
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.1, deadline - monotonic()))

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - carried to the consuming thread, which raises it
            with self._change:
                self._failure = self._failure or error
                self._change.notify_all()
        finally:
            self._to_store.put(None)

    def _decode(self) -> None:
        while (item := self._to_decode.get()) is not None:
            if self._failure is not None:
                return
            if isinstance(item, Tick):
                self._to_store.put(item)
                continue
            began = perf_counter()
            found = self._intake.sort(item.raw, now_us=self._now_us())
            data = copy_format.encode(found.readings)
            self._observe("decode", perf_counter() - began)
            self._to_store.put(Ready(chunk=item, found=found, data=data))

    def _store(self) -> None:
        while (item := self._to_store.get()) is not None:
            if self._failure is not None:
                return
            if isinstance(item, Tick):
                self._writer.report(item.lag)
                continue
            raw, steps = item.chunk.raw, item.chunk.steps
            began = perf_counter()
            now_us = self._now_us()
            self._writer.write(raw, item.found, steps, now_us=now_us, data=item.data)
            self._observe("store", perf_counter() - began)
            with self._change:
                self._under_way -= 1
                self._change.notify_all()

    def _is_free(self) -> bool:
        return self._under_way < UNDER_WAY

    def _raise_failure(self) -> None:
        if isinstance(self._failure, PlatformError):
            raise self._failure
        if self._failure is not None:
            raise PlatformError(f"a stage of the ingestion broke: {self._failure!r}") from (
                self._failure
            )
