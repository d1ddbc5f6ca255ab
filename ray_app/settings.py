"""Settings, built once at an entry point from flags, environment, `.env` and defaults.

A wrong value names the variable, the value and what is allowed; all wrong values are told at once.
A service whose address is not configured is started by us: its settings then come from the
running platform (`ray_app.embedded`), which is why `kafka` and `storage` may be None here.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import SettingsError
from ingestion.settings import KafkaSettings
from storage.settings import StorageSettings
from tuning.settings import TuningSettings

_OURS = frozenset({"KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "KAFKA_GROUP_ID", "KAFKA_PARTITIONS"})
"""Variables with the KAFKA_ prefix that are not librdkafka properties."""

_PG_OPTIONS = {
    "POSTGRES_SSLMODE": "sslmode",
    "POSTGRES_SSLROOTCERT": "sslrootcert",
    "POSTGRES_SSLCERT": "sslcert",
    "POSTGRES_SSLKEY": "sslkey",
}


class Environment(BaseSettings):
    """Every variable the platform reads, with its default. Field names are variable names."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    kafka_bootstrap_servers: str | None = None
    kafka_topic: str = Field("machine.sensor.readings", pattern=r"^[a-zA-Z0-9._-]{1,249}$")
    kafka_group_id: str = Field("sensor-consumer-group", min_length=1)
    kafka_partitions: int = Field(6, ge=1, le=1000)

    postgres_host: str | None = None
    postgres_port: int = Field(5432, ge=1, le=65535)
    postgres_user: str = "sensor_user"
    postgres_password: SecretStr = SecretStr("sensor_password")
    postgres_db: str = "sensor_data"

    mlflow_tracking_uri: str | None = None

    simulation_interval_ms: int = Field(500, ge=1, le=3_600_000)
    num_sensors: int = Field(20, ge=1, le=1000)
    num_machines: int = Field(8, ge=1, le=100_000)
    simulation_seed: int = Field(0, ge=0)
    batch_size: int = Field(100, ge=1, le=1_000_000)
    commit_interval_ms: int = Field(5000, ge=1, le=600_000)
    training_lookback_hours: float = Field(1.0, gt=0, le=24 * 365)

    sweep_trials: int = Field(24, ge=1, le=10_000)
    sweep_seed: int = Field(0, ge=0)
    retrain_interval_s: float = Field(3600.0, ge=0)

    ray_address: str | None = None

    millwright_home: Path = Path("~/.millwright")
    millwright_http_host: str = "127.0.0.1"
    millwright_http_port: int | None = Field(None, ge=1, le=65535)
    millwright_auth: str = Field("loopback", pattern="^(loopback|required)$")
    millwright_dashboard_port: int | None = Field(None, ge=1, le=65535)
    millwright_consumers: int = Field(1, ge=0, le=256)
    millwright_max_consumers: int = Field(4, ge=0, le=256)
    millwright_log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the composition root hands to the rooms.

    Attributes:
        env: The variables as they were read.
        home: Absolute data directory.
        kafka: None while the broker is ours and not started yet.
        storage: None while the database is ours and not started yet.
        tracking_uri: None while MLflow is ours and not started yet.
    """

    env: Environment
    home: Path
    kafka: KafkaSettings | None
    storage: StorageSettings | None
    tracking_uri: str | None

    @classmethod
    def load(cls, flags: dict[str, Any] | None = None, *, cwd: Path | None = None) -> Self:
        """Read flags, environment and `.env`, in this order of precedence.

        Args:
            flags: Field names of `Environment` to values; None values count as not given.
            cwd: Where `.env` is looked for; the working directory by default.

        Raises:
            SettingsError: At least one variable is wrong; every one is named.
        """
        dotenv = (cwd or Path.cwd()) / ".env"
        given = {k: v for k, v in dotenv_values(dotenv).items() if v} if dotenv.is_file() else {}
        merged = {**given, **{k: v for k, v in os.environ.items() if v}}
        known = {name.upper(): name for name in Environment.model_fields}
        values: dict[str, Any] = {known[k]: v for k, v in merged.items() if k in known}
        values |= {k: v for k, v in (flags or {}).items() if v is not None}
        try:
            env = Environment.model_validate(values)
        except ValidationError as error:
            raise SettingsError(tuple(_sentence(problem) for problem in error.errors())) from None
        return cls._assemble(env, merged)

    @classmethod
    def _assemble(cls, env: Environment, variables: dict[str, str]) -> Self:
        kafka = env.kafka_bootstrap_servers and kafka_settings(
            env, env.kafka_bootstrap_servers, variables
        )
        storage = env.postgres_host and StorageSettings(
            host=env.postgres_host,
            port=env.postgres_port,
            user=env.postgres_user,
            password=env.postgres_password.get_secret_value(),
            database=env.postgres_db,
            options=tuple((o, variables[v]) for v, o in _PG_OPTIONS.items() if v in variables),
        )
        return cls(
            env=env,
            home=env.millwright_home.expanduser().absolute(),
            kafka=kafka or None,
            storage=storage or None,
            tracking_uri=env.mlflow_tracking_uri,
        )

    def tuning(self) -> TuningSettings:
        """Return the bounds of a sweep; the tracking URI must be known by now."""
        if self.tracking_uri is None:
            raise SettingsError(("MLFLOW_TRACKING_URI is not set and no MLflow was started",))
        return TuningSettings(
            tracking_uri=self.tracking_uri,
            lookback_hours=self.env.training_lookback_hours,
            trials=self.env.sweep_trials,
            seed=self.env.sweep_seed,
            retrain_interval_s=self.env.retrain_interval_s,
        )

    def with_services(
        self,
        *,
        kafka: KafkaSettings | None = None,
        storage: StorageSettings | None = None,
        tracking_uri: str | None = None,
    ) -> Self:
        """Return a copy that knows the addresses of services we started."""
        return replace(
            self,
            kafka=kafka or self.kafka,
            storage=storage or self.storage,
            tracking_uri=tracking_uri or self.tracking_uri,
        )


def kafka_settings(
    env: Environment, bootstrap_servers: str, variables: dict[str, str] | None = None
) -> KafkaSettings:
    """Return Kafka settings for the given address; `KAFKA_*` properties pass through."""
    passed = tuple(
        (name.removeprefix("KAFKA_").lower().replace("_", "."), value)
        for name, value in sorted((os.environ if variables is None else variables).items())
        if name.startswith("KAFKA_") and name not in _OURS
    )
    return KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        topic=env.kafka_topic,
        group_id=env.kafka_group_id,
        partitions=env.kafka_partitions,
        batch_size=env.batch_size,
        commit_interval_ms=env.commit_interval_ms,
        properties=passed,
    )


def _sentence(problem: Any) -> str:
    name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
    shown = "***" if "PASSWORD" in name else repr(problem["input"])
    return f"{name} is {shown}: {problem['msg'].lower()}"


def field_names() -> tuple[str, ...]:
    """Return every variable the platform reads, in the order of the documentation."""
    return tuple(name.upper() for name in Environment.model_fields)
