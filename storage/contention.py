"""Transactions that stand in each other's way: done again, or made to give way."""

import random
import time
from collections.abc import Callable
from functools import wraps

import psycopg2
from psycopg2 import errors

from domain.errors import ServiceUnavailableError
from storage.connect import Connection, connect, rows, translated
from storage.settings import StorageSettings

ATTEMPTS = 10
"""So often a transaction is tried that the server takes back; then its caller begins anew."""

WAIT_FOR_LOCK_S = 5
"""A transaction of the ingestion takes milliseconds: who holds a lock for longer has stopped."""

_LONGEST_WAIT_S = 0.5

_TAKEN_BACK = (errors.DeadlockDetected, errors.SerializationFailure)

INGEST, INTAKE, POSITIONS = "millwright ingest", "millwright intake", "millwright positions"
"""What the connections of the ingestion are called in `pg_stat_activity`: one stores readings, one
registers machines that were never seen, one reads and makes positions."""

# The server waits for a client that has a transaction open, and has done so for long: the client
# is frozen, or its machine is gone without a word. Only our own role's sessions may be ended by us.
_END_SLEEPERS = """
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = ANY (%s)
AND wait_event = 'ClientRead' AND state <> 'idle'
AND state_change < clock_timestamp() - make_interval(secs => %s)
"""


def again_if_taken_back[**P, T](transaction: Callable[P, T]) -> Callable[P, T]:
    """Try a whole transaction again that the server rolled back for the sake of another one.

    A deadlock (40P01) or a serialization failure (40001) leaves nothing behind and says nothing
    against the next attempt, so it is no reason to leave the group. Two that met once wait for
    different times, so that they do not meet again.
    """

    @wraps(transaction)
    def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS):
            try:
                return transaction(*args, **kwargs)
            except (psycopg2.Error, ServiceUnavailableError) as error:
                if not _was_taken_back(error):
                    raise
                longest_s = min(_LONGEST_WAIT_S, 0.002 * 2**attempt)
                time.sleep(random.uniform(0, longest_s))  # noqa: S311 - apart, not secret
        return transaction(*args, **kwargs)

    return tried


def _was_taken_back(error: Exception) -> bool:
    # Some statements of the transaction were translated already: the driver's error is the cause.
    return any(isinstance(one, _TAKEN_BACK) for one in (error, error.__cause__))


def end_sleepers(on: Connection) -> int:
    """End sessions of the ingestion that stopped amid a transaction; return how many.

    The open transaction waits no longer for a lock than theirs do.

    A consumer that is frozen there holds its offsets, its readings or the names of machines that
    it was registering, and whoever was given its partitions would wait for as long as it sleeps.
    Its transaction is rolled back; when it wakes up it finds its connection closed, and rejoins.
    """
    rows(on, "SET LOCAL lock_timeout = %s", (f"{WAIT_FOR_LOCK_S}s",))
    return len(rows(on, _END_SLEEPERS, ([INGEST, INTAKE, POSITIONS], WAIT_FOR_LOCK_S)))


def connect_impatient(settings: StorageSettings, *, application: str) -> Connection:
    """Open a connection whose statements wait for a lock for `WAIT_FOR_LOCK_S` at most.

    Whoever holds one for longer is frozen. The error makes its consumer begin anew, which ends the
    sleeper; waiting for ever would not.

    Raises:
        ServiceUnavailableError: Nobody answers there.
    """
    opened = connect(settings, application=application)
    with translated(), opened, opened.cursor() as cursor:
        cursor.execute("SET lock_timeout = %s", (f"{WAIT_FOR_LOCK_S}s",))
    return opened
