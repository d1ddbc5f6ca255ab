"""The gate between a trained model and the machines: pure, and its reasons are in words.

Challenger and champion are replayed on the same fresh readings with the same injected faults, so
their objectives are compared in pairs: one pair per replay seed.
"""

from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean
from typing import TypeGuard

from domain.gain import MIN_GAIN, NOISE_FACTOR, gain_of
from tuning.by_labels import REPLAY_TIE, Labelled, paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How one model did in several replays of the same readings.

    Attributes:
        name: Model and version, for the reason.
        objectives: Label-free objective of each replay, in the order of its seeds; 0 to 1.
        detection: Share of injected faults that were detected, mean over the replays; 0 to 1.
        false_alarm_rate: Share of untouched readings above the threshold, mean; 0 to 1.
        labels: What judgements of people say of it; None without any.
    """

    name: str
    objectives: tuple[float, ...]
    detection: float
    false_alarm_rate: float
    labels: Labelled | None = None

    @property
    def objective(self) -> float:
        """Mean over the replays."""
        return fmean(self.objectives)


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
        min_agreement: A challenger that alarms more than the champion must agree with it on such a
            share of readings; 0 to 1.
        max_score_drift: So much may a challenger's mean score in shadow lie above the champion's;
            1 is the way from nothing to an alarm.
    """

    max_false_alarm_rate: float = 0.3
    min_detection: float = 0.1
    min_gain: float = MIN_GAIN
    noise_factor: float = NOISE_FACTOR
    min_shadow_readings: int = 2000
    shadow_factor: float = 2.0
    shadow_spare: int = 2
    label_spare: int = 1
    label_chance: float = 0.1
    replay_tie: float = REPLAY_TIE
    min_agreement: float = 0.8
    max_score_drift: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What a challenger made of the live stream beside the champion; both saw the same readings.

    Attributes:
        name: Version that was in shadow, for the reason.
        readings: That both scored.
        machine_days: That they stand for.
        champion_incidents: How many the champion opened.
        challenger_incidents: How many the challenger would have.
        champion_alert_rate: Share of readings that the champion found anomalous; 0 to 1.
        alert_rate: Share that the challenger did.
        agreement: Share of readings on which both said the same; 0 to 1.
        score_drift: Mean of the challenger's scores less the champion's.
    """

    name: str
    readings: int
    machine_days: float
    champion_incidents: int
    challenger_incidents: int
    champion_alert_rate: float
    alert_rate: float
    agreement: float
    score_drift: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Promote or not, and why in one sentence."""

    promote: bool
    reason: str


def decide(
    challenger: Replayed,
    champion: Replayed | None,
    gate: Gate,
    *,
    no_champion: str = "",
    shadowed: Shadowed | None = None,
) -> Decision:
    """Judge a challenger against the present champion.

    Args:
        challenger: Replays of the new model.
        champion: Replays of the present one on the same readings and seeds; None if there is none
            or it cannot score these readings.
        gate: What must be shown.
        no_champion: Why `champion` is None although there is one, such as changed sensors.
        shadowed: What the challenger, or an earlier version of the same configuration, made of the
            live stream beside the champion; None if there was none.

    Returns:
        The reason also says what labels and a time in shadow say, whether they decided or not.
    """
    if flaw := _flaw(challenger, gate) or objection(shadowed, gate):
        return Decision(promote=False, reason=flaw)
    decision = _judged(challenger, champion, gate, no_champion)
    beside = _in_labels(challenger, champion) + _in_shadow(shadowed, gate)
    return replace(decision, reason=decision.reason + beside)


def _judged(
    challenger: Replayed, champion: Replayed | None, gate: Gate, no_champion: str
) -> Decision:
    if champion is None:
        why = no_champion or "it is the first model of its class"
        return Decision(promote=True, reason=f"{why}; {_figures(challenger)}")
    pairing = paired(challenger.labels, champion.labels)
    if pairing.worse and pairing.lost - pairing.won > gate.label_spare:
        why = f"labels speak for {champion.name} in {pairing.lost} periods"
        return Decision(promote=False, reason=why)
    if decayed := _flaw(champion, gate):
        return Decision(promote=True, reason=f"the champion no longer holds: {decayed}")
    compared = _compare(challenger, champion, gate)
    as_good = challenger.objective >= champion.objective - gate.replay_tie
    if not compared.promote and as_good and pairing.chance < gate.label_chance:
        why = f"labels speak for it in {pairing.won} periods; {compared.reason}"
        return Decision(promote=True, reason=why)
    return compared


def _in_labels(challenger: Replayed, champion: Replayed | None) -> str:
    """Return what labels say of both, to add to a reason."""
    told = [one for one in (challenger, champion) if one is not None and one.labels is not None]
    words = ", ".join(f"{one.name} {one.labels.words}" for one in told if one.labels)
    return f"; {words}" if words else ""


def objection(shadowed: Shadowed | None, gate: Gate) -> str:
    """Return what a challenger's time in shadow says against it; empty where it says nothing."""
    if not _tells(shadowed, gate):
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
    # A quieter challenger may disagree: a champion that alarms too much is what it is to replace.
    louder = shadowed.alert_rate > shadowed.champion_alert_rate
    if louder and shadowed.agreement < gate.min_agreement:
        return (
            f"{shadowed.name} agrees with the champion on {shadowed.agreement:.1%} of the live "
            f"readings and alarms more; {gate.min_agreement:.0%} are required"
        )
    if shadowed.score_drift > gate.max_score_drift:
        return (
            f"{shadowed.name} scores the live readings {shadowed.score_drift:.2f} higher than the "
            f"champion on average; {gate.max_score_drift:g} is allowed"
        )
    return ""


def _tells(shadowed: Shadowed | None, gate: Gate) -> TypeGuard[Shadowed]:
    """Say whether there was enough time in shadow to tell anything by."""
    return shadowed is not None and shadowed.readings >= gate.min_shadow_readings


def _in_shadow(shadowed: Shadowed | None, gate: Gate) -> str:
    """Return what a time in shadow that speaks against nothing adds to a reason."""
    if not _tells(shadowed, gate):
        return ""
    return (
        f"; {shadowed.name} agreed with the champion on {shadowed.agreement:.1%} of "
        f"{shadowed.readings} live readings in shadow"
    )


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
    gain = gain_of(
        challenger.objectives,
        champion.objectives,
        least=gate.min_gain,
        noise_factor=gate.noise_factor,
    )
    comparison = (
        f"{challenger.name} {challenger.objective:.3f} against {champion.name} "
        f"{champion.objective:.3f}: a gain of {gain.mean:+.3f} where {gain.needed:.3f} is needed"
    )
    return Decision(promote=gain.clear, reason=comparison)


def _figures(model: Replayed) -> str:
    return (
        f"objective {model.objective:.3f}, detects {model.detection:.0%} of injected faults, "
        f"alarms on {model.false_alarm_rate:.1%} of healthy readings"
    )
