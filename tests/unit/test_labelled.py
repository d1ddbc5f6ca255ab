"""The second objective: failures met and alarms not raised again, on pieces of history."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from domain.labelled import LabelResult, Piece, judge_labelled
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from tests.unit.learning_samples import healthy, history, machine_class

SPEC = PipelineSpec(features="gated", detector="pca", window_s=20.0, regimes=1)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Return a pipeline that learnt one healthy machine."""
    return Pipeline.fit(SPEC, [healthy(1)], machine_class(), seed=0)


def piece(shift: float, *, failure: bool, rows: int = 600, onset: int = 400) -> Piece:
    """Return a machine that learnt nothing, with a shift of one sensor from an onset on."""
    whole = healthy(1, rows=rows)
    values = whole.values.copy()
    values[onset:, 1] += shift
    at = np.arange(rows)
    inside = at >= onset
    return Piece(
        history=history(whole.machine, values),
        inside=inside,
        healthy=((at >= onset // 2) & ~inside) | (inside & (not failure)),
        failure=failure,
    )


def test_a_visible_failure_is_met_and_health_is_quiet(pipeline: Pipeline) -> None:
    """Both periods are judged right, and the index is near its best."""
    result = judge_labelled(pipeline, [piece(12, failure=True), piece(0, failure=False)])

    assert result.right == (True, True)
    assert result.recall == 1
    assert result.objective > 0.9
    assert result.sentence() == (
        "meets 1 of 1 labelled failures and keeps quiet at 1 of 1 alarms called false"
    )


def test_what_is_missed_and_what_is_raised_again_costs(pipeline: Pipeline) -> None:
    """An invisible failure is missed; an alarm called false that is raised again is wrong."""
    result = judge_labelled(pipeline, [piece(0, failure=True), piece(12, failure=False)])

    assert result.right == (False, False)
    assert result.objective < 0
    assert result.metrics()["label_recall"] == 0
    assert result.metrics()["label_false_alarm_rate"] > 0.3


def test_a_period_from_before_a_repair_is_judged_by_the_level_of_then(pipeline: Pipeline) -> None:
    """The model knows the machine at its new level; neither period is judged by that one."""
    met, quiet = piece(12, failure=True), piece(0, failure=False)
    before = [
        replace(one, history=history("m1", one.history.values + np.array([0, 0, 9.0, 0])))
        for one in (met, quiet)
    ]
    word = int(met.history.instants_us[0])

    assert judge_labelled(pipeline, before).right == (True, False)
    told = [replace(one, words=(word,)) for one in before]
    assert judge_labelled(pipeline, told).right == (True, True)
    assert judge_labelled(pipeline, told).false_alarm_rate < 0.05


def test_who_always_alarms_gains_nothing() -> None:
    """Youden's index of an alarm that never ends is that of chance."""
    assert LabelResult(right=(True,), failures=(True,), false_alarm_rate=1.0).objective == 0


def test_one_kind_of_judgement_is_enough() -> None:
    """Without failures recall is unknown and stands for nothing; likewise without healthy rows."""
    quiet = LabelResult(right=(True,), failures=(False,), false_alarm_rate=0.25)
    assert isnan(quiet.recall)
    assert quiet.objective == 0.75
    assert "label_recall" not in quiet.metrics()
    assert quiet.sentence() == "keeps quiet at 1 of 1 alarms called false"
    met = LabelResult(right=(True, False), failures=(True, True), false_alarm_rate=float("nan"))
    assert met.objective == 0.5
