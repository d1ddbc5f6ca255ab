"""How bad an incident is, in one of three words: from score, duration and breadth. Pure."""

from collections.abc import Sequence
from enum import StrEnum

SCORES = (2.0, 4.0)
"""Peak scores from which an incident gets one point, and two."""

DURATIONS_S = (600.0, 3600.0)
"""Durations from which it gets one point, and two."""

BREADTH = 3.0
"""Sensors' worth of evidence from which it gets one point: it is no matter of one probe."""

_MAJOR, _CRITICAL = 2, 4


class Severity(StrEnum):
    """A closed set, the mildest first.

    `minor` is worth a look in the next round, `major` within the shift, `critical` now.
    """

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


def severity_of(peak_score: float, duration_s: float, evidence: Sequence[float]) -> Severity:
    """Return an incident's severity: 0 or 1 point is minor, 2 or 3 are major, more is critical.

    Args:
        peak_score: Largest score so far; more than 1 is anomalous.
        duration_s: From its first to its latest anomalous reading.
        evidence: Non-negative contributions by sensor, in any unit.

    >>> severity_of(1.4, 20.0, [1.0])
    <Severity.MINOR: 'minor'>
    >>> severity_of(5.0, 900.0, [1.0, 1.0, 1.0])
    <Severity.CRITICAL: 'critical'>
    """
    points = sum(peak_score >= limit for limit in SCORES)
    points += sum(duration_s >= limit for limit in DURATIONS_S)
    points += breadth(evidence) >= BREADTH
    if points >= _CRITICAL:
        return Severity.CRITICAL
    return Severity.MAJOR if points >= _MAJOR else Severity.MINOR


def breadth(evidence: Sequence[float]) -> float:
    """Return how many sensors share the evidence: the inverse of Simpson's concentration.

    >>> breadth([1.0, 1.0, 0.0]), breadth([1.0]), breadth([])
    (2.0, 1.0, 0.0)
    """
    total = sum(evidence)
    squares = sum((part / total) ** 2 for part in evidence) if total > 0 else 0.0
    return 1 / squares if squares > 0 else 0.0
