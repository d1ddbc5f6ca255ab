"""A platform that runs: its addresses, and what can be set to work on it.

`ray_app.bring_up` makes one. Whoever uses it adds what it wants: `millwright up` everything, the
demonstration step by step.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from domain.errors import ServiceUnavailableError
from ingestion.settings import KafkaSettings
from ray_app import cluster, serving
from ray_app.crew import Crew
from ray_app.embedded import state
from ray_app.embedded.ports import choose
from ray_app.embedded.supervisor import Supervisor
from ray_app.metrics import process_metrics
from ray_app.settings import Settings
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from domain.mapping import Mapping
    from ray_app.producer_plan import ProducerPlan

HTTP_PORT = 8000

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
        return known(self.settings.kafka)

    @property
    def storage(self) -> StorageSettings:
        """Where Postgres is."""
        return known(self.settings.storage)

    @property
    def tracking_uri(self) -> str:
        """Where MLflow is, or will be after `wait_for_mlflow`."""
        return known(self.settings.tracking_uri)

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
        port = choose("MILLWRIGHT_HTTP_PORT", env.millwright_http_port, HTTP_PORT, host)
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


def known[T](value: T | None) -> T:
    """Return an address that a complete platform has.

    Raises:
        ServiceUnavailableError: It is not known yet.
    """
    if value is None:
        raise ServiceUnavailableError("the platform", "an address is not known yet")
    return value
