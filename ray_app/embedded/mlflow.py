"""MLflow's tracking server on the embedded PostgreSQL, artifacts in a local folder."""

import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from ray_app.embedded.ports import LOOPBACK
from ray_app.embedded.supervisor import Child, Supervisor
from storage.settings import StorageSettings

_NAME = "mlflow"
DATABASE = "mlflow"
READY_WITHIN_S = 240.0
"""Its first start creates some forty tables, migration by migration."""


def store_uri(storage: StorageSettings) -> str:
    """Return the SQLAlchemy URI of MLflow's database beside ours."""
    user = urllib.parse.quote(storage.user, safe="")
    socket = urllib.parse.quote(storage.host, safe="")
    return f"postgresql+psycopg2://{user}@/{DATABASE}?host={socket}&port={storage.port}"


def begin(
    supervisor: Supervisor, folder: Path, storage: StorageSettings | None, *, port: int
) -> str:
    """Start the server without waiting for it; its database exists already.

    Args:
        supervisor: Owns the process.
        folder: Artifacts and log.
        storage: A database on the embedded PostgreSQL, beside which MLflow's own lies; a file in
            `folder` when None.
        port: Where to listen on loopback.

    Returns:
        The tracking URI, which answers after `wait`.
    """
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    store = store_uri(storage) if storage else f"sqlite:///{folder / 'mlflow.db'}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    supervisor.start(
        Child(
            name=_NAME,
            argv=(
                *(sys.executable, "-m", "ray_app.embedded.mlflow_app"),
                *(store, str(artifacts), str(port)),
            ),
            log=folder / "mlflow.out",
            # The package is importable from anywhere; a working directory of its own keeps
            # MLflow's relative defaults out of the user's.
            cwd=folder,
            env=environment,
            grace_s=5.0,
        )
    )
    return address(port)


def address(port: int) -> str:
    """Return the tracking URI of a server on a port of loopback."""
    return f"http://{LOOPBACK}:{port}"


def wait(supervisor: Supervisor, uri: str) -> None:
    """Await the server's health.

    Raises:
        ServiceUnavailableError: It ended, or is not ready in time.
    """
    supervisor.wait_ready(_NAME, lambda: is_healthy(uri), within_s=READY_WITHIN_S)


def is_healthy(uri: str) -> bool:
    """Say whether a tracking server answers."""
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:  # noqa: S310 - our URI
            return bool(answer.status == 200)
    except OSError:
        return False
