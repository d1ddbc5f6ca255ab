"""What every command begins with: settings, completed by the addresses of the running platform."""

from typing import Any

from ray_app.embedded.state import attach
from ray_app.settings import Settings
from storage.settings import StorageSettings

_HINT = "Start the platform with `millwright up`, or set"


def settings(**flags: Any) -> Settings:
    """Return settings from flags, environment, `.env` and the running platform's state.

    Args:
        **flags: Fields of `Environment`; None counts as not given.

    Raises:
        SettingsError: At least one variable is wrong.
    """
    return attach(Settings.load(flags))


def storage(**flags: Any) -> StorageSettings:
    """Return where Postgres is.

    Raises:
        ServiceUnavailableError: None is configured and none of ours is running.
    """
    found = settings(**flags)
    return required_storage(found)


def required_storage(found: Settings) -> StorageSettings:
    """Return where Postgres is, or say how to get one."""
    from domain.errors import ServiceUnavailableError

    if found.storage is None:
        raise ServiceUnavailableError(
            "PostgreSQL", "none is running under this home", f"{_HINT} POSTGRES_HOST"
        )
    return found.storage


def required_kafka(found: Settings) -> Any:
    """Return where Kafka is, or say how to get one."""
    from domain.errors import ServiceUnavailableError

    if found.kafka is None:
        raise ServiceUnavailableError(
            "Kafka", "none is running under this home", f"{_HINT} KAFKA_BOOTSTRAP_SERVERS"
        )
    return found.kafka


def required_tuning(found: Settings) -> Any:
    """Return where MLflow is, and the bounds of sweeps; or say how to get one."""
    from domain.errors import ServiceUnavailableError

    if found.tracking_uri is None:
        raise ServiceUnavailableError(
            "MLflow", "none is running under this home", f"{_HINT} MLFLOW_TRACKING_URI"
        )
    return found.tuning()
