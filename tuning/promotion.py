"""The gate between a trained model and the machines: pure, and its reasons are in words.

Challenger and champion are replayed on the same fresh readings with the same injected faults, so
their objectives are compared in pairs: one pair per replay seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb, isfinite, sqrt
from statistics import fmean, stdev


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How one model did in several replays of the same readings.

    Attributes:
        name: Model and version, for the reason.
        objectives: Label-free objective of each replay, in the order of its seeds; 0 to 1.
        detection: Share of injected faults that were detected, mean over the replays; 0 to 1.
        false_alarm_rate: Share of untouched readings above the threshold, mean; 0 to 1.
    """

    name: str
    objectives: tuple[float, ...]
    detection: float
    false_alarm_rate: float

    @property
    def objective(self) -> float:
        """Mean over the replays."""
        return fmean(self.objectives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """How one model did where people said what was what (`domain.labelled`).

    Attributes:
        name: Model and version, for the reason.
        right: Per judged period, in one order for all models: it was judged right.
        objective: Youden's index; -1 to 1.
        words: The counts for people.
    """

    name: str
    right: tuple[bool, ...]
    objective: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a challenger has to show.

    Attributes:
        max_false_alarm_rate: Largest share of healthy readings above the threshold; 0 to 1.
        min_detection: Smallest share of injected faults that must be detected; 0 to 1.
        min_gain: Smallest gain in the objective that counts, whatever the noise says.
        noise_factor: Standard errors of the paired gain that must be exceeded as well.
        min_shadow_readings: Fewer readings in shadow say nothing for or against a challenger.
        shadow_factor: So many times the champion's incidents may a challenger have in shadow...
        shadow_spare: ...and so many more, for small numbers are chance.
        label_spare: So many judged periods more than it wins may a challenger lose.
        label_chance: Probability that what it wins was chance, below which labels promote a
            challenger that replay finds as good as the champion.
        replay_tie: A loss in the objective up to here is as good.
    """

    max_false_alarm_rate: float = 0.3
    min_detection: float = 0.1
    min_gain: float = 0.01
    noise_factor: float = 2.0
    min_shadow_readings: int = 2000
    shadow_factor: float = 2.0
    shadow_spare: int = 2
    label_spare: int = 1
    label_chance: float = 0.1
    replay_tie: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What a challenger made of the live stream beside the champion; both saw the same readings.

    Attributes:
        name: Model and version, for the reason.
        readings: That both scored.
        machine_days: That they stand for.
        champion_incidents: How many the champion opened.
        challenger_incidents: How many the challenger would have.
        alert_rate: Share of readings that the challenger found anomalous; 0 to 1.
        agreement: Share of readings on which both said the same; 0 to 1.
    """

    name: str
    readings: int
    machine_days: float
    champion_incidents: int
    challenger_incidents: int
    alert_rate: float
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Promote or not, and why in one sentence."""

    promote: bool
    reason: str


def decide(  # noqa: PLR0913 - keyword-only but for the models
    challenger: Replayed,
    champion: Replayed | None,
    gate: Gate,
    *,
    no_champion: str = "",
    labels: Labelled | None = None,
    champion_labels: Labelled | None = None,
) -> Decision:
    """Judge a challenger against the present champion.

    Args:
        challenger: Replays of the new model.
        champion: Replays of the present one on the same readings and seeds; None if there is none
            or it cannot score these readings.
        gate: What must be shown.
        no_champion: Why `champion` is None although there is one, such as changed sensors.
        labels: What people's judgements say of the challenger; None without any.
        champion_labels: What they say of the champion.

    Returns:
        With labels, the reason says what they say, whether they decided or not.
    """
    decision = _decided(challenger, champion, gate, no_champion, labels, champion_labels)
    if labels is None:
        return decision
    beside = f", {champion_labels.name} {champion_labels.words}" if champion_labels else ""
    return replace(decision, reason=f"{decision.reason}; {labels.name} {labels.words}{beside}")


def _decided(  # noqa: PLR0913, PLR0917 - as `decide`
    challenger: Replayed,
    champion: Replayed | None,
    gate: Gate,
    no_champion: str,
    labels: Labelled | None,
    champion_labels: Labelled | None,
) -> Decision:
    if flaw := _flaw(challenger, gate):
        return Decision(promote=False, reason=flaw)
    if champion is None:
        why = no_champion or "it is the first model of its class"
        return Decision(promote=True, reason=f"{why}; {_figures(challenger)}")
    won, lost = _paired(labels, champion_labels)
    worse = labels and champion_labels and labels.objective < champion_labels.objective
    if worse and lost - won > gate.label_spare:
        return Decision(promote=False, reason=f"labels speak for {champion.name} in {lost} periods")
    if decayed := _flaw(champion, gate):
        return Decision(promote=True, reason=f"the champion no longer holds: {decayed}")
    compared = _compare(challenger, champion, gate)
    as_good = challenger.objective >= champion.objective - gate.replay_tie
    if not compared.promote and as_good and _by_chance(won, lost) < gate.label_chance:
        return Decision(
            promote=True, reason=f"labels speak for it in {won} periods; {compared.reason}"
        )
    return compared


def objection(shadowed: Shadowed | None, gate: Gate) -> str:
    """Return what a challenger's time in shadow says against it; empty where it says nothing."""
    if shadowed is None or shadowed.readings < gate.min_shadow_readings:
        return ""
    if shadowed.alert_rate > gate.max_false_alarm_rate:
        return (
            f"{shadowed.name} alarms on {shadowed.alert_rate:.1%} of the live readings, "
            f"{gate.max_false_alarm_rate:.0%} are allowed"
        )
    allowed = gate.shadow_factor * shadowed.champion_incidents + gate.shadow_spare
    if shadowed.challenger_incidents > allowed:
        return (
            f"{shadowed.name} would have opened {shadowed.challenger_incidents} incidents in "
            f"{shadowed.machine_days:.2g} machine-days of the live stream, where the champion "
            f"opened {shadowed.champion_incidents}; {allowed:g} are allowed"
        )
    return ""


def _flaw(model: Replayed, gate: Gate) -> str:
    if not model.objectives or not all(map(isfinite, model.objectives)):
        return f"{model.name} has no finite objective"
    if not model.false_alarm_rate <= gate.max_false_alarm_rate:
        return (
            f"{model.name} alarms on {model.false_alarm_rate:.1%} of healthy readings, "
            f"{gate.max_false_alarm_rate:.0%} are allowed"
        )
    if not model.detection >= gate.min_detection:
        return (
            f"{model.name} detects {model.detection:.0%} of the injected faults, "
            f"{gate.min_detection:.0%} are required"
        )
    return ""


def _compare(challenger: Replayed, champion: Replayed, gate: Gate) -> Decision:
    gains = [new - old for new, old in zip(challenger.objectives, champion.objectives, strict=True)]
    gain, needed = fmean(gains), max(gate.min_gain, gate.noise_factor * _standard_error(gains))
    comparison = (
        f"{challenger.name} {challenger.objective:.3f} against {champion.name} "
        f"{champion.objective:.3f}: a gain of {gain:+.3f} where {needed:.3f} is needed"
    )
    return Decision(promote=gain > needed, reason=comparison)


def _paired(one: Labelled | None, other: Labelled | None) -> tuple[int, int]:
    """Return in how many judged periods only `one` is right, and in how many only `other`."""
    if one is None or other is None:
        return 0, 0
    pairs = list(zip(one.right, other.right, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def _by_chance(won: int, lost: int) -> float:
    """Return how likely so many wins are among equals: McNemar's exact test, one-sided."""
    count = won + lost
    ways: int = sum(comb(count, more) for more in range(won, count + 1))
    return ways / 2.0**count


def _standard_error(gains: Sequence[float]) -> float:
    return stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else 0.0


def _figures(model: Replayed) -> str:
    return (
        f"objective {model.objective:.3f}, detects {model.detection:.0%} of injected faults, "
        f"alarms on {model.false_alarm_rate:.1%} of healthy readings"
    )
