"""When to train again: a pure policy. `ray_app.retrainer_actor` obeys it."""

from dataclasses import dataclass

from tuning.causes import Cause, Diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingPolicy:
    """Bounds of retraining.

    Attributes:
        interval_s: Seconds between two scheduled trainings; 0 switches the schedule off.
        cooldown_s: Seconds after an attempt in which no other begins, whatever the cause.
        daily_budget: Attempts in 24 hours, whatever the cause.
        drift_limit: Population stability index above which the champion's data is outdated; 0
            switches this cause off.
        min_feedback: Labels that people gave since the last training and that ask for another; 0
            switches this cause off.
        patience: While a machine wears, the schedule waits for so many intervals.
        min_fresh_share: New readings since the last training, as a share of those it learnt from;
            less is not worth a sweep.
    """

    interval_s: float = 3600.0
    cooldown_s: float = 900.0
    daily_budget: int = 48
    drift_limit: float = 1.0
    min_feedback: int = 3
    patience: float = 3.0
    min_fresh_share: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """What is known about one machine class.

    Attributes:
        has_champion: A model is serving.
        readings: Readings that a training now would learn from.
        needed: Readings that the first training needs.
        fresh: Readings that arrived since the last attempt.
        since_training_s: Seconds since the champion was promoted or confirmed; None if never.
        since_attempt_s: Seconds since the last sweep ended, however; None if there was none.
        attempts_today: Sweeps begun in the last 24 hours.
        drift: Population stability index of the newest readings; None if unknown.
        diagnosis: Why the newest readings differ from training; None if unknown.
        feedback: Labels that people gave since the last training.
        running: A sweep of this class is under way.
    """

    has_champion: bool
    readings: int
    needed: int
    fresh: int
    since_training_s: float | None = None
    since_attempt_s: float | None = None
    attempts_today: int = 0
    drift: float | None = None
    diagnosis: Diagnosis | None = None
    feedback: int = 0
    running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Train now or not, and why in one sentence."""

    due: bool
    reason: str


def is_due(state: TrainingState, policy: RetrainingPolicy) -> Verdict:
    """Say whether it is time to train; what forbids is asked before what demands."""
    if hindrance := _hindrance(state, policy):
        return Verdict(due=False, reason=hindrance)
    cause = _cause(state, policy)
    return Verdict(due=bool(cause), reason=cause or "nothing asks for a training")


def _hindrance(state: TrainingState, policy: RetrainingPolicy) -> str:
    hindrances = (
        (state.running, "a sweep is under way"),
        (
            policy.interval_s <= 0 and policy.drift_limit <= 0,
            "periodic retraining is switched off",
        ),
        (
            state.since_attempt_s is not None and state.since_attempt_s < policy.cooldown_s,
            f"the last sweep ended less than {policy.cooldown_s:.0f} s ago",
        ),
        (
            state.attempts_today >= policy.daily_budget,
            f"{state.attempts_today} sweeps in 24 hours have used up the budget",
        ),
        (state.readings < state.needed, f"{state.readings} readings; {state.needed} are needed"),
        (
            state.has_champion and state.fresh < policy.min_fresh_share * state.readings,
            f"only {state.fresh} of {state.readings} readings are new",
        ),
    )
    return next((reason for applies, reason in hindrances if applies), "")


def _cause(state: TrainingState, policy: RetrainingPolicy) -> str:
    if not state.has_champion:
        return f"there is no champion yet and {state.readings} readings are enough for one"
    if cause := _moved(state, policy):
        return cause
    if 0 < policy.min_feedback <= state.feedback:
        return f"people gave {state.feedback} labels since the last training"
    age = state.since_attempt_s if state.since_training_s is None else state.since_training_s
    worn = state.diagnosis is not None and state.diagnosis.cause is Cause.WEAR
    # A model that learns now takes what is wearing for health; for ever it cannot wait either.
    interval_s = policy.interval_s * (policy.patience if worn else 1)
    if policy.interval_s > 0 and (age is None or age >= interval_s):
        shown = "an unknown time" if age is None else f"{age:.0f} s"
        return f"the last training is {shown} old; every {policy.interval_s:.0f} s is asked for"
    return ""


def _moved(state: TrainingState, policy: RetrainingPolicy) -> str:
    """Return what in the readings asks for a training; a machine's own fault does not."""
    if policy.drift_limit <= 0:
        return ""
    told = state.diagnosis
    if told is not None and told.cause in {Cause.SENSOR_FAULT, Cause.WEAR}:
        return ""
    index = "" if state.drift is None else f"drift is {state.drift:.2f}"
    if told is not None and told.cause in {Cause.REGIME_CHANGE, Cause.DRIFT}:
        return f"{told.cause}: {told.reason}" + (f" ({index})" if index else "")
    if state.drift is not None and state.drift > policy.drift_limit:
        return f"{index}, above {policy.drift_limit:.2f}"
    return ""
