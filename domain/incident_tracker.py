"""From anomalous readings to incidents: one story per trouble instead of a thousand alarms.

All is pure and in event time, so a replay of the same rows tells the same story.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from domain.incidents import (
    Change,
    Cooling,
    Incident,
    IncidentEvent,
    IncidentRules,
    Peak,
    cooling_of,
)
from domain.readings import Flags, Instants, Matrix


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
        self._raised_us: int | None = None  # since when readings would keep an incident open

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
            self._raised_us = self._raised_after(instants_us, sure, repaired)
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

    def _raised_after(
        self, instants_us: Instants, sure: npt.NDArray[np.float64], repaired: Flags | None
    ) -> int | None:
        """Return since when readings have been high after readings that open nothing."""
        if len(sure) and sure[-1] < self._rules.stay:
            return None
        broken = sure < self._rules.stay
        first = int(np.flatnonzero(broken)[-1]) + 1 if broken.any() else 0
        if repaired is not None and repaired.any():
            first = max(first, int(np.flatnonzero(repaired)[-1]))
        elif first == 0 and self._raised_us is not None:
            return self._raised_us
        return int(instants_us[first]) if first < len(sure) else None

    def _repaired(self, at_us: int) -> list[IncidentEvent]:
        """Close the incident, for the machine was repaired, and forget what was before."""
        self._recent.clear()
        self._raised_us = None
        before, self.incident, self.cooling = self.incident, None, None
        if before is None:
            return []
        closed = replace(before, closed_us=max(at_us, before.last_seen_us))
        return [IncidentEvent(change=Change.CLOSED, incident=closed, repaired=True)]

    def _step(self, row: _Row) -> Iterator[IncidentEvent]:
        yield from self._close_if_quiet(row.instant_us)
        if row.score < self._rules.stay:
            self._raised_us = None
        elif self._raised_us is None:
            self._raised_us = row.instant_us
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
            self.incident = _opened(anomalous, row.instant_us, self._raised_us)
            self._recent.clear()
            yield IncidentEvent(change=Change.OPENED, incident=self.incident)

    def _close_if_quiet(self, now_us: int) -> Iterator[IncidentEvent]:
        if self.incident is None:
            return
        end_us = self.incident.last_seen_us + round(self._rules.quiet_s * 1e6)
        if now_us >= end_us:
            closed = replace(self.incident, closed_us=end_us)
            self.incident, self.cooling = None, cooling_of(closed, self._rules)
            self._raised_us = None
            yield IncidentEvent(change=Change.CLOSED, incident=closed)

    def _may_open(self, anomalous: list[_Row], now_us: int) -> bool:
        if self.cooling is None or now_us >= self.cooling.until_us:
            return True
        return max(row.score for row in anomalous) > self.cooling.peak_score


def _opened(anomalous: list[_Row], opened_us: int, raised_us: int | None) -> Incident:
    highest = max(anomalous, key=lambda row: (row.score, row.instant_us))
    first_us = anomalous[0].instant_us
    return Incident(
        began_us=first_us if raised_us is None else min(first_us, raised_us),
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
