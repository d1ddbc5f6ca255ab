"""What every application of Serve stands on, made inside the replica: only settings cross."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from domain.errors import ServiceUnavailableError
from ray_app.champions import Champions
from ray_app.compute import one_thread
from ray_app.embedded import state
from ray_app.metrics import process_metrics
from ray_app.registry import PostgresRegistry
from ray_app.serve.guard import Guard, Policy
from ray_app.serve.remembered import Remembered
from ray_app.serve.scorer import Scorer
from ray_app.settings import Settings
from storage.pool import Pool
from storage.settings import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeContext:
    """The parts that the applications share.

    Attributes:
        flags: Fields of `Environment` that the configuration file set.
        pool: Connections to Postgres.
        registry: Champions, roster, keys.
        champions: What is loaded; nobody has started to refresh it.
        guard: Who may do what.
    """

    flags: Mapping[str, Any]
    pool: Pool
    registry: PostgresRegistry
    champions: Champions
    guard: Guard

    @classmethod
    def make(cls, flags: Mapping[str, Any], consumer: str) -> Self:
        """Read the settings of this process and make the parts; connects to nothing yet.

        Args:
            flags: Fields of `Environment`, over the environment.
            consumer: Who this is, in metrics and in the history of models.

        Raises:
            SettingsError: A variable is wrong.
        """
        env = Settings.load(dict(flags)).env
        one_thread()
        pool = Pool(partial(locate, dict(flags)), application=f"millwright {consumer}")
        registry = PostgresRegistry(pool, consumer)
        return cls(
            flags=flags,
            pool=pool,
            registry=registry,
            champions=Champions(registry, process_metrics(), consumer),
            guard=Guard(Policy.of(env.millwright_auth, env.millwright_http_host), registry),
        )

    def scorer(self) -> Scorer:
        """Return what answers windows, with the champions and what is stored of each machine."""
        return Scorer(self.champions, Remembered(self.registry))

    def running(self) -> state.Running | None:
        """Return where the embedded platform is, None when there is none."""
        return state.read(Settings.load(dict(self.flags)).home)


def locate(flags: dict[str, Any]) -> StorageSettings:
    """Return where Postgres is now: as configured, or the running embedded one.

    Asked anew for every connection, because an embedded server may come up after us, or elsewhere.

    Raises:
        ServiceUnavailableError: Nothing is configured and nothing of ours runs.
    """
    found = state.attach(Settings.load(flags)).storage
    if found is None:
        raise ServiceUnavailableError(
            "PostgreSQL",
            "none is configured and none runs under this home",
            "Start the platform with `millwright up`, or set POSTGRES_HOST",
        )
    return found
