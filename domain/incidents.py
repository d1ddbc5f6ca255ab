"""From anomalous readings to incidents: one story per trouble instead of a thousand alarms.

All is pure and in event time, so a replay of the same rows tells the same story.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from domain.errors import BadInputError
from domain.readings import Flags, Instants, Matrix
from domain.sensor_health import FaultCodes, SensorFault


class Change(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRules:
    """When an incident begins and ends.

    Attributes:
        k: Anomalous readings that open one...
        n: ...among that many successive ones; k <= n.
        stay: Score at and above which a reading keeps an incident open; in (0, 1]. Below 1 it is
            the hysteresis that keeps a score near the threshold from flickering.
        quiet_s: Seconds without such a reading after which the incident closes.
        cool_s: Seconds after an incident closed within which another opens only if it is worse
            than all of the one before: what flickers is told once.
    """

    k: int = 6
    n: int = 10
    stay: float = 0.7
    quiet_s: float = 60.0
    cool_s: float = 120.0

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise BadInputError(f"k is {self.k}, n is {self.n}; 1 <= k <= n", "incident rules")
        if not (0 < self.stay <= 1 and self.quiet_s > 0):
            raise BadInputError(
                f"stay is {self.stay}, quiet_s is {self.quiet_s}; stay is in (0, 1], quiet_s > 0",
                "incident rules",
            )
        if self.cool_s < 0:
            raise BadInputError(f"cool_s is {self.cool_s}; it is 0 or more", "incident rules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooling:
    """What a closed incident leaves behind for a while.

    Attributes:
        until_us: When the cool-down ends.
        peak_score: What opens another before that must exceed it.
    """

    until_us: int
    peak_score: float


SENSOR_RULES = IncidentRules(k=3, n=3, stay=1.0, quiet_s=30.0, cool_s=0.0)
"""A sensor's fault has been weighed by the watch already; it opens and closes sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What a person is shown of an incident: the reading with its highest score.

    After a repair the newest reading is healthy and shows nothing of the trouble.

    Attributes:
        instant_us: Instant of the reading; of several with the same score the newest.
        observed: What was read, shape (S,) as a tuple, in the sensors' units; NaN is missing.
        expected: What the model expected then, likewise.
    """

    instant_us: int
    observed: tuple[float, ...]
    expected: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One trouble of one machine.

    Attributes:
        began_us: Instant of the first anomalous reading.
        opened_us: Instant of the reading that opened it.
        last_seen_us: Instant of the last reading that kept it open.
        closed_us: Instant at which it had been quiet for long enough; None while it is open.
        peak_score: Largest score.
        anomalies: Anomalous readings so far.
        evidence: Summed contribution by column, shape (S,) as a tuple.
        peak: The reading with the largest score; None where nobody gave what was read.
    """

    began_us: int
    opened_us: int
    last_seen_us: int
    closed_us: int | None = None
    peak_score: float
    anomalies: int
    evidence: tuple[float, ...]
    peak: Peak | None = None

    @property
    def root(self) -> int:
        """Column of the sensor with the largest evidence."""
        return max(range(len(self.evidence)), key=self.evidence.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEvent:
    """A change of an incident, with the incident after it.

    Attributes:
        change: What happened.
        incident: After it.
        repaired: It closed because the machine was repaired, see `domain.anew`.
    """

    change: Change
    incident: Incident
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What was read and what was expected, in the sensors' units; both of shape (n, S)."""

    observed: Matrix
    expected: Matrix


@dataclass(frozen=True, slots=True)
class _Row:
    instant_us: int
    score: float
    parts: npt.NDArray[np.float64]
    seen: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None

    def peak(self) -> Peak | None:
        if self.seen is None:
            return None
        observed, expected = (tuple(one.tolist()) for one in self.seen)
        return Peak(instant_us=self.instant_us, observed=observed, expected=expected)


class IncidentTracker:
    """Follows one kind of trouble of one machine.

    Attributes:
        incident: The open incident, if any.
        cooling: What the one before left behind; None long after it.
    """

    def __init__(
        self,
        rules: IncidentRules,
        incident: Incident | None = None,
        cooling: Cooling | None = None,
    ) -> None:
        """Begin fresh, or go on from what was stored: an open incident, or one that cools down."""
        self.incident, self.cooling = incident, cooling
        self._rules = rules
        self._recent: deque[_Row] = deque(maxlen=rules.n)

    def advance(  # noqa: PLR0913, PLR0917 - columns of the same readings
        self,
        instants_us: Instants,
        scores: npt.NDArray[np.float64],
        contributions: Matrix,
        ready: npt.NDArray[np.bool_] | None = None,
        seen: Seen | None = None,
        repaired: Flags | None = None,
    ) -> list[IncidentEvent]:
        """Take in scored readings; return what they changed, oldest first.

        Successive updates are merged: a call gives at most one of them per incident.

        Args:
            instants_us: Shape (n,), oldest first; readings not after `last_seen_us` of the
                incident that a tracker was restored with change nothing.
            scores: Shape (n,).
            contributions: Shape (n, S), non-negative.
            ready: Shape (n,); rows that are not count as healthy. All are when left out.
            seen: Of the n readings, kept of the one with the largest score.
            repaired: Shape (n,), readings from which on the level is learnt anew: what was open
                before is over with them.
        """
        sure = scores if ready is None else np.where(ready, scores, 0.0)
        if self.incident is None and len(self._recent) == 0 and not (sure > 1).any():
            self.cooling = None if repaired is not None and repaired.any() else self.cooling
            return []
        events: list[IncidentEvent] = []
        for at, instant in enumerate(instants_us.tolist()):
            if repaired is not None and repaired[at]:
                events += self._repaired(instant)
            shown = None if seen is None else (seen.observed[at], seen.expected[at])
            row = _Row(instant, float(sure[at]), contributions[at], shown)
            for event in self._step(row):
                if (
                    event.change is Change.UPDATED
                    and events
                    and (events[-1].change is Change.UPDATED)
                ):
                    events.pop()
                events.append(event)
        return events

    def quiet_until(self, now_us: int) -> list[IncidentEvent]:
        """Close the incident if nothing kept it open up to `now_us`, even without new readings."""
        return list(self._close_if_quiet(now_us))

    def _repaired(self, at_us: int) -> list[IncidentEvent]:
        """Close the incident, for the machine was repaired, and forget what was before."""
        self._recent.clear()
        before, self.incident, self.cooling = self.incident, None, None
        if before is None:
            return []
        closed = replace(before, closed_us=max(at_us, before.last_seen_us))
        return [IncidentEvent(change=Change.CLOSED, incident=closed, repaired=True)]

    def _step(self, row: _Row) -> Iterator[IncidentEvent]:
        yield from self._close_if_quiet(row.instant_us)
        if self.incident is not None:
            if row.score >= self._rules.stay and row.instant_us > self.incident.last_seen_us:
                self.incident = _grown(self.incident, row)
                yield IncidentEvent(change=Change.UPDATED, incident=self.incident)
            return
        self._recent.append(row)
        anomalous = [one for one in self._recent if one.score > 1]
        if not anomalous:
            self._recent.clear()
        elif len(anomalous) >= self._rules.k and self._may_open(anomalous, row.instant_us):
            self.incident = _opened(anomalous, row.instant_us)
            self._recent.clear()
            yield IncidentEvent(change=Change.OPENED, incident=self.incident)

    def _close_if_quiet(self, now_us: int) -> Iterator[IncidentEvent]:
        if self.incident is None:
            return
        end_us = self.incident.last_seen_us + round(self._rules.quiet_s * 1e6)
        if now_us >= end_us:
            closed = replace(self.incident, closed_us=end_us)
            self.incident, self.cooling = None, cooling_of(closed, self._rules)
            yield IncidentEvent(change=Change.CLOSED, incident=closed)

    def _may_open(self, anomalous: list[_Row], now_us: int) -> bool:
        if self.cooling is None or now_us >= self.cooling.until_us:
            return True
        return max(row.score for row in anomalous) > self.cooling.peak_score


def cooling_of(closed: Incident, rules: IncidentRules) -> Cooling:
    """Return what a closed incident leaves behind.

    Raises:
        ValueError: It is not closed.
    """
    if closed.closed_us is None:
        raise ValueError("an open incident leaves nothing behind")
    until_us = closed.closed_us + round(rules.cool_s * 1e6)
    return Cooling(until_us=until_us, peak_score=closed.peak_score)


def _opened(anomalous: list[_Row], opened_us: int) -> Incident:
    highest = max(anomalous, key=lambda row: (row.score, row.instant_us))
    return Incident(
        began_us=anomalous[0].instant_us,
        opened_us=opened_us,
        last_seen_us=opened_us,
        peak_score=highest.score,
        anomalies=len(anomalous),
        evidence=tuple(np.sum([row.parts for row in anomalous], axis=0).tolist()),
        peak=highest.peak(),
    )


def _grown(incident: Incident, row: _Row) -> Incident:
    anomalous = row.score > 1
    evidence = np.add(incident.evidence, row.parts) if anomalous else incident.evidence
    return replace(
        incident,
        last_seen_us=row.instant_us,
        peak_score=max(incident.peak_score, row.score),
        anomalies=incident.anomalies + anomalous,
        evidence=tuple(float(part) for part in evidence),
        # The newest of equal ones: a sensor's fault always scores the same.
        peak=row.peak() if row.score >= incident.peak_score else incident.peak,
    )


def sensor_rows(faults: FaultCodes) -> tuple[npt.NDArray[np.float64], Matrix]:
    """Return scores (n,) and contributions (n, S) of sensor faults, for a tracker of their own.

    A reading with a faulty sensor scores 2, shared evenly by the faulty ones; others score 0.
    """
    ill = (faults != SensorFault.NONE).astype(np.float64)
    count = ill.sum(axis=1)
    scores = np.where(count > 0, 2.0, 0.0)
    return scores, ill * (scores / np.maximum(count, 1))[:, None]
