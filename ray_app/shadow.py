"""A challenger that scores the live stream beside the champion, and harms nobody by it.

It runs after the champion's verdicts are committed, on rows that are kept for it, and:

- takes no more than a share of the scorer's time: after each run it rests so many times as long;
- holds no more than so many rows; when more come in, as after an outage, it forgets all and begins
  anew with what is live then;
- looks at no more than so many machines of a class;
- is given up for good, with its reason, at the first error of any kind.

Its figures are sums that lose a run now and then, in a crash; no verdict hangs on them.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from domain.anew import acting, in_effect, unheard
from domain.care import adjusted, is_cold
from domain.incident_tracker import IncidentTracker
from domain.incidents import Change, IncidentRules
from domain.readings import Flags
from domain.scores import PipelineState, Scores
from observability.catalogue import SHADOW_SCORED
from observability.metric import Metrics
from ray_app.beginnings import beginning, gone_through, look_back
from ray_app.judge import trained_until
from ray_app.judged import View
from ray_app.known import Champion
from ray_app.met_machines import Past
from storage import shadow
from storage.connect import Connection
from storage.shadow import Tally

_log = logging.getLogger(__name__)

_REST = 4.0
"""After a run it rests four times as long: a fifth of the scorer's time at the most."""

_EVERY_S = 1.0
_MOST_ROWS = 20_000
_MOST_MACHINES = 64
_RESTORED_AT_ONCE = 4


@dataclass(slots=True, kw_only=True)
class _Beside:
    """One machine as challenger and champion see it."""

    state: PipelineState
    word_us: int | None  # by which the challenger learnt its level anew
    last_us: int
    first_us: int | None
    champions: IncidentTracker
    challengers: IncidentTracker


@dataclass(slots=True, kw_only=True)
class _Pair:
    """A challenger beside its champion."""

    challenger: Champion
    champion: int
    failed: str = ""
    told: bool = False
    machines: dict[int, _Beside] = field(default_factory=dict)


class Shadow:
    """Scores again what the champion scored; for one thread.

    Args:
        past: Stored readings, from which windows are restored.
        metrics: Told of what was scored and what was left out.
        clock: Monotonic seconds.
    """

    def __init__(
        self, past: Past, metrics: Metrics, clock: Callable[[], float] = monotonic
    ) -> None:
        self._past, self._metrics, self._clock = past, metrics, clock
        self._pairs: dict[str, _Pair] = {}
        self._waiting: list[View] = []
        self._rows, self._due_at = 0, clock() + _EVERY_S

    def take(self, views: list[View], challengers: Mapping[str, Champion]) -> None:
        """Keep what was scored for the next run, where its class has a challenger."""
        for name, challenger in challengers.items():
            pair = self._pairs.get(name)
            if pair is None or pair.challenger is not challenger:
                self._pairs[name] = _Pair(challenger=challenger, champion=0)
        for gone in self._pairs.keys() - challengers.keys():
            del self._pairs[gone]
        for view in views:
            pair = self._pairs.get(view.champion.machine_class)
            if pair is not None and not pair.failed and _has_room(pair, view):
                self._waiting.append(view)
                self._rows += len(view.at)
        if self._rows > _MOST_ROWS:
            self._forget()

    def run(self, on: Connection) -> None:
        """Score what waits and add it to the figures, in the caller's transaction, if it is time.

        Raises:
            ServiceUnavailableError: Postgres is away.
        """
        began = self._clock()
        if began < self._due_at or not self._pairs:
            return
        views, self._waiting, self._rows = self._waiting, [], 0
        tallies = [tally for tally in self._tallies(views) if tally.readings]
        shadow.add(on, tallies)
        for name, pair in self._pairs.items():
            if not pair.told:
                shadow.say(on, name, pair.challenger.version, failed=pair.failed)
                pair.told = True
        now = self._clock()
        self._due_at = now + max(_EVERY_S, _REST * (now - began))

    def _tallies(self, views: list[View]) -> Iterator[Tally]:
        restored = 0
        for view in views:
            pair = self._pairs.get(view.champion.machine_class)
            if pair is None or pair.failed:
                continue
            if pair.champion != view.champion.version:
                pair.champion, pair.machines = view.champion.version, {}
            try:
                beside = pair.machines.get(view.key)
                if beside is None or _is_late(pair.challenger, beside, view):
                    restored += 1
                    if restored > _RESTORED_AT_ONCE:
                        self._metrics.add(SHADOW_SCORED, len(view.at), outcome="left_out")
                        continue
                    beside = pair.machines[view.key] = self._begin(pair.challenger, view)
                yield _compared(pair.challenger, beside, view)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the challenger alone
                self._give_up(pair, error)
            else:
                self._metrics.add(SHADOW_SCORED, len(view.at), outcome="scored")

    def _begin(self, challenger: Champion, view: View) -> _Beside:
        pipeline, name = challenger.pipeline, view.machine.name
        names = view.champion.pipeline.machine_class.sensor_names
        if pipeline.machine_class.sensor_names != names:
            raise ValueError("it knows other sensors than the champion")
        until_us, words = int(view.at[0]), _words(challenger, view)
        begun = beginning(pipeline, self._past, name, until_us, look_back(pipeline), words)
        first_us = None
        if is_cold(pipeline, name):
            stored = self._past.first_us(name)
            first_us = until_us if stored is None else min(stored, until_us)
        return _Beside(
            state=gone_through(pipeline, begun),
            word_us=begun.word_us,
            last_us=until_us - 1,
            first_us=first_us,
            champions=IncidentTracker(IncidentRules()),
            challengers=IncidentTracker(IncidentRules()),
        )

    def _give_up(self, pair: _Pair, error: Exception) -> None:
        pair.failed, pair.told, pair.machines = f"{type(error).__name__}: {error}", False, {}
        _log.warning(
            "%s version %d is in shadow no more: %s",
            pair.challenger.machine_class,
            pair.challenger.version,
            pair.failed,
        )

    def _forget(self) -> None:
        self._metrics.add(SHADOW_SCORED, self._rows, outcome="left_out")
        self._waiting, self._rows = [], 0
        for pair in self._pairs.values():
            pair.machines = {}


def _words(challenger: Champion, view: View) -> tuple[int, ...]:
    return acting(challenger.pipeline, view.machine.name, view.care.anew_us)


def _is_late(challenger: Champion, beside: _Beside, view: View) -> bool:
    """Say whether a word was given or taken back on readings that were scored already."""
    return beside.word_us != in_effect(_words(challenger, view), beside.last_us)


def _has_room(pair: _Pair, view: View) -> bool:
    return view.key in pair.machines or len(pair.machines) < _MOST_MACHINES


def _compared(challenger: Champion, beside: _Beside, view: View) -> Tally:
    """Score a machine's readings as the challenger would, and hold both against each other.

    Raises:
        ValueError: The challenger's scores are not finite.
    """
    pipeline, words = challenger.pipeline, _words(challenger, view)
    anew, beside.word_us = unheard(view.at, words, beside.word_us)
    beside.last_us = int(view.at[-1])
    scores = pipeline.score(beside.state, view.at, view.values, anew=anew)
    scores = adjusted(pipeline, scores, view.at, view.care, first_us=beside.first_us)
    if not np.isfinite(scores.score).all():
        raise ValueError("its scores are not finite")
    sure = view.scores.ready & scores.ready & ~view.under_maintenance
    sure &= view.at > trained_until(challenger)
    ours, theirs = view.scores.score[sure], scores.score[sure]
    alerts, others = ours > 1, theirs > 1
    return Tally(
        machine_class=challenger.machine_class,
        champion=view.champion.version,
        challenger=challenger.version,
        readings=len(ours),
        machine_s=len(ours) * pipeline.machine_class.period_s,
        champion_alerts=int(alerts.sum()),
        challenger_alerts=int(others.sum()),
        both_alerts=int((alerts & others).sum()),
        champion_incidents=_opened(beside.champions, view, view.scores, sure, anew),
        challenger_incidents=_opened(beside.challengers, view, scores, sure, anew),
        champion_sum=float(ours.sum()),
        challenger_sum=float(theirs.sum()),
        square_sum=float(((theirs - ours) ** 2).sum()),
    )


def _opened(tracker: IncidentTracker, view: View, scores: Scores, sure: Flags, anew: Flags) -> int:
    events = tracker.advance(view.at, scores.score, scores.contributions, sure, repaired=anew)
    return sum(one.change is Change.OPENED for one in events)
