"""Pictures and the card of a model, drawn from real replays."""

from dataclasses import replace

import numpy as np
import pytest

from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.replay import ReplayResult, evaluate
from tests.unit.learning_samples import START_US, healthy, machine_class
from tuning import card, plots
from tuning.challenger import Challenger
from tuning.objective import FAILED, Outcome, TrialRecord
from tuning.promotion import Replayed

HISTORIES = [healthy(seed, rows=600) for seed in range(3)]


@pytest.fixture(scope="module")
def judged() -> tuple[Pipeline, ReplayResult]:
    """Return a pipeline and its replay."""
    spec = PipelineSpec(window_s=20)
    return evaluate(spec, HISTORIES, machine_class(), seed=0)


def trial(spec: PipelineSpec | None, objective: float, stage: str = "screen") -> TrialRecord:
    """Return a trial that ended so."""
    outcome = Outcome(metrics={"objective": objective}, seconds=1.0)
    return TrialRecord(
        number=0, stage="screen" if stage == "screen" else "confirm", spec=spec, outcome=outcome
    )


def is_picture(blob: bytes) -> bool:
    """Tell whether it is a PNG with something in it."""
    return blob.startswith(b"\x89PNG") and len(blob) > 5000


def test_a_model_is_drawn(judged: tuple[Pipeline, ReplayResult]) -> None:
    """Timeline, contributions, curve and histogram are pictures."""
    pipeline, result = judged
    scores = (result.healthy_scores, result.faulty_scores)

    assert is_picture(plots.timeline(pipeline, HISTORIES[0], seed=0, title="t"))
    assert is_picture(plots.contribution_bars(pipeline, HISTORIES[0], seed=0, title="t"))
    assert is_picture(plots.replay_roc(*scores, "t"))
    assert is_picture(plots.score_histogram(*scores, "t"))


def test_the_fault_drawn_shows_in_the_picture(judged: tuple[Pipeline, ReplayResult]) -> None:
    """Another fault is another picture; the same one is the same picture."""
    pipeline, _ = judged

    first, again, other = (
        plots.contribution_bars(pipeline, HISTORIES[0], seed=seed, title="t") for seed in (0, 0, 1)
    )

    assert first == again
    assert first != other


def test_what_was_tried_is_drawn_with_what_failed_left_out() -> None:
    """A configuration that could not be judged has no place on the axis of objectives."""
    tried = [
        trial(PipelineSpec(window_s=window, detector=detector), objective)
        for window, detector, objective in ((10, "pca", 0.4), (60, "gmm", 0.7), (30, "lof", 0.5))
    ]
    failed = [trial(None, FAILED), trial(PipelineSpec(), FAILED), trial(PipelineSpec(), 9, "last")]

    drawn = plots.parallel_coordinates([*tried, *failed], "t")

    assert is_picture(drawn)
    assert drawn == plots.parallel_coordinates(tried, "t")
    assert is_picture(plots.parallel_coordinates(tried[:1], "t"))


def test_the_card_tells_period_sensors_threshold_and_limits(
    judged: tuple[Pipeline, ReplayResult],
) -> None:
    """Whoever is asked to trust a model finds what it rests on, with intervals."""
    pipeline, result = judged
    challenger = Challenger(
        trial=trial(pipeline.spec, result.objective),
        judged=pipeline,
        replays=(result, evaluate(pipeline.spec, HISTORIES, machine_class(), seed=1)[1]),
        serving=pipeline,
    )
    replayed = Replayed(name="toy 3", objectives=(0.6, 0.7), detection=0.8, false_alarm_rate=0.01)

    text = card.model_card(pipeline, replayed, challenger.spreads, "the first").decode()

    low, high = sorted(one.detection for one in challenger.replays)
    assert f"| detection | {np.mean([low, high]):.4g} | {low:.4g} to {high:.4g} |" in text
    for wanted in ("2023-11-14", "s0, s1, s2, s3", "1.33 times the 0.999", "## Limits", "0.600 to"):
        assert wanted in text
    assert "Left out as unusual**: nothing" in text
    assert "what lasts for 60 readings alarms from 0.75 of it on" in text
    assert "when that is back below" in text
    assert "change of regime" not in text
    assert challenger.figures["detection"] == pytest.approx(np.mean([low, high]))


def test_the_card_names_what_stood_too_far_out_to_be_learnt_from(
    judged: tuple[Pipeline, ReplayResult],
) -> None:
    """Whoever knows the machine can say whether that was a failure."""
    found = [{"machine": "m1", "from_us": START_US, "to_us": START_US + 1_000_000, "rows": 2}]
    pipeline = replace(judged[0], about={**judged[0].about, "unusual": found})
    replayed = Replayed(name="toy 3", objectives=(0.6, 0.7), detection=0.8, false_alarm_rate=0.01)

    lasting = replace(pipeline.lasting, settling_rows=5, settling=0.8, third=0.0)
    text = card.model_card(replace(pipeline, lasting=lasting), replayed, {}, "the first").decode()

    assert "newest third" not in text
    assert "the first 5 readings after a change of regime alarm from 1.25 times it on" in text
    assert "unusual**: 2 readings: m1 2023-11-14T22:13:20.000000Z to 2023-" in text
