"""Verdicts on the stream: one state per machine, batches in, anomalies and incidents out.

No client and no clock: what the stream's scorer decides, apart from where it reads and writes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.anew import acting, in_effect, unheard
from domain.care import NO_CARE, Care, adjusted
from domain.conditions import FROM_READINGS, StateBook
from domain.incident_tracker import Seen
from domain.incidents import SENSOR_RULES, IncidentRules, sensor_rows
from domain.machines import Machine
from domain.readings import Flags, Instants, Matrix, ReadingBatch, later_rows, widened
from domain.scores import Scores
from domain.told import Movement
from ray_app.judged import Changed, Verdicts, View
from ray_app.known import Champion
from ray_app.met_machines import Met, MetMachines, Past
from ray_app.moving import MoveWatch
from ray_app.risk_watch import RiskWatch
from ray_app.sensor_stories import SensorStories
from storage.verdicts import Kind, Live


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What a batch brings of one machine."""

    known: Machine
    machine: Met
    rows: npt.NDArray[np.intp]  # (k,) of the batch, later than all before
    anew: Flags  # (k,) readings from which on the level is learnt anew


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
        moving: Machine key → the movement that goes on.
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
        moving: Mapping[int, Movement] | None = None,
    ) -> None:
        kinds: dict[Kind, IncidentRules] = {
            "machine": rules or IncidentRules(),
            "sensor": SENSOR_RULES,
        }
        live = tuple(live)
        self._met = MetMachines(past, live, closed or {}, kinds)
        self._stories, self._book = SensorStories(live), StateBook() if book is None else book
        self._until = scored_until
        self._risk = RiskWatch(past)
        self._moves = MoveWatch(moving or {})

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
        own = care or {}
        turns = list(self._turns(ordered, machines, champion, own))
        rows = np.concatenate([one.rows for one in turns])
        found.late, found.scored = len(batch) - len(rows), len(rows)
        pipeline = champion.pipeline
        at = ordered.instants_us[rows]
        values = widened(ordered.values[rows], len(pipeline.machine_class.sensors))
        lengths = np.array([len(one.rows) for one in turns], dtype=np.int64)
        scores = pipeline.score_each(
            [one.machine.state for one in turns],
            at,
            values,
            lengths=lengths,
            anew=np.concatenate([one.anew for one in turns]),
        )
        ends = np.cumsum(lengths)
        keys = [one.known.key for one in turns]
        for key, motion in self._moves.look(pipeline, keys, ends, at, scores).items():
            fresh = motion.after(self._judged_until(key, champion))
            found.movements += self._moves.follow(champion, key, fresh)
        cuts = ends[:-1]
        parts = zip(np.split(at, cuts), np.split(values, cuts), scores.split(lengths), strict=True)
        for turn, part in zip(turns, parts, strict=True):
            if len(turn.rows):
                self._tell(turn, champion, own.get(turn.known.name, NO_CARE), *part, found)
        return found

    def forget_incident(self, machine_key: int, kind: Kind) -> None:
        """Let go of an incident that a person closed, so that another may open."""
        self._met.forget_incident(machine_key, kind)

    def _turns(
        self,
        ordered: ReadingBatch,
        machines: Mapping[int, Machine],
        champion: Champion,
        care: Mapping[str, Care],
    ) -> Iterator[_Turn]:
        """Find what is new of each machine; restores those met for the first time."""
        keys, starts = np.unique(ordered.machine_keys, return_index=True)
        ends = [*starts[1:].tolist(), len(ordered)]
        for key, first, end in zip(keys.tolist(), starts.tolist(), ends, strict=True):
            known, at = machines[key], ordered.instants_us[first:end]
            said = care.get(known.name, NO_CARE).anew_us
            words = acting(champion.pipeline, known.name, said)
            machine = self._met.of(known, champion, int(at.min()), words)
            rows = later_rows(at, machine.last_us)
            anew, machine.word_us = unheard(at[rows], words, machine.word_us)
            yield _Turn(known=known, machine=machine, rows=first + rows, anew=anew)

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
        mended = turn.anew.copy()
        scores = adjusted(champion.pipeline, scores, at, care, first_us=machine.first_us)
        machine.last_us = int(at[-1])
        machine.gaps.see(at)
        # A model that knows the new level does not make the life before the repair this one.
        repaired_us = in_effect(care.anew_us, machine.last_us)
        failure = self._risk.see(known, champion, at, values, repaired_us)
        fresh = at > self._judged_until(key, champion)
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
        mended[np.argmax(fresh)] |= machine.mended or mended[: np.argmax(fresh)].any()
        machine.mended = False
        view = view.take(np.flatnonzero(fresh))
        found.views.append(view)
        found.anomalies += view.anomalies()
        found.changes += self._follow(machine, view, mended[fresh])
        gaps = machine.gaps.conditions(machine.last_us)
        found.conditions.append(
            self._book.settle(key, view.sensor_conditions() | gaps, FROM_READINGS)
        )
        found.states.append(view.state(gap=bool(gaps)))

    def _judged_until(self, key: int, champion: Champion) -> int:
        """Return the instant up to which a machine's readings only fill windows.

        What the champion was trained on is not judged by it; and what was judged before a crash
        keeps the verdict it got.
        """
        return max(trained_until(champion), self._until.get(key, 0))

    def _follow(self, machine: Met, view: "View", mended: Flags) -> Iterator[Changed]:
        scores, free = view.scores, ~view.under_maintenance
        seen = Seen(observed=view.values, expected=scores.expected)
        for event in machine.trackers["machine"].advance(
            view.at, scores.score, scores.contributions, scores.ready & free, seen, mended
        ):
            yield view.change("machine", event)
        ill, parts = sensor_rows(scores.sensor_faults)
        for event in machine.trackers["sensor"].advance(view.at, ill, parts, free, seen, mended):
            yield view.change("sensor", event, self._stories.tell(view, event))


def trained_until(champion: Champion) -> int:
    """Return the instant up to which a model was trained; 0 where it does not say."""
    until = champion.pipeline.about.get("to_us", 0)
    return until if isinstance(until, int) else 0
