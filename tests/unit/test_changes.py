"""Changes are told when a machine begins to move and when it has settled, and not in between."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.changes import ChangeModel, contrasts, turns
from domain.features.kinds import HALF, LEVEL, SIXTH, SPREAD, THIRD
from domain.hysteresis import STAY
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.scores import Scores
from tests.unit.learning_samples import healthy, history, machine_class

SPEC = PipelineSpec(window_s=30, baseline_s=300, recover_s=30)
ROWS, ONSET, REPAIR = 900, 300, 600


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Learnt from three machines."""
    past = [healthy(seed, rows=1500) for seed in (1, 2, 3)]
    return Pipeline.fit(SPEC, past, machine_class(), seed=0)


def _changes(pipeline: Pipeline) -> ChangeModel:
    assert pipeline.changes is not None
    return pipeline.changes


def _scored(pipeline: Pipeline, lived: History) -> Scores:
    state = pipeline.new_state("m1")
    return pipeline.score(state, lived.instants_us, lived.values)


def _told(pipeline: Pipeline, lived: History) -> list[int]:
    score = _changes(pipeline).score(_scored(pipeline, lived).measured)
    return np.flatnonzero(turns(score)[0]).tolist()


def test_a_fault_that_stays_is_two_changes_and_its_repair_two_more(pipeline: Pipeline) -> None:
    """Begins and settles, each within a window; while the fault holds still nothing is told."""
    lived = healthy(1, rows=ROWS)
    lived.values[ONSET:REPAIR, 1] += 12.0

    begins, settled, leaves, back = _told(pipeline, lived)

    assert ONSET <= begins <= ONSET + 10
    assert begins < settled <= ONSET + 40
    assert REPAIR <= leaves <= REPAIR + 10
    assert leaves < back <= REPAIR + 40


def test_a_verdict_lasts_where_a_change_is_over(pipeline: Pipeline) -> None:
    """Between both changes of a fault the machine is ill and does not move."""
    lived = healthy(1, rows=ROWS)
    lived.values[ONSET:REPAIR, 1] += 12.0
    scores = _scored(pipeline, lived)
    held = slice(ONSET + 60, REPAIR)

    assert (scores.score[held] > 1).all()
    assert (_changes(pipeline).score(scores.measured)[held] < 1).all()


@pytest.mark.parametrize("drift", [0.0, 0.004])
def test_health_and_slow_drift_are_no_change(pipeline: Pipeline, drift: float) -> None:
    """A sensor that drifts by three deviations in a quarter of an hour moves by little a window."""
    lived = healthy(7, rows=ROWS)
    lived.values[:, 2] += drift * np.arange(ROWS)

    assert _told(pipeline, history("m1", lived.values)) == []


def test_a_movement_over_several_sensors_and_in_several_directions_is_one_question(
    pipeline: Pipeline,
) -> None:
    """What is small in each sensor but against the way in which they move together is seen."""
    lived = healthy(1, rows=ROWS)
    lived.values[ONSET:, :2] += (4.0, -4.0)

    assert _told(pipeline, lived)[0] <= ONSET + 20


def test_an_absent_sensor_stands_still(pipeline: Pipeline) -> None:
    """Nothing is known of it, so it is no change; the scores stay numbers."""
    lived = healthy(1, rows=ROWS)
    lived.values[ONSET:, 1] = np.nan

    assert np.isfinite(_changes(pipeline).score(_scored(pipeline, lived).measured)).all()
    assert _told(pipeline, lived) == []


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 299), max_size=8), seed=st.integers(0, 1000))
def test_any_split_into_calls_tells_the_same(
    pipeline: Pipeline, cuts: list[int], seed: int
) -> None:
    """Row by row, in pieces or in bulk: scores to the last bit, and the same changes."""
    lived = healthy(seed, rows=300)
    lived.values[100:200, 0] += 10.0
    whole = _changes(pipeline).score(_scored(pipeline, lived).measured)
    state, moving = pipeline.new_state("m1"), False
    scores, told = [], []
    edges = [0, *sorted(set(cuts)), 300]
    for first, end in pairwise(edges):
        part = pipeline.score(state, lived.instants_us[first:end], lived.values[first:end])
        scores.append(_changes(pipeline).score(part.measured))
        flags, moving = turns(scores[-1], moving=moving)
        told.append(flags)

    assert np.array_equal(np.concatenate(scores), whole)
    assert np.array_equal(np.concatenate(told), turns(whole)[0])


def test_one_reading_of_each_machine_moves_as_one_machine_does(pipeline: Pipeline) -> None:
    """`score_each` hands over the same features."""
    lives = [healthy(seed, rows=1) for seed in (1, 2)]
    states = [pipeline.new_state("m1") for _ in lives]
    values = np.concatenate([one.values for one in lives])
    at = np.concatenate([one.instants_us for one in lives])

    each = _changes(pipeline).score(pipeline.score_each(states, at, values).measured)

    alone = [_changes(pipeline).score(_scored(pipeline, one).measured)[0] for one in lives]
    assert each.tolist() == alone


def test_a_movement_goes_on_until_it_is_well_below_one() -> None:
    """Hysteresis: what flickers around 1 is told once."""
    scores = np.array([0.2, 1.1, 0.9, 1.2, STAY, STAY - 0.01, 0.9, 1.1])

    told, moving = turns(scores)

    assert np.flatnonzero(told).tolist() == [1, 5, 7]
    assert moving
    none, still_moving = turns(np.empty(0), moving=True)
    assert (len(none), still_moving) == (0, True)


def test_contrasts_are_the_newest_parts_less_the_whole() -> None:
    """Of every part and sensor; other kinds are left out."""
    kinds = np.array([LEVEL, SPREAD, SIXTH, HALF])
    measured = np.array([[1.0, 2.0, 9.0, 9.0, 5.0, 5.0, 1.5, np.nan]])

    assert contrasts(measured, kinds) == pytest.approx(
        np.array([[4.0, 3.0, 0.5, np.nan]]), nan_ok=True
    )


def test_features_without_parts_of_a_window_tell_no_change() -> None:
    """There is no model, in the package neither."""
    spec = PipelineSpec(features="gated-window", window_s=30)
    pipeline = Pipeline.fit(spec, [healthy(1)], machine_class(), seed=0)

    assert pipeline.changes is None
    assert Pipeline.from_package(pipeline.to_package()).changes is None


def test_sensors_that_never_spoke_or_never_moved_are_no_obstacle() -> None:
    """Nothing is known of how they move: they stand still, and the others are judged."""
    past = healthy(1, rows=1500)
    past.values[:, 3], past.values[:, 2] = np.nan, 7.0
    pipeline = Pipeline.fit(SPEC, [past], machine_class(), seed=0)
    lived = healthy(1, rows=ROWS)
    lived.values[:, 3], lived.values[:, 2] = np.nan, 7.0
    lived.values[ONSET:, 1] += 12.0

    assert ONSET <= _told(pipeline, lived)[0] <= ONSET + 10


def test_a_package_carries_it(pipeline: Pipeline) -> None:
    """The restored model gives the very same scores."""
    lived = healthy(1, rows=ROWS)
    lived.values[ONSET:, 1] += 12.0
    restored = Pipeline.from_package(pipeline.to_package())

    kinds = _changes(restored).kinds
    assert kinds.tolist() == [LEVEL, HALF, THIRD, SIXTH]
    measured = _scored(pipeline, lived).measured
    assert np.array_equal(_changes(restored).score(measured), _changes(pipeline).score(measured))
