"""Brings the whole platform up in order, and down again in reverse.

    lock of the home
    ├── warden ── Kafka ∥ PostgreSQL ── migrations, topic          beside
    ├── Ray                                                        each other
    ├── services.json                                              now other commands find us
    ├── Serve                                                      needs all of the above
    ├── crew: consumers, scorer, retrainer                         the same, after Serve
    └── MLflow                                                     needs PostgreSQL, not awaited

Whoever uses it adds what it wants of the last line: `millwright up` everything, the demonstration
step by step.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from domain.errors import ServiceUnavailableError
from ingestion.settings import KafkaSettings
from ray_app import cluster, front, serving
from ray_app.crew import Crew
from ray_app.embedded import services, state
from ray_app.embedded.ports import choose
from ray_app.embedded.supervisor import Supervisor
from ray_app.metrics import process_metrics
from ray_app.settings import Settings
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from domain.mapping import Mapping
    from ray_app.producer_plan import ProducerPlan

_DASHBOARD_PORT, _HTTP_PORT = 8265, 8000
type Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Platform:
    """A platform that runs.

    Attributes:
        settings: Complete: every address is known.
        cluster: The Ray cluster.
        crew: The always-on actors.
        supervisor: Owner of the embedded services.
        say: Told one line per step.
        dashboard: URL of Ray's dashboard.
        api: URL of console and API; empty until `serve` was called.
    """

    settings: Settings
    cluster: cluster.Cluster
    crew: Crew
    supervisor: Supervisor
    say: Say
    dashboard: str
    api: str = ""
    _begin_mlflow: Callable[[], Future[None]]
    _running: state.Running
    _watchers: ExitStack
    _mlflow: Future[None] | None = None

    @property
    def kafka(self) -> KafkaSettings:
        """Where Kafka is."""
        return _known(self.settings.kafka)

    @property
    def storage(self) -> StorageSettings:
        """Where Postgres is."""
        return _known(self.settings.storage)

    @property
    def tracking_uri(self) -> str:
        """Where MLflow is, or will be after `wait_for_mlflow`."""
        return _known(self.settings.tracking_uri)

    def begin_mlflow(self) -> None:
        """Start MLflow without waiting for it. Harmless when repeated.

        Not done with the other services: it takes seconds of both CPUs which the API needs to come
        up, and nothing but a sweep needs MLflow.
        """
        if self._mlflow is None:
            self._mlflow = self._begin_mlflow()

    def wait_for_mlflow(self) -> None:
        """Await MLflow; start it if nobody has.

        Raises:
            ServiceUnavailableError: It did not come up.
        """
        self.begin_mlflow()
        if self._mlflow is not None:
            self._mlflow.result()

    def start_consumers(self, least: int, most: int) -> None:
        """Set actors to work that bring readings from Kafka to Postgres.

        Args:
            least: At once, and always.
            most: Up to so many while they are behind; no fewer than `least`.
        """
        from ingestion.elasticity import Bounds
        from ray_app.elastic import ConsumerActors, Elastic

        actors = ConsumerActors(self.crew, self.kafka, self.storage)
        for _ in range(least):
            actors.add()
        bounds = Bounds(least=least, most=max(least, most))
        if bounds.least != bounds.most:
            elastic = Elastic(actors.standings, actors, bounds, process_metrics(), say=self.say)
            elastic.start()
            self._watchers.callback(elastic.stop)

    def start_mapped(self, mapping: "Mapping") -> None:
        """Set an actor to work that brings a topic of another shape to Postgres.

        A topic that is not there is waited for: it is its owner's to make.

        Raises:
            BadInputError: The mapping names no topic, or the platform's own.
        """
        from ingestion.foreign import reading
        from ray_app.consumer_actor import ConsumerActor

        kafka = reading(self.kafka, mapping, None)
        name = f"mapped-{kafka.topic}"
        actor = cluster.as_actor(
            ConsumerActor, kafka, self.storage, name, mapping, name=name, spread=True
        )
        self.crew.add(name, actor, kind="mapped")

    def start_producer(self, plan: "ProducerPlan", *, number: int = 0) -> Any:
        """Set an actor to work that simulates machines; return its handle."""
        from ray_app.producer_actor import ProducerActor

        name = f"producer-{number}"
        # Beside `run`: `stop`, `inject` and whoever asks for its state.
        actor = cluster.as_actor(
            ProducerActor, self.kafka, self.storage, plan, name, name=name, threads=4
        )
        self.crew.add(name, actor, kind="producer")
        return actor

    def start_scorer(self) -> None:
        """Set the actor to work that scores the stream with the champion."""
        from ray_app.scorer_actor import ScorerActor

        actor = cluster.as_actor(ScorerActor, self.kafka, self.storage, name="scorer")
        self.crew.add("scorer", actor, kind="scorer")

    def start_retrainer(self) -> None:
        """Set the actor to work that sweeps again when it is time."""
        from ray_app.retrainer_actor import RetrainerActor

        actor = cluster.as_actor(
            RetrainerActor, self.storage, self.settings.tuning(), name="retrainer"
        )
        self.crew.add("retrainer", actor, kind="retrainer")

    def serve(self, *, wait: bool = True) -> str:
        """Deploy predictor, API and console; return their URL.

        Args:
            wait: Until they answer.

        Raises:
            ConflictError: The port asked for is in use.
            ServiceUnavailableError: An application does not come up.
        """
        env = self.settings.env
        host = env.millwright_http_host
        port = choose("MILLWRIGHT_HTTP_PORT", env.millwright_http_port, _HTTP_PORT, host)
        began = time.monotonic()
        self.say("Ray Serve: starting predictor, API and console")
        self.api = serving.deploy(self.dashboard, host=host, port=port)
        self._running = replace(self._running, api=self.api)
        state.write(self.settings.home, self._running)
        if wait:
            self.wait_for_api()
            self.say(f"Ray Serve answers on {self.api} ({time.monotonic() - began:.1f} s)")
        return self.api

    def wait_for_api(self) -> None:
        """Await every application and Ray's agent for jobs, then begin with MLflow.

        Raises:
            ServiceUnavailableError: One does not come up.
        """
        serving.wait(self.dashboard, self.api)
        if not cluster.takes_jobs():
            self.say(
                "Ray: its agent for jobs is not up yet; repeat `ray job submit` if it is refused"
            )
        self.begin_mlflow()


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
        stack.enter_context(_ended_by_signals())
        # Asked before anything is started: a taken port is told at once.
        choose(
            "MILLWRIGHT_HTTP_PORT", env.millwright_http_port, _HTTP_PORT, env.millwright_http_host
        )
        ray_cluster = _ray(settings, cpus)
        if not stack.enter_context(front.prepared()):
            say("Ray Serve: without HAProxy; its own proxy answers, at a fraction of the rate")
        # Workers inherit it, and find the addresses there.
        os.environ["MILLWRIGHT_HOME"] = str(settings.home)
        supervisor = stack.enter_context(Supervisor(keep_open=(held,)))
        pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="bring-up")
        # Not awaited: who waits for a service that is being stopped is told by its supervisor.
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        started = pool.submit(_bring_up, settings, supervisor, pool, say)
        say("Ray: starting")
        began = time.monotonic()
        ray = stack.enter_context(ray_cluster)
        # Ray puts handlers of its own in place of ours.
        stack.enter_context(_ended_by_signals())
        say(f"Ray answers, its dashboard on {ray.dashboard} ({time.monotonic() - began:.1f} s)")
        up = started.result()
        told = _running(up.settings, ray)
        state.write(settings.home, told)
        crew = Crew(on_failure=lambda name, why: say(f"{name} failed and is run again: {why}"))
        stack.callback(crew.close)
        watchers = stack.enter_context(ExitStack())
        yield Platform(
            settings=up.settings,
            cluster=ray,
            crew=crew,
            supervisor=supervisor,
            say=say,
            dashboard=ray.dashboard,
            _begin_mlflow=up.begin_mlflow,
            _running=told,
            _watchers=watchers,
        )
        say("stopping: the actors finish what they hold, then everything ends")


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
    revision = upgrade(_known(up.settings.storage))
    topic = ensure_topic(_known(up.settings.kafka))
    say(f"database at revision {revision}, topic {topic.name} is there")
    return up


def _running(settings: Settings, ray: cluster.Cluster) -> state.Running:
    return state.Running(
        pid=os.getpid(),
        kafka=_known(settings.kafka).bootstrap_servers,
        postgres=asdict(_known(settings.storage)),
        tracking_uri=_known(settings.tracking_uri),
        dashboard=ray.dashboard,
        ray=ray.address,
        ray_token=str(ray.token_file),
    )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an orderly end, as Ctrl-C is one already."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _known[T](value: T | None) -> T:
    if value is None:
        raise ServiceUnavailableError("the platform", "an address is not known yet")
    return value
