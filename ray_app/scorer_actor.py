"""The actor that scores the stream with the champions, in a consumer group of its own."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from time import monotonic

from domain.arrivals import Arrivals
from domain.conditions import StateBook
from domain.errors import NotFoundError, PartitionLostError, PlatformError, ServiceUnavailableError
from domain.incidents import Change, IncidentRules
from ingestion.batching import backoff_s
from ingestion.consume import wall_clock_us
from ingestion.kafka import KafkaSource, ensure_topic
from ingestion.settings import KafkaSettings
from observability import catalogue
from ray_app.champions import Champions
from ray_app.compute import one_thread
from ray_app.courier import Courier
from ray_app.judge import Judge
from ray_app.judged import Verdicts
from ray_app.listening import Listener
from ray_app.metrics import process_metrics
from ray_app.queued import judge_waiting
from ray_app.registry import PostgresRegistry
from ray_app.scorer_work import ScorerWork
from ray_app.shadow import Shadow
from storage import endings, movements, offsets, rates, sensor_states, verdicts
from storage.connect import Connection, connect, rows, session, translated
from storage.intake import Intake
from storage.offsets import Topic
from storage.pool import Pool
from storage.settings import StorageSettings

_log = logging.getLogger(__name__)

_TAKE_S = 0.1
"""Longest wait for messages; half of what a verdict may take would be 0.5 s."""

_REPORT_EVERY_S = 1.0
_HEALTHY_AFTER_S = 30.0

_FEW = 100
"""With no more messages behind than this, or than a second's worth, everybody was heard."""


class ScorerActor:
    """Scores what machines send, as soon as they send it.

    The order of delivery:

    1. Nothing is read before the first champion is in use; until then silence, gaps and faults of
       sensors are told, by what arrives in Postgres. A new group then begins at the oldest
       message Kafka holds, so that every reading since the champion's training gets its verdict;
       what it was trained on only fills its windows.
    2. On assignment the offset stored for this group is sought, and a machine that is met for the
       first time gets its window from the readings stored before.
    3. A batch is decoded, scored by machine and committed in one transaction: anomalies,
       incidents, movements, states, and the offsets behind it. All of them are keyed.
    4. Readings that were stored without passing this topic, mapped or re-driven ones, wait in a
       queue of Postgres. They are judged once the stream is caught up, and leave the queue in the
       transaction of their verdicts.
    5. After any fault everything in memory is forgotten and it begins anew at 2: what is in
       memory may be ahead of what was committed.

    A newly promoted champion takes over between two batches; its windows are filled from stored
    readings. Readings of a class that has no champion, while another has one, are not scored; what
    is wrong with their sensors is told all the same. A reading that is older than one of the same
    machine that was scored before is stored, but not scored: its window is gone.

    A challenger scores beside the champion, after the commit of a batch and never in its way.

    Every second it also looks who has not been heard, so that silence is noticed without a reading.

    A plain class: `ray_app.cluster` makes it an actor with two threads, so that `stop` is heard
    while `run` runs. Only settings cross into the process; clients are opened inside.

    Args:
        kafka: Where Kafka is; the group is the ingestion's with `-scorer` behind its name.
        storage: Where Postgres is.
        worker: Name of this scorer, unique in the platform.
    """

    def __init__(
        self, kafka: KafkaSettings, storage: StorageSettings, worker: str = "scorer"
    ) -> None:
        self._kafka = replace(kafka, group_id=f"{kafka.group_id}-scorer")
        self._storage, self._worker = storage, worker
        self._metrics = process_metrics()
        self._stop = Event()
        self._scored = 0
        self._at: dict[int, int] = {}
        self._listener: Listener | None = None

    def run(self) -> int:
        """Score until stopped; return how many readings were scored.

        Raises:
            OffsetsLostError: Kafka dropped messages before they were scored; the gap is named.
            PlatformError: Something that waiting does not mend.
        """
        one_thread()
        pool = Pool(lambda: self._storage, application="millwright scorer")
        registry = PostgresRegistry(pool, "scorer")
        champions = Champions(registry, self._metrics, "scorer", shadow=True)
        courier = Courier(self._storage, self._metrics)
        champions.start()
        courier.start()
        try:
            self._run_until_stopped(champions, registry)
        finally:
            courier.close()
            champions.close()
            pool.close()
        return self._scored

    def stop(self) -> None:
        """Let the batch under way be committed, then end `run`."""
        self._stop.set()

    def _run_until_stopped(self, champions: Champions, registry: PostgresRegistry) -> None:
        attempt = 0
        while not self._stop.is_set():
            began = monotonic()
            try:
                if self._await_champion(champions):
                    self._run_once(champions, registry)
            except (ServiceUnavailableError, NotFoundError, PartitionLostError) as fault:
                attempt = 1 if monotonic() - began > _HEALTHY_AFTER_S else attempt + 1
                self._tell(fault)
                self._stop.wait(backoff_s(attempt))

    def _await_champion(self, champions: Champions) -> bool:
        """Return whether there is a champion; wait a little where there is none, and say so."""
        if champions.known.champions:
            self._listener = None
            return True
        with session(self._storage, application="millwright scorer") as on:
            self._report(on, per_second=0.0, lag=None)
            now_us = wall_clock_us()
            self._listener = self._listener or Listener(on, now_us)
            self._listener.look(on, now_us)
        self._stop.wait(_REPORT_EVERY_S)
        return False

    def _run_once(self, champions: Champions, registry: PostgresRegistry) -> None:
        topic = ensure_topic(self._kafka)
        self._at = {}
        with ExitStack() as stack:
            lookup = connect(self._storage, application="millwright scorer")
            stack.callback(lookup.close)
            writing = connect(self._storage, application="millwright scorer")
            stack.callback(writing.close)
            with translated(), writing:
                # A crash of the server takes back verdicts and offsets alike: they are made again.
                rows(writing, "SET synchronous_commit = off")
                live, until = verdicts.live_incidents(writing), verdicts.scored_until(writing)
                closed = endings.last_closed(writing, within_s=IncidentRules().cool_s)
                book = StateBook(sensor_states.every(writing))
                arrivals = Arrivals(sensor_states.heard_before(writing), wall_clock_us())
                moving = movements.going_on(writing)
            work = ScorerWork(
                judge=Judge(registry, live, until, book, closed=closed, moving=moving),
                intake=Intake(lookup),
                on=writing,
                topic=topic,
                arrivals=arrivals,
                book=book,
            )
            source = stack.enter_context(
                KafkaSource.open(self._kafka, topic, lambda start: self._positions(topic, start))
            )
            self._pump(source, work, champions, Shadow(registry, self._metrics))

    def _pump(
        self, source: KafkaSource, work: ScorerWork, champions: Champions, shadow: Shadow
    ) -> None:
        positions, calm = self._at, False
        reported, before = monotonic(), self._scored
        while not self._stop.is_set():
            messages = source.take(self._kafka.max_batch, _TAKE_S)
            if messages:
                began = monotonic()
                raw = source.batch(messages)
                steps = source.steps(raw)
                sorted_ = work.intake.sort(raw, now_us=wall_clock_us())
                found = work.judge_all(sorted_.readings, champions)
                work.commit(found, self._kafka.group_id, steps)
                self._count(found, monotonic() - began)
                shadow.take(found.views, champions.known.challengers)
                positions |= {step.partition: step.next for step in steps}
            with translated(), work.on:
                shadow.run(work.on)
            now = monotonic()
            if now - reported >= _REPORT_EVERY_S:
                lag = source.lag({k: v for k, v in positions.items() if k in source.assigned})
                rate = (self._scored - before) / (now - reported)
                with translated(), work.on:
                    self._report(work.on, per_second=rate, lag=lag)
                    caught_up = bool(source.assigned) and lag <= max(_FEW, rate)
                    work.tick(source.verify, caught_up=caught_up)
                source.commit(positions)
                # Twice in a row: right after an assignment the client knows of no lag yet.
                was_calm, calm = calm, bool(source.assigned) and lag <= self._kafka.max_batch
                if calm and was_calm:
                    self._judge_queued(work, champions)
                reported, before = now, self._scored

    def _judge_queued(self, work: ScorerWork, champions: Champions) -> None:
        """Judge what was stored without passing this topic: mapped and re-driven readings.

        Only when the stream is caught up: a reading is judged after all earlier ones or not at all,
        so those that wait in Kafka go first.
        """
        began = monotonic()
        while not self._stop.is_set() and monotonic() - began < _REPORT_EVERY_S:
            with translated():
                found = judge_waiting(
                    work.on, work.intake, lambda batches: work.judge_all(batches, champions)
                )
            if found is None:
                with translated(), work.on:  # ends the transaction that looked
                    return
            work.commit(found, self._kafka.group_id, ())
            self._count(found, monotonic() - began)

    def _positions(self, topic: Topic, start: Mapping[int, int]) -> dict[int, int]:
        with session(self._storage, application="millwright positions") as on:
            found = offsets.positions(on, self._kafka.group_id, topic, start)
        self._at |= found
        return found

    def _count(self, found: Verdicts, seconds: float) -> None:
        self._scored += found.scored
        metrics = self._metrics
        metrics.add(catalogue.SCORED, found.scored)
        metrics.observe(catalogue.BATCH_LATENCY, seconds, stage="score")
        metrics.add(catalogue.ANOMALIES, len(found.anomalies), kind="machine")
        for one in found.changes:
            if one.change is Change.OPENED:
                metrics.add(catalogue.INCIDENTS_OPENED, 1, kind=one.incident.kind)
        now_us = wall_clock_us()
        for state in found.states:
            delay_s = (now_us - state.instant_us) / 1e6
            metrics.observe(catalogue.SCORE_DELAY, max(0.0, delay_s))

    def _report(self, on: Connection, *, per_second: float, lag: int | None) -> None:
        rates.report(
            on,
            worker=self._worker,
            stage="score",
            per_second=per_second,
            total=self._scored,
            lag=lag,
        )
        open_now = rows(on, "SELECT count(*) FROM incidents WHERE closed IS NULL")[0][0]
        self._metrics.set(catalogue.INCIDENTS_OPEN, open_now)
        if lag is not None:
            self._metrics.set(catalogue.LAG, lag, group="scorer")

    def _tell(self, fault: PlatformError) -> None:
        if isinstance(fault, ServiceUnavailableError):
            service = "kafka" if fault.service == "Kafka" else "postgres"
            self._metrics.add(catalogue.INFRASTRUCTURE_FAULTS, service=service)
        _log.warning("%s: %s; it begins anew at the stored offset", self._worker, fault)
