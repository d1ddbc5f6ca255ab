"""The actor that lets simulated machines speak."""

import time
from collections.abc import Callable
from threading import Event, Lock

from domain.class_files import load_class
from domain.errors import ServiceUnavailableError
from domain.simulation import Failure, Fleet
from domain.wire import encode
from ingestion.kafka import KafkaSink, ensure_topic
from ingestion.settings import KafkaSettings
from observability.catalogue import PRODUCE_ERRORS, PRODUCED
from ray_app.metrics import process_metrics
from ray_app.producer_plan import ProducerPlan, ProducerState
from storage import failures, rates
from storage.connect import session
from storage.history import latest_instants
from storage.roster_store import register_class, register_machines
from storage.settings import StorageSettings

_SOURCE = "simulator"
_REPORT_EVERY_S = 1.0
_READY_WITHIN_S = 60.0


class ProducerActor:
    """Sends what a fleet says, and writes the truth about its failures beside the stream.

    An actor that died goes on where Postgres stands: the same seed gives the same fleet, so what is
    sent twice is the same reading twice and is stored once. Failures come back from their labels.

    Args:
        kafka: Where the readings go.
        storage: Where machines and truth are registered.
        plan: The fleet and its clock.
        worker: Name of this producer, unique in the platform.
    """

    def __init__(
        self, kafka: KafkaSettings, storage: StorageSettings, plan: ProducerPlan, worker: str
    ) -> None:
        self._kafka, self._storage, self._plan, self._worker = kafka, storage, plan, worker
        self._metrics = process_metrics()
        self._lock, self._stop, self._ready = Lock(), Event(), Event()
        self._delivered = self._failed = 0
        self._begin()

    def run(self) -> int:
        """Send until stopped or at the end of the plan; return how many readings Kafka took.

        Raises:
            ServiceUnavailableError: Kafka or Postgres stayed away; call `run` again.
        """
        # What an earlier run could not deliver is sent again: from where Postgres stands.
        self._begin()
        self._register()
        self._ready.set()
        ensure_topic(self._kafka)
        report, count = self._reporter(), self._counter()
        with KafkaSink.open(self._kafka, client_id=f"millwright {self._worker}") as sink:
            while not self._stop.is_set() and not self._plan.ends_at(self._sent_us):
                caught_up = self._send(sink)
                count(sink)
                report()
                if caught_up:
                    self._stop.wait(self._plan.pause_s(_wall_us()))
            sink.flush()
            count(sink)
        return self._delivered

    def stop(self) -> None:
        """Let what was begun be delivered, then end `run`."""
        self._stop.set()

    def state(self) -> ProducerState:
        """Return how far it has come."""
        return ProducerState(
            sent_us=self._sent_us,
            delivered=self._delivered,
            failed=self._failed,
            live=self._sent_us >= self._plan.live_us,
        )

    def inject(  # noqa: PLR0913 - one per dial of a failure
        self,
        machine: str,
        mode: str,
        *,
        onset_us: int | None = None,
        develop_s: float | None = None,
        duration_s: float | None = None,
        severity: float = 1.0,
    ) -> Failure:
        """Let a machine fail, and record it as truth.

        Args:
            machine: Its name.
            mode: A failure mode of its class.
            onset_us: When it begins; with the next reading when None.
            develop_s: Seconds to full development; by default the mode's.
            duration_s: Seconds to the repair; by default the mode's.
            severity: Factor on the mode's effects.

        Raises:
            NotFoundError: There is no such machine or mode.
            BadInputError: The onset is past, or a number is out of range.
            ServiceUnavailableError: The fleet could not be registered yet.
        """
        if not self._ready.wait(_READY_WITHIN_S):
            raise ServiceUnavailableError("the fleet", "its machines are not registered yet")
        with self._lock:
            failure = self._fleet.inject(
                machine,
                mode,
                onset_us=self._sent_us if onset_us is None else onset_us,
                develop_s=develop_s,
                duration_s=duration_s,
                severity=severity,
            )
        self._record((failure,))
        return failure

    def truth(self) -> tuple[Failure, ...]:
        """Return every failure of the fleet, by onset."""
        with self._lock:
            return self._fleet.truth()

    def _begin(self) -> None:
        plan = self._plan
        with self._lock:
            self._sent_us = plan.start_us
            self._fleet = Fleet.create(
                load_class(plan.machine_class),
                plan.machines,
                start_us=plan.start_us,
                num_sensors=plan.num_sensors,
                period_s=plan.period_s,
                seed=plan.seed,
            )

    def _register(self) -> None:
        fleet, plan = self._fleet, self._plan
        with session(self._storage) as on:
            register_class(on, fleet.machine_class)
            register_machines(on, fleet.names, fleet.machine_class.name)
            newest = latest_instants(on, fleet.names)
            labels = failures.listed(on, machines=fleet.names, start_us=plan.start_us)
        known = [label for label in labels if label.note.endswith(self._mark())]
        with self._lock:
            for label in known:
                self._restore(label)
            if len(newest) == len(fleet.names):
                self._skip(min(newest.values()))
        if plan.failures_per_machine_hour and not known:
            self._schedule()

    def _mark(self) -> str:
        # Machines of these names may have belonged to another fleet before.
        return f" plan={self._plan.start_us}/{self._plan.seed}"

    def _restore(self, label: failures.Label) -> None:
        duration_us = (label.end_us or label.onset_us) - label.onset_us
        told = dict(part.split("=", 1) for part in label.note.split())
        self._fleet.inject(
            label.machine,
            label.kind,
            onset_us=label.onset_us,
            develop_s=float(told["develop_s"]),
            duration_s=duration_us / 1e6,
            severity=label.severity,
            nth=int(told["nth"]) if "nth" in told else None,
        )

    def _schedule(self) -> None:
        with self._lock:
            drawn = self._fleet.schedule_failures(
                per_machine_hour=self._plan.failures_per_machine_hour,
                start_us=max(self._plan.live_us, self._sent_us),
                until_us=self._plan.until_us or self._plan.live_us + 24 * 3_600_000_000,
                seed=self._plan.seed,
            )
        self._record(drawn)

    def _skip(self, until_us: int) -> None:
        while self._sent_us < until_us:
            self._sent_us = min(until_us, self._sent_us + 3_600_000_000)
            self._fleet.advance(self._sent_us)

    def _send(self, sink: KafkaSink) -> bool:
        """Send the next piece; say whether the present is reached."""
        wall_us = _wall_us()
        with self._lock:
            until = self._plan.next_us(self._sent_us, wall_us)
            chunks = self._fleet.advance(until)
            self._sent_us = max(self._sent_us, until)
        names = self._fleet.names
        sensors = self._fleet.machine_class.sensor_names
        for chunk in chunks:
            name = names[chunk.machine]
            values = encode(name, chunk.instants_us, chunk.values, sensors)
            sink.send(self._kafka.topic, name.encode(), values)
        return until >= self._plan.event_us(wall_us)

    def _counter(self) -> Callable[[KafkaSink], None]:
        delivered, failed = self._delivered, self._failed

        def count(sink: KafkaSink) -> None:
            new = max(0, delivered + sink.delivered - self._delivered)
            self._metrics.add(PRODUCED, new)
            self._metrics.add(PRODUCE_ERRORS, failed + sink.failed - self._failed)
            self._delivered, self._failed = self._delivered + new, failed + sink.failed

        return count

    def _record(self, found: tuple[Failure, ...]) -> None:
        labels = [
            failures.Label(
                machine=each.machine,
                kind=each.kind,
                source=_SOURCE,
                onset_us=each.onset_us,
                end_us=each.end_us,
                # Fully developed: the machine no longer does its work.
                failed_us=min(each.end_us, each.onset_us + round(each.develop_s * 1e6)),
                severity=each.severity,
                sensors=each.sensors,
                note=f"develop_s={each.develop_s} nth={each.nth}{self._mark()}",
            )
            for each in found
        ]
        with session(self._storage) as on:
            failures.add(on, labels)

    def _reporter(self) -> Callable[[], None]:
        last_s, last_count = time.monotonic(), self._delivered

        def report() -> None:
            nonlocal last_s, last_count
            elapsed_s = time.monotonic() - last_s
            if elapsed_s < _REPORT_EVERY_S:
                return
            with session(self._storage) as on:
                rates.report(
                    on,
                    worker=self._worker,
                    stage="produce",
                    per_second=(self._delivered - last_count) / elapsed_s,
                    total=self._delivered,
                    lag=None,
                )
            last_s, last_count = time.monotonic(), self._delivered

        return report


def _wall_us() -> int:
    return time.time_ns() // 1000
