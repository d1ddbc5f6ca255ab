"""Brings up whatever of Kafka, PostgreSQL and MLflow is not configured to be elsewhere."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ray_app.embedded import kafka, mlflow, postgres
from ray_app.embedded.ports import reserve
from ray_app.embedded.supervisor import Supervisor
from ray_app.settings import Settings, kafka_settings

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Services that are up, or under way.

    Attributes:
        settings: Complete: every address is known.
        begin_mlflow: Starts MLflow; the future ends when it answers, its error is MLflow's. Done
            at once when MLflow is elsewhere.
    """

    settings: Settings
    begin_mlflow: Callable[[], Future[None]]


def bring_up(
    settings: Settings, supervisor: Supervisor, pool: ThreadPoolExecutor, say: Say
) -> Services:
    """Start Kafka beside PostgreSQL and await both; choose MLflow's address.

    Args:
        settings: As configured.
        supervisor: Owns the processes.
        pool: At least three free threads.
        say: Told one line per step.

    Raises:
        ServiceUnavailableError: One of them cannot be fetched or does not come up.
    """
    began = time.monotonic()
    broker = pool.submit(_kafka, settings, supervisor, say, began)
    with_storage = _postgres(settings, supervisor, say, began)
    uri, begin = _mlflow(with_storage, supervisor, pool, say)
    bootstrap = broker.result()
    found = kafka_settings(settings.env, bootstrap, {}) if bootstrap else None
    complete = with_storage.with_services(kafka=found, tracking_uri=uri)
    return Services(settings=complete, begin_mlflow=begin)


def _kafka(settings: Settings, supervisor: Supervisor, say: Say, began: float) -> str | None:
    if settings.kafka is not None:
        say(f"Kafka is configured: {settings.kafka.bootstrap_servers}")
        return None
    say("Kafka: starting")
    address = kafka.start(supervisor, settings.home / "kafka")
    say(f"Kafka answers on {address} {_after(began)}")
    return address


def _postgres(settings: Settings, supervisor: Supervisor, say: Say, began: float) -> Settings:
    if settings.storage is not None:
        say(f"PostgreSQL is configured: {settings.storage.host}:{settings.storage.port}")
        return settings
    say("PostgreSQL: starting")
    env = settings.env
    server = postgres.start(supervisor, settings.home / "postgres")
    server.ensure(env.postgres_user, env.postgres_db)
    server.ensure(env.postgres_user, mlflow.DATABASE)
    say(f"PostgreSQL answers on {server.socket_dir} {_after(began)}")
    password = env.postgres_password.get_secret_value()
    return settings.with_services(
        storage=server.settings(env.postgres_user, password, env.postgres_db)
    )


def _mlflow(
    settings: Settings, supervisor: Supervisor, pool: ThreadPoolExecutor, say: Say
) -> tuple[str | None, Callable[[], Future[None]]]:
    if settings.tracking_uri is not None:
        say(f"MLflow is configured: {settings.tracking_uri}")
        return None, lambda: pool.submit(lambda: None)
    storage, folder = settings.storage, settings.home / "mlflow"
    # Its address is told before it is started: nobody else may take the port until then.
    held = reserve()
    port = int(held.getsockname()[1])
    # Where PostgreSQL is yours, a file is the store that asks nothing more of it.
    socket = str(postgres.socket_dir(settings.home / "postgres"))
    ours = storage if storage is not None and storage.host == socket else None

    def begin() -> Future[None]:
        say("MLflow: starting")
        began = time.monotonic()
        held.close()
        uri = mlflow.begin(supervisor, folder, ours, port=port)

        def awaited() -> None:
            mlflow.wait(supervisor, uri)
            say(f"MLflow answers on {uri} {_after(began)}")

        return pool.submit(awaited)

    return mlflow.address(port), begin


def _after(began: float) -> str:
    return f"({time.monotonic() - began:.1f} s)"
