"""A few open connections for whoever answers people: taken for one transaction, then given back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Full, LifoQueue

from domain.errors import ServiceUnavailableError
from storage.connect import Connection, connect, rows, translated
from storage.settings import StorageSettings

_TRUSTED_S = 1.0
"""A connection used this recently is taken without asking whether the server is still there."""


class Pool:
    """Connections to a database whose address may become known, or change, while we run.

    Args:
        locate: Returns the address; asked whenever a connection is opened.
        keep: At most this many connections stay open while nobody uses them.
        application: Shown in `pg_stat_activity`.
    """

    def __init__(
        self,
        locate: Callable[[], StorageSettings],
        *,
        keep: int = 4,
        application: str = "millwright serve",
    ) -> None:
        self._locate, self._application = locate, application
        self._idle: LifoQueue[tuple[float, Connection]] = LifoQueue(keep)

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Lend a connection for one transaction, rolled back by an exception.

        Raises:
            ServiceUnavailableError: The server is away; nothing was changed.
        """
        connection = self._take()
        try:
            with translated(), connection:
                yield connection
        except ServiceUnavailableError:
            connection.close()
            raise
        finally:
            self._give_back(connection)

    def settings(self) -> StorageSettings:
        """Return where the database is now, for work that opens connections of its own."""
        return self._locate()

    def close(self) -> None:
        """Close what is idle."""
        with suppress(Empty):
            while True:
                self._idle.get_nowait()[1].close()

    def _take(self) -> Connection:
        with suppress(Empty):
            while True:
                used_at, connection = self._idle.get_nowait()
                if time.monotonic() - used_at < _TRUSTED_S or _answers(connection):
                    return connection
                connection.close()
        return connect(self._locate(), application=self._application)

    def _give_back(self, connection: Connection) -> None:
        if connection.closed:
            return
        try:
            self._idle.put_nowait((time.monotonic(), connection))
        except Full:
            connection.close()


def _answers(connection: Connection) -> bool:
    try:
        with translated(), connection:
            return bool(rows(connection, "SELECT 1"))
    except ServiceUnavailableError:
        return False
