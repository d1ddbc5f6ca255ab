"""A real MLflow server, started once and only for who asks."""

from pathlib import Path

import pytest

from ray_app.embedded import mlflow
from ray_app.embedded.ports import free_port
from ray_app.embedded.supervisor import Supervisor


@pytest.fixture(scope="session")
def mlflow_starting(supervisor: Supervisor, run_home: Path) -> str:
    """Return the address of a server that was started and is not up yet."""
    return mlflow.begin(supervisor, run_home / "tracking", None, port=free_port())


@pytest.fixture(scope="session")
def mlflow_server(mlflow_starting: str, supervisor: Supervisor) -> str:
    """Return the address of a server that answers."""
    mlflow.wait(supervisor, mlflow_starting)
    return mlflow_starting
