"""Verdicts on the stream: one state per machine, batches in, anomalies and incidents out.

No client and no clock: what the stream's scorer decides, apart from where it reads and writes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from domain.care import NO_CARE, Care, adjusted, is_cold
from domain.conditions import FROM_READINGS, GapWatch, StateBook
from domain.incidents import (
    SENSOR_RULES,
    Cooling,
    IncidentRules,
    IncidentTracker,
    Seen,
    sensor_rows,
)
from domain.machines import Machine
from domain.pipeline import Pipeline, PipelineState, Scores
from domain.readings import History, Instants, Matrix, ReadingBatch, later_rows
from ray_app.carried import padded, restored
from ray_app.judged import Changed, Verdicts, View
from ray_app.known import Champion
from ray_app.risk_watch import PastSteps, RiskWatch
from ray_app.serve.verdict import widened
from storage.verdicts import Kind, Live

_MOST_RESTORED_ROWS = 4000
"""Stored readings per machine that a scorer looks back on when it starts."""

_BASELINES = 2.0
"""Time constants of the baseline after which the beginning no longer matters."""


class Past(PastSteps, Protocol):
    """Where stored readings come from."""

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return at most `rows` newest readings of a machine before an instant."""

    def first_us(self, machine: str) -> int | None:
        """Return the instant of a machine's oldest stored reading; None if it has none."""


@dataclass(slots=True, kw_only=True)
class _Machine:
    version: int
    state: PipelineState
    last_us: int
    first_us: int | None  # of its history where it is cold, None where the model knows it
    trackers: dict[Kind, IncidentTracker]
    gaps: GapWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What a batch brings of one machine."""

    known: Machine
    machine: _Machine
    rows: npt.NDArray[np.intp]  # (k,) of the batch, later than all before


class Judge:
    """Scores batches; for one thread.

    Args:
        past: Stored readings, from which windows are restored.
        live: Incidents that are open already.
        scored_until: Machine key → instant up to which verdicts were given before.
        book: States of sensors that are stored; changed in place.
        rules: When an incident of a machine opens and closes.
        closed: Machine key and kind → when its last incident closed and that one's peak score,
            where it may still cool down.
    """

    def __init__(  # noqa: PLR0913 - what it goes on from
        self,
        past: Past,
        live: Iterable[Live],
        scored_until: dict[int, int],
        book: StateBook | None = None,
        *,
        rules: IncidentRules | None = None,
        closed: Mapping[tuple[int, Kind], tuple[int, float]] | None = None,
    ) -> None:
        self._past, self._book = past, StateBook() if book is None else book
        self._rules: dict[Kind, IncidentRules] = {
            "machine": rules or IncidentRules(),
            "sensor": SENSOR_RULES,
        }
        self._live = {(one.incident.machine_key, one.incident.kind): one.incident for one in live}
        self._closed = dict(closed or {})
        self._until = scored_until
        self._machines: dict[int, _Machine] = {}
        self._risk = RiskWatch(past)

    def judge(
        self,
        batch: ReadingBatch,
        machines: Mapping[int, Machine],
        champion: Champion | None,
        care: Mapping[str, Care] | None = None,
    ) -> Verdicts:
        """Score a batch of one class.

        Args:
            batch: In arrival order.
            machines: Machine key to machine.
            champion: Of the class; without one nothing is scored.
            care: Machine name to what is its own.
        """
        found = Verdicts()
        if champion is None:
            found.unjudged = len(batch)
            return found
        if not len(batch):
            return found
        ordered = batch.take(np.argsort(batch.machine_keys, kind="stable"))
        turns = list(self._turns(ordered, machines, champion))
        rows = np.concatenate([one.rows for one in turns])
        found.late, found.scored = len(batch) - len(rows), len(rows)
        pipeline = champion.pipeline
        at = ordered.instants_us[rows]
        values = widened(ordered.values[rows], len(pipeline.machine_class.sensors))
        lengths = np.array([len(one.rows) for one in turns], dtype=np.int64)
        scores = pipeline.score_each(
            [one.machine.state for one in turns], at, values, lengths=lengths
        )
        ends = np.cumsum(lengths)[:-1]
        parts = zip(np.split(at, ends), np.split(values, ends), scores.split(lengths), strict=True)
        for turn, part in zip(turns, parts, strict=True):
            if len(turn.rows):
                own = (care or {}).get(turn.known.name, NO_CARE)
                self._tell(turn, champion, own, *part, found)
        return found

    def forget_incident(self, machine_key: int, kind: Kind) -> None:
        """Let go of an incident that a person closed, so that another may open."""
        self._live.pop((machine_key, kind), None)
        self._closed.pop((machine_key, kind), None)
        machine = self._machines.get(machine_key)
        if machine is not None:
            machine.trackers[kind] = IncidentTracker(self._rules[kind])

    def _turns(
        self, ordered: ReadingBatch, machines: Mapping[int, Machine], champion: Champion
    ) -> Iterator[_Turn]:
        """Find what is new of each machine; restores those met for the first time."""
        keys, starts = np.unique(ordered.machine_keys, return_index=True)
        ends = [*starts[1:].tolist(), len(ordered)]
        for key, first, end in zip(keys.tolist(), starts.tolist(), ends, strict=True):
            at = ordered.instants_us[first:end]
            machine = self._machine(machines[key], champion, int(at.min()))
            rows = first + later_rows(at, machine.last_us)
            yield _Turn(known=machines[key], machine=machine, rows=rows)

    def _tell(  # noqa: PLR0913, PLR0917 - what was scored, by what, and where it is told
        self,
        turn: _Turn,
        champion: Champion,
        care: Care,
        at: Instants,
        values: Matrix,
        scores: Scores,
        found: Verdicts,
    ) -> None:
        """Say what one machine's scores come to."""
        known, machine, key = turn.known, turn.machine, turn.known.key
        scores = adjusted(champion.pipeline, scores, at, care, first_us=machine.first_us)
        machine.last_us = int(at[-1])
        machine.gaps.see(at)
        failure = self._risk.see(known, champion, at, values)
        # What the champion was trained on fills its windows, but is not judged by it; and what was
        # judged before a crash keeps the verdict it got.
        fresh = at > max(trained_until(champion), self._until.get(key, 0))
        if not fresh.any():
            return
        view = View(
            champion=champion,
            machine=known,
            care=care,
            first_us=machine.first_us,
            at=at,
            values=values,
            scores=scores,
            failure=failure,
        )
        view = view.take(np.flatnonzero(fresh))
        found.views.append(view)
        found.anomalies += view.anomalies()
        found.changes += self._follow(machine, view)
        gaps = machine.gaps.conditions(machine.last_us)
        found.conditions.append(
            self._book.settle(key, view.sensor_conditions() | gaps, FROM_READINGS)
        )
        found.states.append(view.state(gap=bool(gaps)))

    def _machine(self, known: Machine, champion: Champion, first_us: int) -> _Machine:
        key, name = known.key, known.name
        machine = self._machines.get(key)
        if machine is not None and machine.version == champion.version:
            return machine
        pipeline = champion.pipeline
        until_us = first_us if machine is None else machine.last_us + 1
        past = self._past.before(name, until_us, look_back(pipeline))
        state = pipeline.new_state(name)
        if len(past):
            sensors = len(pipeline.machine_class.sensors)
            pipeline.score(state, past.instants_us, widened(past.values, sensors))
        last_us = int(past.instants_us[-1]) if len(past) else until_us - 1
        self._machines[key] = _Machine(
            version=champion.version,
            state=state,
            last_us=max(last_us, until_us - 1) if machine is None else machine.last_us,
            first_us=self._first_us(known, pipeline, until_us),
            trackers=self._trackers(key, machine, pipeline),
            gaps=_gaps(pipeline, past, machine),
        )
        return self._machines[key]

    def _first_us(self, known: Machine, pipeline: Pipeline, until_us: int) -> int | None:
        if not is_cold(pipeline, known.name):
            return None
        stored = self._past.first_us(known.name)
        return until_us if stored is None else min(stored, until_us)

    def _trackers(
        self, key: int, before: _Machine | None, pipeline: Pipeline
    ) -> dict[Kind, IncidentTracker]:
        trackers: dict[Kind, IncidentTracker] = {}
        for kind, rules in self._rules.items():
            if before is not None:
                incident = padded(before.trackers[kind].incident, pipeline)
                cooling = before.trackers[kind].cooling
            else:
                incident = restored(self._live.get((key, kind)), pipeline)
                cooling = _cooling(self._closed.get((key, kind)), rules)
            trackers[kind] = IncidentTracker(rules, incident, cooling)
        return trackers

    def _follow(self, machine: _Machine, view: "View") -> Iterator[Changed]:
        scores, free = view.scores, ~view.under_maintenance
        seen = Seen(observed=view.values, expected=scores.expected)
        for event in machine.trackers["machine"].advance(
            view.at, scores.score, scores.contributions, scores.ready & free, seen
        ):
            yield view.change("machine", event)
        ill, parts = sensor_rows(scores.sensor_faults)
        for event in machine.trackers["sensor"].advance(view.at, ill, parts, free, seen):
            yield view.change("sensor", event)


def _cooling(closed: tuple[int, float] | None, rules: IncidentRules) -> Cooling | None:
    if closed is None:
        return None
    closed_us, peak_score = closed
    return Cooling(until_us=closed_us + round(rules.cool_s * 1e6), peak_score=peak_score)


def _gaps(pipeline: Pipeline, past: History, before: _Machine | None) -> GapWatch:
    if before is not None:
        return before.gaps
    period_s = pipeline.machine_class.period_s
    gaps = GapWatch(period_s=period_s, window_s=pipeline.front.window_rows * period_s)
    gaps.see(past.instants_us)
    # The ingestion may still hold the last seconds of the past: that would be no hole.
    gaps.look_away()
    return gaps


def trained_until(champion: Champion) -> int:
    """Return the instant up to which a model was trained; 0 where it does not say."""
    until = champion.pipeline.about.get("to_us", 0)
    return until if isinstance(until, int) else 0


def look_back(pipeline: Pipeline) -> int:
    """Return how many stored readings restore a machine's windows and baselines."""
    baseline = _BASELINES * pipeline.spec.baseline_s / pipeline.machine_class.period_s
    return min(max(pipeline.warmup_rows, round(baseline)), _MOST_RESTORED_ROWS)
