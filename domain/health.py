"""A machine's health in one word, from what is known of it."""

from dataclasses import dataclass
from enum import StrEnum

WATCH_SCORE = 0.8
"""From here to 1 a machine is worth a look although nothing is wrong yet."""

SILENT_PERIODS = 20
"""A machine that misses this many readings in a row is silent."""

SILENT_AT_LEAST_S = 30.0
"""Shorter than this nobody calls a machine silent, however fast it usually speaks."""


class Health(StrEnum):
    """What a person wants to know first of a machine; the most urgent one wins."""

    ANOMALOUS = "anomalous"
    SENSOR_FAULT = "sensor fault"
    SILENT = "silent"
    WATCH = "watch"
    NOT_SCORED = "not scored yet"
    HEALTHY = "healthy"


URGENCY: dict[Health, int] = {health: rank for rank, health in enumerate(Health)}
"""Rank of each health; the most urgent is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a machine.

    Attributes:
        score: Its last score; None when it was never scored.
        silent: Whether it stopped sending, or never began.
        incident_kinds: Kinds of its live incidents: `machine`, `sensor`.
    """

    score: float | None
    silent: bool = False
    incident_kinds: frozenset[str] = frozenset()


def patience_s(period_s: float) -> float:
    """Return after how many seconds without a reading a machine is silent.

    Args:
        period_s: Nominal seconds between two readings of its class.
    """
    return max(SILENT_AT_LEAST_S, SILENT_PERIODS * period_s)


def health_of(evidence: Evidence) -> Health:
    """Return the most urgent thing that is true of a machine.

    >>> health_of(Evidence(score=0.2))
    <Health.HEALTHY: 'healthy'>
    >>> health_of(Evidence(score=0.9))
    <Health.WATCH: 'watch'>
    """
    if "machine" in evidence.incident_kinds:
        return Health.ANOMALOUS
    if "sensor" in evidence.incident_kinds:
        return Health.SENSOR_FAULT
    if evidence.silent:
        return Health.SILENT
    if evidence.score is None:
        return Health.NOT_SCORED
    return Health.WATCH if evidence.score >= WATCH_SCORE else Health.HEALTHY
