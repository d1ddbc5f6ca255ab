"""The gate: what a challenger must show, and what it says when it does not."""

from dataclasses import replace
from math import nan
from typing import Any

import pytest

from tuning.by_labels import Labelled
from tuning.promotion import Gate, Replayed, Shadowed, decide, objection

GATE = Gate(max_false_alarm_rate=0.3, min_detection=0.2, min_gain=0.01, noise_factor=2.0)


def model(name: str, *objectives: float, detection: float = 0.8, far: float = 0.02) -> Replayed:
    """Return a model's replays."""
    return Replayed(name=name, objectives=objectives, detection=detection, false_alarm_rate=far)


def test_the_first_model_that_works_is_promoted() -> None:
    """Without a champion nothing can be compared; the absolute bounds still hold."""
    decision = decide(model("v1", 0.6), None, GATE)

    assert decision.promote
    assert "first model" in decision.reason


@pytest.mark.parametrize(
    ("flawed", "words"),
    [
        (model("v2", 0.9, far=0.31), "v2 alarms on 31.0% of healthy readings, 30% are allowed"),
        (model("v2", 0.9, far=nan), "v2 alarms on"),
        (model("v2", 0.9, detection=0.1), "v2 detects 10% of the injected faults"),
        (model("v2", 0.9, detection=nan), "v2 detects"),
        (model("v2", nan, 0.5), "v2 has no finite objective"),
        (model("v2"), "v2 has no finite objective"),
    ],
)
def test_a_flawed_challenger_is_refused_even_without_a_champion(
    flawed: Replayed, words: str
) -> None:
    """No model is better than one that cries wolf or sleeps."""
    decision = decide(flawed, None, GATE)

    assert not decision.promote
    assert words in decision.reason


def test_a_gain_beyond_noise_is_promoted() -> None:
    """Every replay improved by about the same: the paired gain is clear."""
    decision = decide(model("v2", 0.70, 0.65, 0.75), model("v1", 0.65, 0.61, 0.70), GATE)

    assert decision.promote
    assert "+0.047" in decision.reason


@pytest.mark.parametrize(
    "objectives",
    [(0.655, 0.612, 0.702), (0.90, 0.55, 0.60), (0.65, 0.61, 0.70), (0.5, 0.5, 0.5)],
    ids=["too small", "too noisy", "equal", "worse"],
)
def test_a_gain_within_noise_is_refused(objectives: tuple[float, ...]) -> None:
    """A champion is not replaced by chance: each swap costs trust."""
    decision = decide(model("v2", *objectives), model("v1", 0.65, 0.61, 0.70), GATE)

    assert not decision.promote
    assert "is needed" in decision.reason


def test_a_champion_that_decayed_gives_way_to_a_sound_challenger() -> None:
    """A champion that alarms all the time on fresh healthy data has lost its claim."""
    decision = decide(model("v2", 0.5), model("v1", 0.6, far=0.7), GATE)

    assert decision.promote
    assert "no longer holds: v1 alarms on 70.0%" in decision.reason


def test_why_there_is_no_champion_to_compare_with_is_told() -> None:
    """A champion of other sensors cannot be replayed; the reason says so."""
    decision = decide(model("v2", 0.5), None, GATE, no_champion="the champion knows other sensors")

    assert decision.promote
    assert decision.reason.startswith("the champion knows other sensors")


QUIET = Shadowed(
    name="v2",
    readings=5000,
    machine_days=0.5,
    champion_incidents=3,
    challenger_incidents=3,
    champion_alert_rate=0.01,
    alert_rate=0.01,
    agreement=0.99,
    score_drift=0.0,
)


@pytest.mark.parametrize(
    ("differs", "words"),
    [
        ({"challenger_incidents": 9}, "would have opened 9 incidents in 0.5 machine-days"),
        ({"challenger_incidents": 8}, ""),
        ({"champion_incidents": 0, "challenger_incidents": 2}, ""),
        ({"champion_incidents": 0, "challenger_incidents": 3}, "2 are allowed"),
        ({"alert_rate": 0.4}, "alarms on 40.0% of the live readings"),
        ({"alert_rate": 0.25, "agreement": 0.75}, "agrees with the champion on 75.0%"),
        ({"champion_alert_rate": 0.25, "agreement": 0.75}, ""),
        ({"score_drift": 0.6}, "scores the live readings 0.60 higher"),
        ({"score_drift": -0.6}, ""),
        ({"readings": 100, "alert_rate": 0.9, "challenger_incidents": 50, "score_drift": 3.0}, ""),
    ],
)
def test_a_challengers_time_in_shadow_may_speak_against_it(
    differs: dict[str, Any], words: str
) -> None:
    """Alert volume, agreement and drift beyond chance; a short time says nothing."""
    shadowed = replace(QUIET, **differs)

    told = objection(shadowed, GATE)

    assert words in told
    assert bool(told) == bool(words)
    assert objection(None, GATE) == ""
    decision = decide(model("v3", 0.8, 0.9), model("v1", 0.5, 0.6), GATE, shadowed=shadowed)
    assert decision.promote == (not words)
    assert words in decision.reason


def test_a_calm_time_in_shadow_is_named_and_replaces_no_gain() -> None:
    """Who promotes reads that the configuration was tried; replay still has to be won."""
    better = decide(model("v3", 0.8), model("v1", 0.5), GATE, shadowed=QUIET)
    worse = decide(model("v3", 0.5), model("v1", 0.8), GATE, shadowed=QUIET)

    assert better.promote
    assert not worse.promote
    for one in (better, worse):
        assert "v2 agreed with the champion on 99.0% of 5000 live readings" in one.reason
    assert "shadow" not in decide(model("v3", 0.8), model("v1", 0.5), GATE).reason


def judged(model: Replayed, right: str, objective: float) -> Replayed:
    """Return a model with what labels say of it: `+` for a period it judged right."""
    labels = Labelled(
        right=tuple(one == "+" for one in right),
        objective=objective,
        words=f"is right in {right.count('+')} of {len(right)}",
    )
    return replace(model, labels=labels)


def test_labels_are_told_even_where_they_decide_nothing() -> None:
    """The reason names them beside replay's figures."""
    decision = decide(
        judged(model("v2", 0.7, 0.7), "++-", 0.6), judged(model("v1", 0.6, 0.6), "+++", 0.9), GATE
    )

    assert decision.promote
    assert decision.reason.endswith("; v2 is right in 2 of 3, v1 is right in 3 of 3")


def test_who_loses_what_people_labelled_is_refused_in_spite_of_replay() -> None:
    """More than one judged period is lost, and the champion does better by labels over all."""
    decision = decide(
        judged(model("v2", 0.8, 0.8), "+--", 0.2), judged(model("v1", 0.6, 0.6), "+++", 0.9), GATE
    )

    assert not decision.promote
    assert decision.reason.startswith("labels speak for v1 in 2 periods")


def test_an_alarm_that_never_ends_is_not_kept_by_the_failures_it_met() -> None:
    """It is right in every failure, but its index is that of chance."""
    decision = decide(
        judged(model("v2", 0.6, far=0.01), "+--", 0.3),
        judged(model("v1", 0.6, far=0.9), "+++", 0.1),
        GATE,
    )

    assert decision.promote
    assert "no longer holds" in decision.reason


@pytest.mark.parametrize(
    ("objective", "right", "promoted"),
    [(0.6, "++++++", True), (0.6, "+++---", False), (0.5, "++++++", False)],
)
def test_labels_promote_what_replay_finds_as_good(
    objective: float,
    right: str,
    promoted: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """Beyond chance only, and not where replay finds the challenger worse."""
    decision = decide(
        judged(model("v2", objective), right, 0.9),
        judged(model("v1", 0.6), "--" + "-" * (len(right) - 2), 0.1),
        GATE,
    )

    assert decision.promote is promoted
