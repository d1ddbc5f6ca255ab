"""Incidents that outlive what followed them: a restart of the scorer, or a new champion. Pure."""

from dataclasses import replace
from math import nan

from domain.incidents import Incident, Peak
from domain.pipeline import Pipeline
from storage import verdicts


def restored(incident: verdicts.Incident | None, pipeline: Pipeline) -> Incident | None:
    """Return a stored incident as the tracker knows it; its evidence in proportion."""
    if incident is None:
        return None
    position = pipeline.machine_class.position
    evidence = [0.0] * len(position)
    seen = {"observed": [nan] * len(position), "expected": [nan] * len(position)}
    for part in incident.evidence:
        at = position.get(part.sensor)
        if at is not None:
            evidence[at] = part.share * incident.anomalies
            seen["observed"][at] = nan if part.observed is None else part.observed
            seen["expected"][at] = nan if part.expected is None else part.expected
    return Incident(
        began_us=incident.began_us,
        opened_us=incident.opened_us,
        last_seen_us=incident.last_seen_us,
        peak_score=incident.peak_score,
        anomalies=incident.anomalies,
        evidence=tuple(evidence),
        peak=Peak(
            instant_us=incident.began_us if incident.peaked_us is None else incident.peaked_us,
            observed=tuple(seen["observed"]),
            expected=tuple(seen["expected"]),
        ),
    )


def padded(incident: Incident | None, pipeline: Pipeline) -> Incident | None:
    """Return an incident with a column for every sensor: a class may have gained some since."""
    if incident is None:
        return None
    sensors = len(pipeline.machine_class.sensors)
    peak = incident.peak
    return replace(
        incident,
        closed_us=None,
        evidence=_wide(incident.evidence, sensors, 0.0),
        peak=None
        if peak is None
        else replace(
            peak,
            observed=_wide(peak.observed, sensors, nan),
            expected=_wide(peak.expected, sensors, nan),
        ),
    )


def _wide(values: tuple[float, ...], sensors: int, filler: float) -> tuple[float, ...]:
    return (*values, *[filler] * sensors)[:sensors]
