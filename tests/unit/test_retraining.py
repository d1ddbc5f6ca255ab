"""The retraining policy: what asks for a training, and what forbids it."""

from dataclasses import replace

import pytest

from tuning.causes import Cause, Diagnosis
from tuning.retraining import RetrainingPolicy, TrainingState, is_due

POLICY = RetrainingPolicy(
    interval_s=3600, cooldown_s=900, daily_budget=10, drift_limit=1.0, min_fresh_share=0.2
)
OLD = TrainingState(
    has_champion=True,
    readings=10_000,
    needed=600,
    fresh=9_000,
    since_training_s=4000,
    since_attempt_s=4000,
    attempts_today=2,
    drift=0.3,
)


def test_an_old_training_is_due() -> None:
    """The schedule alone is a cause."""
    verdict = is_due(OLD, POLICY)

    assert verdict.due
    assert "4000 s old" in verdict.reason


def test_a_young_training_is_not() -> None:
    """Nothing asks for it."""
    verdict = is_due(replace(OLD, since_training_s=1000, since_attempt_s=1000), POLICY)

    assert not verdict.due
    assert "nothing asks" in verdict.reason


def test_drift_is_a_cause_before_the_schedule_is() -> None:
    """A fleet that moved away does not wait for the hour."""
    state = replace(OLD, since_training_s=1000, since_attempt_s=1000, drift=1.4)

    assert "drift is 1.40" in is_due(state, POLICY).reason
    assert is_due(state, POLICY).due
    assert not is_due(state, replace(POLICY, drift_limit=0)).due


def test_a_class_without_champion_is_due_as_soon_as_there_is_enough() -> None:
    """The first model is not made to wait for a schedule."""
    new = TrainingState(has_champion=False, readings=600, needed=600, fresh=600)

    assert is_due(new, POLICY).due
    assert not is_due(replace(new, readings=599), POLICY).due


def test_a_champion_of_unknown_age_is_due() -> None:
    """A champion that was promoted by hand from elsewhere is renewed."""
    assert is_due(replace(OLD, since_training_s=None, since_attempt_s=None), POLICY).due


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"running": True}, "under way"),
        ({"since_attempt_s": 899.0}, "less than 900 s ago"),
        ({"attempts_today": 10}, "used up the budget"),
        ({"readings": 500}, "600 are needed"),
        ({"fresh": 1_999}, "only 1999 of 10000"),
    ],
)
def test_a_hindrance_outweighs_every_cause(change: dict[str, float], words: str) -> None:
    """Neither age nor drift trains on nothing new, too often, or twice at once."""
    verdict = is_due(replace(OLD, drift=9.0, **change), POLICY)  # type: ignore[arg-type]  # by name

    assert not verdict.due
    assert words in verdict.reason


def test_switched_off_is_off() -> None:
    """No schedule and no drift limit: only a person trains."""
    verdict = is_due(replace(OLD, drift=9.0), replace(POLICY, interval_s=0, drift_limit=0))

    assert not verdict.due
    assert "switched off" in verdict.reason


@pytest.mark.parametrize("cause", [Cause.REGIME_CHANGE, Cause.DRIFT])
def test_what_moved_the_fleet_is_learnt_at_once(cause: Cause) -> None:
    """Whatever the index says: the cause is told with what it shows in."""
    young = replace(OLD, since_training_s=1000, since_attempt_s=1000)
    told = Diagnosis(cause=cause, reason="flow moved")
    verdict = is_due(replace(young, diagnosis=told), POLICY)

    assert verdict.due
    assert verdict.reason == f"{cause}: flow moved (drift is 0.30)"
    assert not is_due(replace(young, diagnosis=told, since_attempt_s=100), POLICY).due
    assert not is_due(replace(young, diagnosis=told, attempts_today=10), POLICY).due


@pytest.mark.parametrize("cause", [Cause.SENSOR_FAULT, Cause.WEAR])
def test_what_is_wrong_with_a_machine_is_never_learnt_as_drift(cause: Cause) -> None:
    """However large the index is."""
    young = replace(OLD, since_training_s=1000, since_attempt_s=1000, drift=9.0)

    assert not is_due(replace(young, diagnosis=Diagnosis(cause=cause)), POLICY).due


def test_wear_holds_the_schedule_for_a_while() -> None:
    """A fault of a sensor does not: the pipeline leaves that sensor out."""
    worn = replace(OLD, diagnosis=Diagnosis(cause=Cause.WEAR))

    assert not is_due(worn, POLICY).due
    assert is_due(replace(worn, since_training_s=3 * 3600), POLICY).due
    assert is_due(replace(OLD, diagnosis=Diagnosis(cause=Cause.SENSOR_FAULT)), POLICY).due


def test_people_are_heard() -> None:
    """Labels of people ask for a training before its time."""
    young = replace(OLD, since_training_s=1000, since_attempt_s=1000)

    assert is_due(replace(young, feedback=3), POLICY).reason.startswith("people gave 3 labels")
    assert not is_due(replace(young, feedback=2), POLICY).due
