"""A database is brought to the state the program expects, once, whoever asks first."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from alembic import command

from domain.errors import ServiceUnavailableError
from storage import migrate, partitions
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.ingest_support import until, waits


def test_migrations_lead_to_the_metadata(blank_database: StorageSettings) -> None:
    """The tables of a migrated database are those that the code describes, partitions aside."""
    assert migrate.upgrade(blank_database) == migrate.head()
    with session(blank_database) as on:
        assert partitions.ensure(on, partitions.ahead(1_750_000_000_000_000)) == 5
        assert partitions.ensure(on, partitions.ahead(1_750_000_000_000_000)) == 0

    assert migrate.differences(blank_database) == []


def test_the_way_back_and_forth_leads_to_the_same(blank_database: StorageSettings) -> None:
    """What 0005 changed is taken back, the function for retention included, and made again."""
    migrate.upgrade(blank_database)
    with session(blank_database) as on:
        after = rows(on, _RETENTION)
    with migrate._connected(blank_database) as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0003")
    with session(blank_database) as on:
        before = rows(on, _RETENTION)
        assert rows(on, "SELECT apply_readings_retention(now())") == [([],)]
    migrate.upgrade(blank_database)

    assert migrate.differences(blank_database) == []
    with session(blank_database) as on:
        assert rows(on, _RETENTION) == after
    assert before != after


_RETENTION = "SELECT prosrc FROM pg_proc WHERE proname = 'apply_readings_retention'"


def test_the_metadata_of_an_empty_database_differs(blank_database: StorageSettings) -> None:
    """The comparison of the test above can fail."""
    assert len(migrate.differences(blank_database)) > 10


def test_upgrades_at_the_same_time_wait_for_each_other(blank_database: StorageSettings) -> None:
    """Several processes that start together leave one migrated database."""
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: migrate.upgrade(blank_database), range(3)))

    assert results == [migrate.head()] * 3
    assert migrate.upgrade(blank_database) == migrate.head()


def test_a_partition_that_two_make_at_once_is_made_once(database: StorageSettings) -> None:
    """Who waited for the other finds it made, and does not fail."""
    days = [date(2031, 5, 7)]

    def second() -> int:
        with session(database, application="the second") as on:
            return partitions.ensure(on, days)

    with ThreadPoolExecutor(1) as pool:
        with session(database) as on:
            assert partitions.ensure(on, days) == 1
            made = pool.submit(second)
            until(lambda: waits(database, "the second", lock="advisory"))
        assert made.result() == 0


def test_a_dead_database_is_told_in_one_sentence(database: StorageSettings) -> None:
    """Nobody listens: the answer says which service and what to check."""
    from dataclasses import replace

    with pytest.raises(ServiceUnavailableError, match="PostgreSQL is not available"):
        migrate.upgrade(replace(database, host="127.0.0.1", port=1))


def test_roles_may_do_what_their_names_say(database: StorageSettings) -> None:
    """A reader reads, a writer does not change what happened to a model."""
    with session(database) as on:
        there = rows(on, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'millwright%'")
        if not there:
            pytest.skip("the role of the tests may not create roles")
        may = rows(
            on,
            "SELECT has_table_privilege('millwright_reader', 'readings', 'SELECT'), "
            "has_table_privilege('millwright_reader', 'readings', 'INSERT'), "
            "has_table_privilege('millwright_writer', 'readings', 'INSERT'), "
            "has_table_privilege('millwright_writer', 'model_events', 'UPDATE'), "
            "has_table_privilege('millwright_reader', 'api_keys', 'SELECT')",
        )
    assert may == [(True, False, True, False, False)]
