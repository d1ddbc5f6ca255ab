"""One broker and one server for all tests that kill, and a topic and a database for each."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_app.embedded.supervisor import Supervisor
from tests.faults.case import Case
from tests.faults.services import Services


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """Return a broker and a server of these tests alone."""
    with tempfile.TemporaryDirectory(prefix="mw-") as folder, Supervisor() as supervisor:
        yield Services.start(supervisor, Path(folder))


@pytest.fixture
def case(services: Services, tmp_path: Path) -> Case:
    """Return a topic and a migrated database of one test alone."""
    return Case.make(services, tmp_path)
