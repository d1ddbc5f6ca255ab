"""Bring a database to the state that `storage.schema` and its neighbours describe."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

# These put their tables into the metadata.
import storage.care_schema
import storage.model_schema
import storage.schema
import storage.verdict_schema  # noqa: F401
from storage.connect import connect, translated
from storage.schema_base import metadata
from storage.settings import StorageSettings

_LOCK = 0x6D696C6C
"""Key of the advisory lock under which one process migrates while the others wait."""


def upgrade(settings: StorageSettings) -> str:
    """Apply every migration that is missing; safe to call again and from several processes.

    Returns:
        The revision the database is at now.

    Raises:
        ServiceUnavailableError: The server is away or the role may not create tables.
    """
    with _connected(settings) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return revision_of(connection)


def head() -> str:
    """Return the newest revision this program knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def revision(settings: StorageSettings) -> str:
    """Return the revision a database is at; empty when it was never migrated.

    Raises:
        ServiceUnavailableError: The server is away.
    """
    with _connected(settings) as connection:
        return revision_of(connection)


def differences(settings: StorageSettings) -> list[str]:
    """Return what the database lacks or has beyond the metadata; empty when they agree."""
    with _connected(settings) as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                # Partitions are made by `storage.partitions`, day by day.
                "include_name": lambda name, kind, _: (
                    kind != "table" or not str(name).startswith("readings_2")
                ),
            },
        )
        return [repr(difference) for difference in compare_metadata(context, metadata)]


def revision_of(connection: SqlConnection) -> str:
    """Return the revision of the database behind an open connection."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def _config() -> Config:
    config = Config()
    # Alembic interpolates with %, so a path that holds one is written twice.
    place = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", place)
    return config


@contextmanager
def _connected(settings: StorageSettings) -> Iterator[SqlConnection]:
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: connect(settings, application="millwright migrate"),
        poolclass=NullPool,
    )
    try:
        with translated(), _unwrapped(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Let the driver's error out of SQLAlchemy's, so that it is translated like any other."""
    try:
        yield
    except DBAPIError as error:
        raise error.orig or error from error
