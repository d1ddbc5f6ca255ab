"""What an incident is, and the rules by which one begins and ends; the tracker goes by them."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from domain.errors import BadInputError
from domain.hysteresis import STAY
from domain.readings import Matrix
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
    stay: float = STAY
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
        began_us: Instant of the first of the readings that led to it: those at or above
            `IncidentRules.stay` in a row, or the first anomalous one where that is earlier.
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


def cooling_of(closed: Incident, rules: IncidentRules) -> Cooling:
    """Return what a closed incident leaves behind.

    Raises:
        ValueError: It is not closed.
    """
    if closed.closed_us is None:
        raise ValueError("an open incident leaves nothing behind")
    until_us = closed.closed_us + round(rules.cool_s * 1e6)
    return Cooling(until_us=until_us, peak_score=closed.peak_score)


def sensor_rows(faults: FaultCodes) -> tuple[npt.NDArray[np.float64], Matrix]:
    """Return scores (n,) and contributions (n, S) of sensor faults, for a tracker of their own.

    A reading with a faulty sensor scores 2, shared evenly by the faulty ones; others score 0.
    """
    ill = (faults != SensorFault.NONE).astype(np.float64)
    count = ill.sum(axis=1)
    scores = np.where(count > 0, 2.0, 0.0)
    return scores, ill * (scores / np.maximum(count, 1))[:, None]
