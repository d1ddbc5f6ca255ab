"""Connections to Postgres: the one place that opens them and translates the driver's errors.

    08, 40, 53, 55, 57, 58, XX, no SQLSTATE   ServiceUnavailableError: wait, reconnect, try again
    3D, 3F, 28, 42P01, 42501                  ServiceUnavailableError: not set up for us
    23505                                     ConflictError: it is there already
    22, 23                                    BadInputError: this row can never be stored
    everything else                           PlatformError: a defect of ours

Decided by SQLSTATE and type, never by a message's text, which changes with the server's language.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import errorcodes
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED
from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's class is in lower case

from domain.errors import BadInputError, ConflictError, PlatformError, ServiceUnavailableError
from storage.settings import StorageSettings

__all__ = ["Connection", "connect", "is_row_fault", "rows", "session", "translate", "translated"]

CONNECT_TIMEOUT_S = 5
"""A server that is up answers in milliseconds; longer means that it is away."""

_TRANSIENT = frozenset({"08", "40", "53", "55", "57", "58", "XX"})
_NOT_SET_UP = frozenset(
    {
        errorcodes.INVALID_CATALOG_NAME,
        errorcodes.INVALID_SCHEMA_NAME,
        errorcodes.UNDEFINED_TABLE,
        errorcodes.INSUFFICIENT_PRIVILEGE,
        errorcodes.INVALID_PASSWORD,
        errorcodes.INVALID_AUTHORIZATION_SPECIFICATION,
    }
)
_ROW = frozenset({"22", "23"})


def connect(settings: StorageSettings, *, application: str = "millwright") -> Connection:
    """Open a connection in READ COMMITTED, with times in UTC; the caller closes it.

    Args:
        settings: Where the server is.
        application: Shown in `pg_stat_activity`.

    Raises:
        ServiceUnavailableError: Nobody answers there, or the login is refused.
    """
    defaults = {
        "connect_timeout": str(CONNECT_TIMEOUT_S),
        "application_name": application,
        "options": "-c TimeZone=UTC -c DateStyle=ISO",
        # A peer that vanished without a word is noticed within half a minute.
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "4",
    }
    with translated():
        # The driver's stub lists a few keywords; libpq knows all of these.
        opened: Connection = psycopg2.connect(**_any(defaults | settings.libpq()))
        opened.set_session(isolation_level=ISOLATION_LEVEL_READ_COMMITTED)
    return opened


@contextmanager
def session(settings: StorageSettings, *, application: str = "millwright") -> Iterator[Connection]:
    """Open a connection for one transaction: committed at the end, rolled back by an exception.

    Raises:
        ServiceUnavailableError: The server is away; nothing was changed.
        ConflictError: A unique key was there already.
        BadInputError: A value can never be stored.
        PlatformError: The statement itself is wrong.
    """
    opened = connect(settings, application=application)
    try:
        with translated(), opened:
            yield opened
    finally:
        opened.close()


def rows(on: Connection, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows, or no row for a statement without any.

    Args:
        on: A session.
        sql: With `%s` or `%(name)s` for parameters.
        parameters: Their values.
    """
    with translated(), on.cursor() as cursor:
        cursor.execute(sql, parameters)
        # Not its truth: `SELECT FROM …` has rows and no column.
        return cursor.fetchall() if cursor.description is not None else []


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except psycopg2.Error as error:
        raise translate(error) from error


def translate(error: psycopg2.Error) -> PlatformError:
    """Return our error for one of the driver's."""
    code = error.pgcode or ""
    said = " ".join(str(error).split()) or type(error).__name__
    if code in _NOT_SET_UP:
        return ServiceUnavailableError(
            "PostgreSQL",
            said,
            "Check POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB; `millwright up` migrates",
        )
    if code == errorcodes.UNIQUE_VIOLATION:
        return ConflictError(said)
    if code[:2] in _ROW:
        return BadInputError(said, "PostgreSQL")
    if code[:2] in _TRANSIENT or _is_away(error, code):
        return ServiceUnavailableError(
            "PostgreSQL", said, "Check POSTGRES_HOST and POSTGRES_PORT and that it is running"
        )
    return PlatformError(f"PostgreSQL refused a statement ({code or 'no SQLSTATE'}): {said}")


def is_row_fault(error: psycopg2.Error) -> bool:
    """Say whether the row itself is at fault: classes 22 and 23 except for a duplicate key."""
    code = error.pgcode or ""
    return code[:2] in _ROW and code != errorcodes.UNIQUE_VIOLATION


def _is_away(error: psycopg2.Error, code: str) -> bool:
    # Without SQLSTATE the error comes from libpq: refused, closed, timed out. `DatabaseError`
    # itself is what a server gives that dies in the middle of a COPY.
    return not code and (
        isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        or type(error) is psycopg2.DatabaseError
    )


def _any(keywords: dict[str, str]) -> Any:
    return keywords
