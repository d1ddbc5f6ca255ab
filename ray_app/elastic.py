"""Keeps as many consumers at work as lag and partitions ask for."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from domain.errors import PlatformError
from ingestion.elasticity import Bounds, Rules, Situation, Tide, wanted
from ingestion.gaps import Standing, standings
from ingestion.settings import KafkaSettings
from observability.catalogue import CONSUMERS, LAG
from observability.metric import Metrics
from ray_app import cluster
from ray_app.consumer_actor import ConsumerActor
from ray_app.crew import Crew
from storage.settings import StorageSettings

_LOG = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""Between two looks at Kafka's ends and at the stored offsets."""

_LAST_LOOK_S = 5.0
"""A look that hangs because a service is away is not waited for at the end."""

type Look = Callable[[], Sequence[Standing]]


class Hands(Protocol):
    """Whoever adds a consumer and sends one home."""

    def present(self) -> int:
        """Return how many are at work, without those on their way out."""

    def add(self) -> None:
        """Set one more to work."""

    def retire(self) -> None:
        """Ask the last one to settle what it holds, leave the group and go."""


class ConsumerActors:
    """The consumers of a crew, `consumer-0` and so on, over all nodes of the cluster.

    Args:
        crew: Who watches them.
        kafka: Where Kafka is, which topic and group.
        storage: Where Postgres is.
    """

    def __init__(self, crew: Crew, kafka: KafkaSettings, storage: StorageSettings) -> None:
        self._crew, self._kafka, self._storage = crew, kafka, storage

    def present(self) -> int:
        """Return how many are at work, without those on their way out."""
        return len(self._crew.staying("consumer"))

    def add(self) -> None:
        """Set one more to work, under the first free name: one on its way out still holds its."""
        taken = self._crew.names()
        name = next(name for at in count() if (name := f"consumer-{at}") not in taken)
        actor = cluster.as_actor(
            ConsumerActor, self._kafka, self._storage, name, name=name, spread=True
        )
        self._crew.add(name, actor, kind="consumer")

    def retire(self) -> None:
        """Ask the youngest to settle what it holds, leave the group and go."""
        self._crew.retire(self._crew.staying("consumer")[-1])

    def standings(self) -> list[Standing]:
        """Return where their group stands, by partition.

        Raises:
            NotFoundError: There is no such topic.
            ServiceUnavailableError: Kafka or Postgres is away.
        """
        return standings(self._kafka, self._storage)


class Elastic:
    """Looks, decides by `ingestion.elasticity`, and lets hands do it.

    The look needs no consumer: what Kafka holds less what Postgres says is stored. While either is
    away nothing is changed.

    Args:
        look: Where the group stands in every partition.
        hands: Adds and retires.
        bounds: Between how many.
        metrics: Where numbers go.
        rules: When to grow and to shrink.
        say: Told one line per change.
        every_s: Seconds between two looks.
        clock: Monotonic seconds.
    """

    def __init__(  # noqa: PLR0913 - what it asks, what it moves, and what a test replaces
        self,
        look: Look,
        hands: Hands,
        bounds: Bounds,
        metrics: Metrics,
        *,
        rules: Rules | None = None,
        say: Callable[[str], None] = _LOG.info,
        every_s: float = LOOK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._hands, self._bounds = look, hands, bounds
        self._metrics, self._say, self._every_s, self._clock = metrics, say, every_s, clock
        self._rules = rules or Rules()
        self._tide = Tide(self._rules, clock())
        self._told_lag = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elastic", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Change nothing any more. Harmless when repeated."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_LOOK_S)

    def step(self) -> Situation:
        """Look once and do what is wanted.

        Raises:
            NotFoundError: The topic is not there.
            ServiceUnavailableError: Kafka, Postgres or Ray is away.
        """
        found = self._look()
        present = self._hands.present()
        now = self._tide.look(found, present=present, now_s=self._clock())
        target = wanted(now, self._bounds, self._rules)
        self._metrics.set(CONSUMERS, target, count="wanted")
        self._metrics.set(CONSUMERS, present, count="present")
        self._tell_lag(now)
        if target != present and not self._stop.is_set():
            self._change(now, target)
        return now

    def _tell_lag(self, now: Situation) -> None:
        """Tell what waits where no consumer does; who consumes tells its own part."""
        if now.present == 0:
            self._metrics.set(LAG, now.lag, group="ingest")
            self._told_lag = True
        elif self._told_lag:
            self._metrics.set(LAG, 0, group="ingest")
            self._told_lag = False

    def _change(self, now: Situation, target: int) -> None:
        self._say(f"consumers: {now.present} → {target}, {now.lag} messages wait")
        try:
            for _ in range(target - now.present):
                self._hands.add()
            for _ in range(now.present - target):
                self._hands.retire()
        finally:
            self._tide.changed(self._clock())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except PlatformError as error:
                _LOG.warning("the number of consumers stays as it is: %s", error)
            except Exception:  # noqa: BLE001 - whatever Ray said, the next look may find it gone
                _LOG.exception("the number of consumers stays as it is")
            self._stop.wait(self._every_s)
