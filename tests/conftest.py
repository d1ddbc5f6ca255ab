"""Real services for every test: one Kafka and one PostgreSQL per run, a database and a topic each.

Nothing is started before a test asks for it. Everything lives in a folder with a short name, for a
Unix socket's path must stay under 100 bytes, and ends with the run, however that ends.
"""

import os
import secrets
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_app.embedded import kafka as kafka_service
from ray_app.embedded import postgres as postgres_service
from ray_app.embedded.supervisor import Supervisor
from storage.settings import StorageSettings
from tests import environments

# Ray reads mode and token once, when it is imported: before the first test module is collected, and
# one token for every cluster of this process.
_TOKEN = Path(tempfile.gettempdir()) / f"mw-ray-{os.getpid()}.token"
_TOKEN.touch(mode=0o600)
_TOKEN.write_text(secrets.token_hex(32))
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(_TOKEN)}

# Who starts a run in the background makes it deaf to Ctrl-C, and so all that it starts, which a
# test may want to end just so.
signal.signal(signal.SIGINT, signal.default_int_handler)

_USER = "sensor_user"
_TEMPLATE = "migrated"


def pytest_unconfigure() -> None:
    """Leave no token behind."""
    _TOKEN.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def run_home() -> Iterator[Path]:
    """Return the folder of this run, which goes with it."""
    home = Path(tempfile.mkdtemp(prefix="mw-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def supervisor(run_home: Path) -> Iterator[Supervisor]:
    """Return the owner of the services of this run."""
    assert run_home.is_dir()
    with Supervisor() as owner:
        yield owner


@pytest.fixture(scope="session")
def kafka(supervisor: Supervisor, run_home: Path) -> str:
    """Return the bootstrap address of a real broker."""
    return kafka_service.start(supervisor, run_home / "kafka")


@pytest.fixture(scope="session")
def postgres(supervisor: Supervisor, run_home: Path) -> postgres_service.Server:
    """Return a real PostgreSQL server; its data need not outlive a power cut."""
    server = postgres_service.start(
        supervisor,
        run_home / "pg",
        options={"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"},
    )
    server.ensure(_USER, "sensor_data")
    return server


@pytest.fixture(scope="session")
def migrated_template(postgres: postgres_service.Server) -> str:
    """Return the name of a database that was migrated once, to be cloned."""
    from storage.migrate import upgrade

    postgres.ensure(_USER, _TEMPLATE)
    upgrade(postgres.settings(_USER, "", _TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def database(
    postgres: postgres_service.Server, migrated_template: str
) -> Iterator[StorageSettings]:
    """Return a migrated, empty database of this test alone."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres.sql(
        environments.CLONE,
        name=name,
        template=migrated_template,
        role=_USER,
    )
    yield postgres.settings(_USER, "", name)
    postgres.sql("DROP DATABASE IF EXISTS :name WITH (FORCE)", name=name)


@pytest.fixture
def blank_database(postgres: postgres_service.Server) -> Iterator[StorageSettings]:
    """Return an empty database without any table, of this test alone."""
    name = f"blank_{uuid.uuid4().hex[:12]}"
    postgres.sql("CREATE DATABASE :name OWNER :role", name=name, role=_USER)
    yield postgres.settings(_USER, "", name)
    postgres.sql("DROP DATABASE IF EXISTS :name WITH (FORCE)", name=name)


@pytest.fixture
def topic() -> str:
    """Return a name that no other test uses; creating the topic is the test's."""
    return f"test.{uuid.uuid4().hex[:12]}"
