"""Machines that the stream's scorer has met, restored from stored readings if need be. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from domain.anew import in_effect
from domain.care import is_cold
from domain.conditions import GapWatch
from domain.incident_tracker import IncidentTracker
from domain.incidents import Cooling, IncidentRules
from domain.machines import Machine
from domain.pipeline import Pipeline
from domain.readings import History
from domain.scores import PipelineState
from ray_app.beginnings import PastReadings, beginning, gone_through, look_back
from ray_app.carried import padded, restored
from ray_app.known import Champion
from ray_app.risk_watch import PastSteps
from storage.verdicts import Kind, Live


class Past(PastReadings, PastSteps, Protocol):
    """Where stored readings come from."""

    def first_us(self, machine: str) -> int | None:
        """Return the instant of a machine's oldest stored reading; None if it has none."""


@dataclass(slots=True, kw_only=True)
class Met:
    """One machine as it is remembered.

    Attributes:
        version: Of the champion that the state is of.
        state: Windows and baselines.
        word_us: By which its level is learnt anew; None where nobody said so.
        mended: It was restored by a word that is new to it: what is open is over.
        last_us: Instant of its newest reading.
        first_us: Of its history where it is cold; None where the model knows it.
        trackers: Of incidents of each kind.
        gaps: Watches for holes.
    """

    version: int
    state: PipelineState
    word_us: int | None
    mended: bool
    last_us: int
    first_us: int | None
    trackers: dict[Kind, IncidentTracker]
    gaps: GapWatch


class MetMachines:
    """Remembers machines, over champions and words of repairs; for one thread.

    Args:
        past: Stored readings, from which windows are restored.
        live: Incidents that are open already.
        closed: Machine key and kind → when its last incident closed and that one's peak score,
            where it may still cool down.
        rules: When an incident of each kind opens and closes.
    """

    def __init__(
        self,
        past: Past,
        live: Iterable[Live],
        closed: Mapping[tuple[int, Kind], tuple[int, float]],
        rules: Mapping[Kind, IncidentRules],
    ) -> None:
        self._past, self._closed, self._rules = past, dict(closed), rules
        self._live = {(one.incident.machine_key, one.incident.kind): one.incident for one in live}
        self._met: dict[int, Met] = {}

    def of(self, known: Machine, champion: Champion, first_us: int, words: tuple[int, ...]) -> Met:
        """Return a machine as it is before readings; restored where it is new, or not up to date.

        Args:
            known: Whose readings came.
            champion: What scores them.
            first_us: Instant of the first of them.
            words: `domain.anew.acting` ones.
        """
        key, name = known.key, known.name
        machine = self._met.get(key)
        if (
            machine is not None
            and machine.version == champion.version
            and machine.word_us == in_effect(words, machine.last_us)
        ):
            return machine
        pipeline = champion.pipeline
        until_us = first_us if machine is None else machine.last_us + 1
        begun = beginning(pipeline, self._past, name, until_us, look_back(pipeline), words)
        trackers = self._trackers(key, machine, pipeline)
        self._met[key] = Met(
            version=champion.version,
            state=gone_through(pipeline, begun),
            word_us=begun.word_us,
            mended=_mended(machine, trackers, begun.word_us),
            last_us=until_us - 1,
            first_us=self._first_us(known, pipeline, until_us),
            trackers=trackers,
            gaps=_gaps(pipeline, begun.past, machine),
        )
        return self._met[key]

    def forget_incident(self, machine_key: int, kind: Kind) -> None:
        """Let go of an incident that a person closed, so that another may open."""
        self._live.pop((machine_key, kind), None)
        self._closed.pop((machine_key, kind), None)
        machine = self._met.get(machine_key)
        if machine is not None:
            machine.trackers[kind] = IncidentTracker(self._rules[kind])

    def _first_us(self, known: Machine, pipeline: Pipeline, until_us: int) -> int | None:
        if not is_cold(pipeline, known.name):
            return None
        stored = self._past.first_us(known.name)
        return until_us if stored is None else min(stored, until_us)

    def _trackers(
        self, key: int, before: Met | None, pipeline: Pipeline
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


def _mended(
    before: Met | None, trackers: Mapping[Kind, IncidentTracker], word_us: int | None
) -> bool:
    """Say whether what is open is over: a word came late, or while nobody was scoring."""
    if word_us is None:
        return False
    if before is not None:
        return before.word_us is None or before.word_us < word_us
    open_now = (one.incident for one in trackers.values())
    return any(one.began_us < word_us for one in open_now if one is not None)


def _cooling(closed: tuple[int, float] | None, rules: IncidentRules) -> Cooling | None:
    if closed is None:
        return None
    closed_us, peak_score = closed
    return Cooling(until_us=closed_us + round(rules.cool_s * 1e6), peak_score=peak_score)


def _gaps(pipeline: Pipeline, past: History, before: Met | None) -> GapWatch:
    if before is not None:
        return before.gaps
    period_s = pipeline.machine_class.period_s
    gaps = GapWatch(period_s=period_s, window_s=pipeline.front.window_rows * period_s)
    gaps.see(past.instants_us)
    # The ingestion may still hold the last seconds of the past: that would be no hole.
    gaps.look_away()
    return gaps
