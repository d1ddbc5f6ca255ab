"""What a sweep ends in: its best trial, if that is more than luck."""

from dataclasses import replace

import pytest

from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.replay import ReplayResult, evaluate
from tests.unit.learning_samples import healthy, machine_class
from tuning import card
from tuning.challenger import Challenger, settle, to_beat
from tuning.objective import FAILED, Outcome, Stage, TrialRecord
from tuning.promotion import Gate

PLAIN = PipelineSpec()
OTHER = PipelineSpec(features="gated", detector="pca")


@pytest.fixture(scope="module")
def replayed() -> tuple[Pipeline, ReplayResult]:
    """Return any pipeline and a replay of it."""
    return evaluate(
        PipelineSpec(window_s=20),
        [healthy(seed, rows=400) for seed in range(3)],
        machine_class(),
        seed=0,
    )


def _trial(number: int, spec: PipelineSpec | None, stage: Stage, failure: str = "") -> TrialRecord:
    outcome = Outcome(
        metrics={"objective": FAILED if failure else 0.5}, seconds=1.0, failure=failure
    )
    return TrialRecord(number=number, stage=stage, spec=spec, outcome=outcome)


def _challenger(
    replayed: tuple[Pipeline, ReplayResult], spec: PipelineSpec, *objectives: float
) -> Challenger:
    pipeline, result = replayed
    usual = replace(result, detection=0.6, false_alarm_rate=0.01)
    return Challenger(
        trial=_trial(7, spec, "confirm"),
        judged=pipeline,
        replays=tuple(replace(usual, objective=one) for one in objectives),
        serving=replace(pipeline, spec=spec),
    )


def test_the_best_trial_is_taken_where_it_is_clearly_better(
    replayed: tuple[Pipeline, ReplayResult],
) -> None:
    """And the model keeps why."""
    plain = _challenger(replayed, PLAIN, 0.5, 0.6, 0.4)
    found = _challenger(replayed, OTHER, 0.6, 0.7, 0.52)

    made, why = settle(found, plain, Gate())

    assert made.serving.spec == OTHER
    assert why == "trial 7 0.607 against the default 0.500: a gain of +0.107 where 0.013 is needed"
    assert made.serving.about["chosen"] == why
    text = card.model_card(made.serving, made.replayed("fan 1"), made.spreads, "the first").decode()
    assert f"- **Chosen**: {why}" in text


@pytest.mark.parametrize("objectives", [(0.5, 0.6, 0.4), (0.509, 0.6, 0.4), (0.9, 0.3, 0.5)])
def test_the_default_is_taken_where_it_is_as_good(
    replayed: tuple[Pipeline, ReplayResult], objectives: tuple[float, ...]
) -> None:
    """The best of many trials is partly the luckiest."""
    plain = _challenger(replayed, PLAIN, 0.5, 0.6, 0.4)

    made, why = settle(_challenger(replayed, OTHER, *objectives), plain, Gate())

    assert made.serving.spec == PLAIN
    assert why.startswith("the default is taken: trial 7 ")
    assert made.serving.about["chosen"] == why


def test_a_trial_that_alarms_all_the_time_is_not_taken(
    replayed: tuple[Pipeline, ReplayResult],
) -> None:
    """However well it tells faults from health."""
    found = _challenger(replayed, OTHER, 0.9, 0.9, 0.9)
    loud = replace(
        found, replays=tuple(replace(one, false_alarm_rate=0.5) for one in found.replays)
    )

    made, why = settle(loud, _challenger(replayed, PLAIN, 0.5, 0.6, 0.4), Gate())

    assert made.serving.spec == PLAIN
    assert "alarms on 50.0% of healthy readings" in why


def test_what_is_to_beat_is_the_default_among_the_finalists() -> None:
    """A short trial of it says too little, and one that failed nothing."""
    confirmed = _trial(3, PLAIN, "confirm")

    assert (
        to_beat([_trial(0, PLAIN, "screen"), _trial(2, OTHER, "confirm"), confirmed]) == confirmed
    )
    assert to_beat([_trial(0, PLAIN, "screen"), _trial(1, PLAIN, "confirm", "no")]) is None
