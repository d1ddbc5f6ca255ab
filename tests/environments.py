"""What a process of a test finds around it: nothing of the tester's shell but what is named."""

import os
from pathlib import Path

from storage.settings import StorageSettings

_OURS = ("KAFKA_", "POSTGRES_", "MLFLOW_", "MILLWRIGHT_", "RAY_")

CLONE = "CREATE DATABASE :name TEMPLATE :template OWNER :role STRATEGY FILE_COPY"
"""Without fsync files are copied in a fifth of the time that logging each of their pages takes."""


def clean(home: Path, **others: str) -> dict[str, str]:
    """Return this process' environment without our variables, for a platform in a home of its own.

    Args:
        home: MILLWRIGHT_HOME.
        **others: Variables by name, over all else.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    root = str(Path(__file__).parents[1])
    return kept | {"MILLWRIGHT_HOME": str(home), "PYTHONPATH": root} | others


def postgres(database: StorageSettings) -> dict[str, str]:
    """Return the variables that lead to a database of the tests' server."""
    return {
        "POSTGRES_HOST": database.host,
        "POSTGRES_PORT": str(database.port),
        "POSTGRES_USER": database.user,
        "POSTGRES_DB": database.database,
    }
