"""What every command begins with: settings, completed by the addresses of the running platform."""

from typing import TYPE_CHECKING, Any

from ray_app.embedded.state import DEMONSTRATION, attach, read
from ray_app.settings import Settings
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from domain.errors import ServiceUnavailableError


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
    if found.storage is None:
        raise _missing("PostgreSQL", "POSTGRES_HOST", found)
    return found.storage


def required_kafka(found: Settings) -> Any:
    """Return where Kafka is, or say how to get one."""
    if found.kafka is None:
        raise _missing("Kafka", "KAFKA_BOOTSTRAP_SERVERS", found)
    return found.kafka


def required_tuning(found: Settings) -> Any:
    """Return where MLflow is, and the bounds of sweeps; or say how to get one."""
    if found.tracking_uri is None:
        raise _missing("MLflow", "MLFLOW_TRACKING_URI", found)
    return found.tuning()


def _missing(service: str, variable: str, found: Settings) -> "ServiceUnavailableError":
    """Return what to say of a service that is not there, and where one of ours is."""
    from domain.errors import ServiceUnavailableError

    begin, demonstration = "Start the platform with `millwright up`", found.home / DEMONSTRATION
    if read(demonstration) is not None:
        begin = (
            "The demonstration runs under a home of its own: put "
            f"MILLWRIGHT_HOME={demonstration} before the command"
        )
    return ServiceUnavailableError(
        service, f"none is running under {found.home}", f"{begin}, or set {variable}"
    )
