"""Brings the whole platform up in order, and down again in reverse.

    lock of the home
    ├── warden ── Kafka ∥ PostgreSQL ── migrations, topic          beside
    ├── Ray                                                        each other
    ├── services.json                                              now other commands find us
    ├── Serve                                                      needs all of the above
    ├── crew: consumers, scorer, retrainer                         the same, after Serve
    └── MLflow                                                     needs PostgreSQL, not awaited

Serve, the crew and MLflow are added by whoever uses it (`ray_app.platform.Platform`).
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict

from ray_app import cluster, front
from ray_app.crew import Crew
from ray_app.embedded import services, state
from ray_app.embedded.ports import choose
from ray_app.embedded.supervisor import Supervisor
from ray_app.platform import HTTP_PORT, Platform, Say, known
from ray_app.settings import Settings
from ray_app.signals import ended_by_signals, held_back

_DASHBOARD_PORT = 8265


@contextmanager
def running(settings: Settings, *, say: Say, cpus: int | None = None) -> Iterator[Platform]:
    """Bring services and Ray up for the time of the block; stop them in reverse order.

    Args:
        settings: As configured.
        say: Told one line per step; called from several threads.
        cpus: Logical CPUs for Ray; by the machine when None.

    Raises:
        ConflictError: Another platform runs in this home, or a port asked for is in use.
        ServiceUnavailableError: Something does not come up.
    """
    env = settings.env
    with ExitStack() as stack:
        held = stack.enter_context(state.lock(settings.home))
        stack.enter_context(ended_by_signals())
        # Asked before anything is started: a taken port is told at once.
        choose(
            "MILLWRIGHT_HTTP_PORT", env.millwright_http_port, HTTP_PORT, env.millwright_http_host
        )
        ray_cluster = _ray(settings, cpus)
        if not stack.enter_context(front.prepared()):
            say("Ray Serve: without HAProxy; its own proxy answers, at a fraction of the rate")
        # Workers inherit it, and find the addresses there.
        os.environ["MILLWRIGHT_HOME"] = str(settings.home)
        supervisor = stack.enter_context(Supervisor(keep_open=(held,)))
        started = _begin_services(stack, settings, supervisor, say)
        ray = _enter(stack, ray_cluster, say)
        yield _platform(stack, started.result(), ray, supervisor, say)
        say("stopping: the actors finish what they hold, then everything ends")


def _begin_services(
    stack: ExitStack, settings: Settings, supervisor: Supervisor, say: Say
) -> Future[services.Services]:
    """Start the services beside whatever follows."""
    pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="bring-up")
    # Not awaited: who waits for a service that is being stopped is told by its supervisor.
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    return pool.submit(_bring_up, settings, supervisor, pool, say)


def _enter(
    stack: ExitStack, ray_cluster: AbstractContextManager[cluster.Cluster], say: Say
) -> cluster.Cluster:
    say("Ray: starting")
    began = time.monotonic()
    with held_back():
        ray = stack.enter_context(ray_cluster)
    say(f"Ray answers, its dashboard on {ray.dashboard} ({time.monotonic() - began:.1f} s)")
    return ray


def _platform(
    stack: ExitStack,
    up: services.Services,
    ray: cluster.Cluster,
    supervisor: Supervisor,
    say: Say,
) -> Platform:
    """Tell other commands where everything is; return the platform, its crew still empty."""
    settings = up.settings
    told = _running(settings, ray)
    state.write(settings.home, told)
    crew = Crew(on_failure=lambda name, why: say(f"{name} failed and is run again: {why}"))
    stack.callback(crew.close)
    return Platform(
        settings=settings,
        cluster=ray,
        crew=crew,
        supervisor=supervisor,
        say=say,
        dashboard=ray.dashboard,
        _begin_mlflow=up.begin_mlflow,
        _running=told,
        _watchers=stack.enter_context(ExitStack()),
    )


def _ray(settings: Settings, cpus: int | None) -> AbstractContextManager[cluster.Cluster]:
    env = settings.env
    if env.ray_address is not None:
        return cluster.attached(env.ray_address)
    port = choose("MILLWRIGHT_DASHBOARD_PORT", env.millwright_dashboard_port, _DASHBOARD_PORT)
    return cluster.local(settings.home, dashboard_port=port, cpus=cpus)


def _bring_up(
    settings: Settings, supervisor: Supervisor, pool: ThreadPoolExecutor, say: Say
) -> services.Services:
    """Start the services, then migrate the database and make the topic, all while Ray starts."""
    from ingestion.kafka.admin import ensure_topic
    from storage.migrate import upgrade

    up = services.bring_up(settings, supervisor, pool, say)
    revision = upgrade(known(up.settings.storage))
    topic = ensure_topic(known(up.settings.kafka))
    say(f"database at revision {revision}, topic {topic.name} is there")
    return up


def _running(settings: Settings, ray: cluster.Cluster) -> state.Running:
    return state.Running(
        pid=os.getpid(),
        kafka=known(settings.kafka).bootstrap_servers,
        postgres=asdict(known(settings.storage)),
        tracking_uri=known(settings.tracking_uri),
        dashboard=ray.dashboard,
        ray=ray.address,
        ray_token=str(ray.token_file),
    )
