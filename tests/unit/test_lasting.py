"""What stays high for long counts without the margin; what comes and goes does not."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.detectors.ensemble import Ensemble
from domain.lasting import NEVER, Lasting, new_memory, settling
from domain.newest import third_of
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.pipeline_training import fit_detector
from domain.readings import History, Vector
from domain.scores import Scores
from ray_app.beginnings import look_back
from tests.unit.learning_samples import healthy, machine_class

LASTING = Lasting(rows=5, limit=0.75)
SPEC = PipelineSpec(window_s=20, baseline_s=200, recover_s=20)
SURE = np.ones(100, dtype=np.bool_)
ONE = np.zeros(100, dtype=np.int64)
MILD = replace(LASTING, settling_rows=3, settling=0.5)


def _judged(
    scores: Vector,
    ready: np.ndarray | None = None,
    lasting: Lasting = LASTING,
    regimes: np.ndarray | None = None,
) -> Vector:
    sure = SURE[: len(scores)] if ready is None else ready
    where = ONE[: len(scores)] if regimes is None else regimes
    return lasting.judged([new_memory()], np.array([len(scores)]), scores, sure, where)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Learnt from three machines."""
    past = [healthy(seed, rows=900) for seed in (1, 2, 3)]
    return Pipeline.fit(SPEC, past, machine_class(), seed=0)


def test_an_excursion_counts_from_the_reading_on_at_which_it_lasted() -> None:
    """Four readings above the limit are nothing, the fifth and later ones are."""
    found = _judged(np.full(8, 0.9))

    assert found[:4].tolist() == [0.9] * 4
    assert found[4:].tolist() == pytest.approx([0.9 / 0.75] * 4)


def test_one_reading_below_the_limit_begins_anew() -> None:
    """What comes and goes wanders, however high it is in between."""
    scores = np.tile([0.99, 0.99, 0.99, 0.99, 0.7], 10)

    assert _judged(scores).tolist() == scores.tolist()


def test_a_guess_ends_an_excursion() -> None:
    """While a window fills its score says nothing of how long the machine stands high."""
    ready = SURE[:8].copy()
    ready[3] = False

    assert _judged(np.full(8, 0.9), ready).tolist()[:-1] == [0.9] * 7


def test_a_machine_on_its_way_back_has_its_margin_again() -> None:
    """After a fault that scored 5 the window's memory of it is no fault of its own."""
    scores = np.concatenate([np.full(6, 5.0), np.linspace(3.4, 0.8, 10)])

    assert (_judged(scores)[6:] == scores[6:]).all()


def test_a_fault_that_flickers_at_the_threshold_is_told_through() -> None:
    """Slightly below the threshold after slightly above it is still no health."""
    found = _judged(np.tile([1.1, 0.85], 10))

    assert (found[5:] > 1).all()


def test_the_first_readings_after_a_change_of_regime_are_judged_mildly() -> None:
    """Three of them; where the machine was before its first reading nobody knows."""
    regimes = np.array([0, 0, 1, 1, 1, 1, 1, 0, 1, 1])
    found = _judged(np.full(10, 0.7), lasting=MILD, regimes=regimes)

    assert found.tolist() == [0.7, 0.7, 0.35, 0.35, 0.35, 0.7, 0.7, 0.35, 0.35, 0.35]


def _judged_with(scores: Sequence[float], third: Sequence[float]) -> list[float]:
    size = len(scores)
    ends, whole = np.array([size]), np.array(scores)
    found = LASTING.judged([new_memory()], ends, whole, SURE[:size], ONE[:size], np.array(third))
    return [round(one, 9) for one in found.tolist()]


def test_what_is_over_is_judged_by_the_newest_third_of_the_window() -> None:
    """Until the window holds nothing older; what is high then is a level, not a memory."""
    found = _judged_with([3.0] * 9, [2.0, 2.0, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5])

    assert found == [3.0, 3.0, 0.7, 0.6, 0.5, 0.5, 0.5, 4.0, 4.0]  # it has lasted meanwhile


def test_a_third_that_was_never_clearly_anomalous_says_nothing_of_the_end() -> None:
    """A faint fault stands out of the whole window, and of its third hardly."""
    assert _judged_with([1.1] * 4, [0.9, 0.7, 0.6, 0.9]) == [1.1] * 4
    assert _judged_with([2.0] * 4, [1.3, 0.7, 0.6, 0.9]) == [2.0] * 4


def test_a_third_between_limit_and_threshold_is_not_over() -> None:
    """It has to fall as low as health went while it was learnt."""
    assert _judged_with([3.0] * 3, [2.0, 0.8, 0.9]) == [3.0] * 3


def test_a_fault_that_comes_back_is_told_at_once() -> None:
    """And what is over a second time is judged by the newest third a second time."""
    found = _judged_with([3.0] * 6, [2.0, 0.5, 1.4, 0.9, 0.6, 0.6])

    assert found == [3.0, 0.5, 3.0, 3.0, 0.6, 0.6]


def test_a_window_that_was_low_meanwhile_begins_anew() -> None:
    """What the third saw before belongs to another excursion."""
    assert _judged_with([3.0, 0.5, 3.0], [2.0, 0.5, 0.5]) == [3.0, 0.5, 3.0]


def test_what_begins_is_told_by_the_newest_third_of_a_high_window() -> None:
    """As high as the third itself is; below the limit nobody is asked."""
    assert _judged_with([0.7, 0.8, 0.9], [1.5, 1.1, 1.3]) == [0.7, 1.1, 1.3]
    assert _judged_with([0.8, 0.9, 1.4], [0.9, 0.99, 1.2]) == [0.8, 0.9, 1.4]


@given(
    readings=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=60),
    cut=st.integers(0, 60),
)
def test_the_newest_third_says_the_same_in_any_split(
    readings: list[tuple[float, float]], cut: int
) -> None:
    """And no score lies outside what the window and its third say."""
    whole, third = (np.array(column) for column in zip(*readings, strict=True))
    memory, parts = new_memory(), []
    for rows in (slice(cut), slice(cut, None)):
        size = len(whole[rows])
        ends = np.array([size])
        sure, where = SURE[:size], ONE[:size]
        parts.append(LASTING.judged([memory], ends, whole[rows], sure, where, third[rows]))

    bulk = np.array(_judged_with(whole.tolist(), third.tolist()))
    assert np.concatenate(parts).tolist() == pytest.approx(bulk.tolist(), abs=1e-9)
    assert (bulk >= np.minimum(whole, third) - 1e-9).all()
    assert (bulk <= np.maximum(whole / LASTING.limit, third) + 1e-9).all()


@given(
    readings=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2)), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
)
def test_any_split_gives_the_same_scores_lower_ones_only_after_a_change(
    readings: list[tuple[float, int]], cuts: list[int]
) -> None:
    """In bulk, reading by reading and beside another machine."""
    whole = np.array([score for score, _ in readings])
    regimes = np.array([regime for _, regime in readings])
    bulk = _judged(whole, lasting=MILD, regimes=regimes)
    own, other = new_memory(), new_memory()
    parts = []
    for first, end in pairwise(sorted({0, len(whole), *(min(one, len(whole)) for one in cuts)})):
        both = np.concatenate([np.full(3, 2.0), whole[first:end]])
        where = np.concatenate([ONE[:3], regimes[first:end]])
        ends = np.array([3, len(both)])
        parts.append(MILD.judged([other, own], ends, both, SURE[: len(both)], where)[3:])

    assert np.concatenate(parts).tolist() == bulk.tolist()
    changed = settling(regimes, MILD.settling_rows)
    assert (bulk[~changed] >= whole[~changed]).all()
    assert (bulk[changed] >= MILD.settling * whole[changed]).all()


def test_health_ends_by_the_readings_between_changes_of_regime() -> None:
    """What is far from health only while regimes change raises no threshold but that of changes."""
    rng, regimes = np.random.default_rng(5), (np.arange(6000) // 100) % 2
    changed = settling(regimes, 5)
    rows = rng.normal(size=(6000, 4))
    restless = np.where(changed[:, None], 3.0, 1.0) * rows
    spec = replace(SPEC, detector="mahalanobis", clusters=1, trim=0.0)
    usual = fit_detector(spec, [rows], [regimes], 0, period_s=1.0)
    found = fit_detector(spec, [restless], [regimes], 0, period_s=1.0)

    assert usual[2].settling > 0.8
    assert found[2].settling_rows == 5
    assert found[2].settling == pytest.approx(1 / 3, rel=0.2)
    # In units of what it was fitted to, a twentieth of which is three times as wide.
    assert found[1] == pytest.approx(usual[1] / np.sqrt(1 + 0.05 * 8), rel=0.1)


def test_the_limit_is_the_threshold_without_its_margin(pipeline: Pipeline) -> None:
    """However much margin there is, what lasts has none; a return level may lie below already."""
    past = [healthy(seed, rows=900) for seed in (1, 2, 3)]
    wide = Pipeline.fit(replace(SPEC, margin=2.0), past, machine_class(), seed=0)
    often = replace(SPEC, threshold="evt", return_s=1.0)
    slow = Pipeline.fit(replace(SPEC, recover_s=50), past, machine_class(), seed=0)
    low = Pipeline.fit(often, past, machine_class(), seed=0)

    assert pipeline.lasting.rows == 20
    assert slow.lasting.rows == 50
    assert pipeline.lasting.limit == pytest.approx(0.75)
    assert wide.lasting.limit * wide.threshold == pytest.approx(0.75 * pipeline.threshold)
    assert low.lasting.limit == 1


def test_a_machine_that_hardly_settles_has_one_limit() -> None:
    """Where regimes change every other reading, the readings between would be too few to say."""
    rows = np.random.default_rng(5).normal(size=(3000, 4))
    flickering = (np.arange(3000) // 2) % 2
    spec = replace(SPEC, detector="mahalanobis", clusters=1)
    found = fit_detector(spec, [rows], [flickering], 0, period_s=1.0)
    calm = fit_detector(spec, [rows], [np.zeros_like(flickering)], 0, period_s=1.0)

    assert found[1] == calm[1]
    assert found[2].settling == 1


def _faint(seed: int, *, by: float) -> History:
    lived = healthy(seed, rows=500)
    lived.values[200:400, 1] += by
    return lived


def _scored(pipeline: Pipeline, lived: History) -> Scores:
    return pipeline.score(pipeline.new_state(lived.machine), lived.instants_us, lived.values)


def _weakest_lasting(pipeline: Pipeline) -> float:
    """Return a fault that the threshold alone hardly sees and that lasts."""
    plain = replace(pipeline, lasting=NEVER)
    for by in (0.25 * at for at in range(4, 32)):
        told = _scored(plain, _faint(1, by=by)).score[200:400] > 1
        if told.any():
            return by - 0.25
    raise AssertionError("no fault of up to 8 is told")


def test_a_faint_fault_that_lasts_is_told(pipeline: Pipeline) -> None:
    """One below what the threshold sees at all; its contributions still make up the score."""
    lived = _faint(1, by=_weakest_lasting(pipeline))
    found = _scored(pipeline, lived)

    assert not (_scored(replace(pipeline, lasting=NEVER), lived).score > 1).any()
    assert (found.score[200:400] > 1).any()
    assert np.allclose(found.contributions.sum(axis=1), found.score)
    assert not (_scored(pipeline, healthy(1, rows=500)).score > 1).any()


def test_a_copy_of_a_state_goes_its_own_way(pipeline: Pipeline) -> None:
    """A question over HTTP must not lengthen an excursion on the stream."""
    lived = _faint(1, by=6.0)
    state = pipeline.new_state("m1")
    pipeline.score(state, lived.instants_us[:230], lived.values[:230])
    before = state.excursion.copy()

    pipeline.score(state.copy(), lived.instants_us[230:], lived.values[230:])

    assert before.tolist() == state.excursion.tolist()
    assert before[0] > 0


def test_a_word_of_a_repair_ends_an_excursion(pipeline: Pipeline) -> None:
    """From there on nothing is told until the level is known, and then from nothing."""
    lived = _faint(1, by=6.0)
    state = pipeline.new_state("m1")
    anew = np.zeros(230, dtype=np.bool_)
    anew[-1] = True
    pipeline.score(state, lived.instants_us[:230], lived.values[:230], anew=anew)

    assert state.excursion[:2].tolist() == [0.0, 0.0]


def test_a_package_keeps_the_limit_and_an_old_one_has_none(pipeline: Pipeline) -> None:
    """Models of before mean what they meant."""
    assert Pipeline.from_package(pipeline.to_package()).lasting == pipeline.lasting
    old = replace(pipeline, lasting=NEVER)
    lived = _faint(1, by=4.0)
    plain = old.detector.score(
        old.front.transform(old.new_state("m1").features, lived.instants_us, lived.values).features
    )
    assert _scored(old, lived).score.tolist() == pytest.approx((plain / old.threshold).tolist())


def test_a_fault_that_ends_is_told_no_longer_than_a_third_of_a_window(pipeline: Pipeline) -> None:
    """Nothing of the fault itself is lost by it, and every score is shared out among sensors."""
    lived = _faint(1, by=40.0)
    found = _scored(pipeline, lived)
    plain = _scored(replace(pipeline, lasting=replace(pipeline.lasting, third=0.0)), lived)

    assert (found.score[210:400] > 1).all()
    assert (found.score[:400] >= plain.score[:400]).all()
    told, before = (np.flatnonzero(one.score > 1)[-1] for one in (found, plain))
    assert told < 400 + 20 / 3 + 1
    assert before > 400 + 20 / 2
    assert np.allclose(found.contributions.sum(axis=1), found.score)


def test_a_fault_that_begins_is_told_sooner(pipeline: Pipeline) -> None:
    """By readings in which it fills a good part of the newest third, not of the window."""
    plain = replace(pipeline, lasting=replace(pipeline.lasting, third=0.0))
    for by in (6.0, 8.0, 12.0, 40.0):
        lived = _faint(1, by=by)
        told, before = (
            np.flatnonzero(_scored(one, lived).score > 1)[0] for one in (pipeline, plain)
        )
        assert 200 <= told <= before


def test_only_detectors_of_each_length_know_the_newest_third(pipeline: Pipeline) -> None:
    """One window has none, nor has a detector that looks at all lengths at once."""
    past = [healthy(seed, rows=900) for seed in (1, 2, 3)]
    for other in (
        replace(SPEC, features="gated", detector="pca"),
        replace(SPEC, features="gated", detector="ensemble"),
        replace(SPEC, detector="pca"),
    ):
        assert Pipeline.fit(other, past, machine_class(), seed=0).lasting.third == 0
    families = Pipeline.fit(replace(SPEC, detector="ensemble"), past, machine_class(), seed=0)
    third = third_of(families.detector, "gated-scales")

    assert isinstance(third, Ensemble)
    assert [one.first for one in third.members] == [8, 8, 8]
    assert families.lasting.third > 0.8
    assert pipeline.lasting.third > 0.8


def test_who_begins_again_looks_back_beyond_an_excursion(pipeline: Pipeline) -> None:
    """Past readings are judged only once they are ready, and an excursion counts from there."""
    slow = replace(pipeline, spec=replace(SPEC, baseline_s=1.0))

    assert look_back(slow) >= slow.warmup_rows + slow.lasting.rows
