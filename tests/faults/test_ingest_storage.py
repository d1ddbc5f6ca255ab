"""The database refuses for a while: deadlocks, no connections, no room. Nothing is quarantined."""

import logging
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from domain.errors import ServiceUnavailableError
from ingestion.consume import Ingestion
from storage.connect import Connection, connect, rows, session
from storage.settings import StorageSettings
from tests.faults.case import MACHINES, Case, times
from tests.faults.services import Services, grow, mounted
from tests.ingest_support import running, until

_LOG = logging.getLogger(__name__)

EACH = 20_000

_FAIL_SOMETIMES = """
CREATE SEQUENCE raised;
CREATE FUNCTION fail_sometimes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.4 AND nextval('raised') <= {wanted} THEN
        RAISE EXCEPTION 'forced' USING ERRCODE = '{sqlstate}';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fail_sometimes BEFORE UPDATE ON consumer_offsets
    FOR EACH STATEMENT EXECUTE FUNCTION fail_sometimes();
"""
"""A sequence counts what was raised: a rollback does not take it back."""

_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

_PASSED = "SELECT coalesce(sum(next), 0) FROM consumer_offsets"

_AWAIT_A_WAITER = """
DO $$ BEGIN
    FOR n IN 1..500 LOOP
        EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted);
        PERFORM pg_sleep(0.001);
    END LOOP;
END $$
"""
"""For half a second at the most: there may be nothing to store any more."""


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_transactions_that_the_server_takes_back_are_done_again(case: Case, sqlstate: str) -> None:
    """Serialization failures and deadlocks by the hundred: each batch is stored in the end."""
    wanted, each = times(50, 1000), times(5_000, 20_000)
    case.drop_key()
    case.sql(_FAIL_SOMETIMES.format(wanted=wanted, sqlstate=sqlstate))
    # Small batches, so that there are transactions enough.
    with running(Ingestion(replace(case.kafka, max_batch=100), case.storage)) as ingestion:
        case.publish(0, each)
        case.reach(each * MACHINES, 120)

    with session(case.storage) as on:
        raised = min(wanted, int(rows(on, "SELECT last_value FROM raised")[0][0]))
    _LOG.info("%d × %s in %d batches", raised, sqlstate, ingestion.totals.batches)
    assert raised == wanted
    assert ingestion.totals.duplicates == 0
    # A few may fail ten times in a row; leaving the group is not the answer to the others.
    assert ingestion.totals.faults <= wanted // 50
    assert ingestion.totals.repeated >= wanted - 10 * ingestion.totals.faults
    case.check(each)


def test_real_deadlocks_are_lost_and_done_again(case: Case, services: Services) -> None:
    """Another transaction takes the same locks the other way round, again and again."""
    wanted, each = times(30, 1000), 0
    case.drop_key()
    began = monotonic()
    ingestion = Ingestion(replace(case.kafka, max_batch=100), case.storage)
    with session(services.as_superuser(case.storage)) as on, running(ingestion):
        while (met := _asked(on, _DEADLOCKS)) < wanted:
            if (passed := _asked(on, _PASSED)) == each * MACHINES:
                case.publish(each, 1000)
                each += 1000
            _cross(on)
            until(lambda seen=passed: _asked(on, _PASSED) > seen)  # type: ignore[misc] # bound now
        case.reach(each * MACHINES)
    _LOG.info("%d deadlocks among %d readings in %.0f s", met, each * MACHINES, monotonic() - began)

    assert ingestion.totals.duplicates == 0
    assert ingestion.totals.faults <= met // 10
    case.check(each)


def _asked(on: Connection, sql: str) -> int:
    found = int(rows(on, sql)[0][0])
    on.commit()
    return found


def _cross(on: Connection) -> None:
    """Lock the offsets, and the readings as soon as the consumer has locked them and waits."""
    # The one that waits for shorter before it looks for a deadlock is its victim.
    rows(on, "SET LOCAL deadlock_timeout = '60s'")
    rows(on, "SELECT FROM consumer_offsets ORDER BY partition FOR UPDATE")
    rows(on, _AWAIT_A_WAITER)
    rows(on, "LOCK TABLE readings IN SHARE MODE")
    on.commit()


def test_too_many_connections_are_waited_for(case: Case, services: Services) -> None:
    """Others hold every connection there is: the consumer waits until one is free again."""
    case.drop_key()
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(0, 500)
        case.reach(500 * MACHINES)
        with _every_connection(case.storage, services):
            case.publish(500, 500)
            until(lambda: ingestion.totals.faults >= 3)
            assert ingestion.totals.stored == 500 * MACHINES
        began = monotonic()
        case.reach(1000 * MACHINES)
        _LOG.info("all stored %.1f s after a connection was free", monotonic() - began)

    case.check(1000)


@contextmanager
def _every_connection(storage: StorageSettings, services: Services) -> Iterator[None]:
    """Take every connection that is free, and then those that the consumer has."""
    kicked = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE "
    with ExitStack() as taken:

        def full() -> bool:
            with suppress(ServiceUnavailableError):
                while True:
                    taken.callback(connect(storage, application="greedy").close)
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'millwright %'"
            return int(services.server.sql(sql)) == 0

        full()
        services.server.sql(f"{kicked} 'millwright %'")
        until(full)
        yield


def test_a_full_disk_is_waited_for(services: Services, tmp_path: Path) -> None:
    """The file system of the database is full: it goes on when there is room, and loses nothing."""
    with ExitStack() as stack:
        try:
            small = stack.enter_context(mounted(services.home / "small", size_mb=24))
        except subprocess.CalledProcessError:
            pytest.skip("mounting a file system is not permitted here")
        services.server.sql(f"CREATE TABLESPACE small LOCATION '{small}'")
        stack.callback(services.server.sql, "DROP TABLESPACE small")
        case = Case.make(services, tmp_path, tablespace="small")
        stack.callback(services.server.sql, f"DROP DATABASE {case.storage.database} WITH (FORCE)")
        with running(Ingestion(case.kafka, case.storage)) as ingestion:
            case.publish(0, EACH)
            until(lambda: ingestion.totals.faults >= 3)
            before = ingestion.totals.stored
            assert 0 < before < EACH * MACHINES
            grow(small, size_mb=256)
            began = monotonic()
            case.reach(EACH * MACHINES)
            _LOG.info("full after %d; all stored %.1f s later", before, monotonic() - began)
        assert ingestion.totals.duplicates == 0
        case.check(EACH)
