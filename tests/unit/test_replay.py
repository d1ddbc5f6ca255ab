"""The objective that needs no labels."""

from dataclasses import replace

import numpy as np
import pytest

from domain.laid_faults import (
    DEFAULT_RULES,
    MIN_HELD_OUT,
    ReplayRules,
    lay_fault,
    short_term_sd,
)
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.replay import evaluate, partial_auc, replay_score
from tests.unit.learning_samples import healthy, machine_class

HISTORIES = tuple(healthy(seed) for seed in range(4))
SPEC = PipelineSpec(window_s=30, baseline_s=300, quantile=0.99)


def test_a_pipeline_that_sees_more_has_the_better_objective() -> None:
    """Windows beat single readings at subtle sustained faults."""
    _, good = evaluate(SPEC, HISTORIES, machine_class(), seed=0)
    _, poor = evaluate(
        replace(SPEC, features="level", window_s=1.0), HISTORIES, machine_class(), seed=0
    )

    assert good.objective > poor.objective + 0.05
    assert good.auc > poor.auc


def test_larger_faults_are_detected_more_often() -> None:
    """Detection grows with size; the false-alarm rate does not know of it."""
    pipeline, small = evaluate(
        SPEC, HISTORIES, machine_class(), seed=1, rules=ReplayRules(low_sd=0.1, high_sd=0.2)
    )
    large = replay_score(pipeline, HISTORIES, seed=1, rules=ReplayRules(low_sd=9.0, high_sd=10.0))

    assert small.detection < 0.3
    assert large.detection > 0.8
    assert large.episodes_detected == 1
    assert small.false_alarm_rate == large.false_alarm_rate


def test_equal_seeds_lay_equal_faults() -> None:
    """Champion and challenger can be compared on the same replay."""
    pipeline, first = evaluate(SPEC, HISTORIES, machine_class(), seed=3)

    assert replay_score(pipeline, HISTORIES, seed=3) == replace(first)
    assert replay_score(pipeline, HISTORIES, seed=4).faulty_scores != first.faulty_scores


def test_false_alarms_above_the_cap_cost() -> None:
    """A pipeline that always alarms detects all and gains nothing."""
    pipeline, honest = evaluate(SPEC, HISTORIES, machine_class(), seed=0)
    nervous = replace(pipeline, threshold=1e-6)

    always = replay_score(nervous, HISTORIES, seed=0)

    assert (always.detection, always.false_alarm_rate) == (1.0, 1.0)
    assert always.objective == pytest.approx((always.auc + 1) / 2 - 1 + DEFAULT_RULES.far_cap)
    assert always.objective < honest.objective


def test_cluster_indices_are_reported_where_there_are_clusters() -> None:
    """One centre has no silhouette; what is not a number is not among the metrics."""
    _, one = evaluate(SPEC, HISTORIES, machine_class(), seed=0)
    _, many = evaluate(
        replace(SPEC, detector="kmeans", clusters=4), HISTORIES, machine_class(), seed=0
    )

    assert "silhouette" not in one.metrics()
    assert -1 <= many.metrics()["silhouette"] <= 1
    assert many.metrics()["davies_bouldin"] > 0
    assert one.metrics()["objective"] == one.objective


def test_histories_too_short_to_hold_out_give_the_worst_answer() -> None:
    """Nothing replayed is no detection, not a perfect score."""
    pipeline = Pipeline.fit(SPEC, HISTORIES, machine_class(), seed=0)

    result = replay_score(pipeline, [healthy(1, rows=60)], seed=0)

    assert (result.detection, result.auc, result.objective) == (0.0, 0.5, 0.25)


def test_a_fault_is_sustained_subtle_and_in_few_sensors() -> None:
    """It touches one to three sensors by 1 to 4 short-term deviations until the end."""
    values, rng = HISTORIES[0].values[: 4 * MIN_HELD_OUT], np.random.default_rng(0)
    sd = short_term_sd(values)

    for _ in range(50):
        onset, faulty = lay_fault(values, rng)
        moved = np.abs(faulty - values) / sd
        touched = moved[-1] > 0
        assert 1 <= touched.sum() <= 3
        assert (moved[onset:, touched] > 0.99).all()
        assert moved.max() < 4.01
        assert not moved[: len(values) // 8].any()


def test_a_sensor_alone_has_faults_that_leave_its_own_wandering() -> None:
    """No other sensor tells its slow course from a fault, so short-term noise is no size for it."""
    rng = np.random.default_rng(0)
    wandering = 10 * np.sin(np.arange(400) / 50)[:, None] + rng.normal(0, 0.1, (400, 1))
    noise, whole = short_term_sd(wandering)[0], wandering.std()

    sizes = []
    for _ in range(50):
        onset, faulty = lay_fault(wandering, rng)
        sizes.append(np.abs(faulty - wandering)[onset:].min())

    assert 3 * noise < whole
    assert min(sizes) > 0.99 * whole
    assert max(sizes) < 4.01 * whole


@pytest.mark.parametrize(("machines", "each"), [(0, 18), (1, 18), (2, 9), (5, 4), (6, 3), (50, 3)])
def test_few_machines_get_more_faults_each(machines: int, each: int) -> None:
    """A judgement by three faults would be a lottery."""
    assert ReplayRules().episodes_of(machines) == each


def test_a_machine_alone_is_replayed_with_as_many_faults_as_a_small_fleet() -> None:
    """Every fault that is laid is judged."""
    one = HISTORIES[:1]
    pipeline, many = evaluate(SPEC, one, machine_class(), seed=0)
    few = replay_score(pipeline, one, seed=0, rules=ReplayRules(least_episodes=0))

    held_out = len(few.healthy_scores)
    assert len(many.healthy_scores) == held_out
    # At most 2,000 scores are kept for pictures, every so many of them.
    assert len(few.faulty_scores) <= 3 * held_out < len(many.faulty_scores)
    assert many.false_alarm_rate == few.false_alarm_rate


def test_short_term_deviations_survive_holes_and_steps() -> None:
    """Missing values and sensors that mostly stand still have a size for their faults."""
    values = HISTORIES[0].values.copy()
    values[::9, 0] = np.nan
    values[:, 1] = np.repeat([0.0, 5.0, 0.0], 300)

    sd = short_term_sd(values)

    assert sd[0] == pytest.approx(short_term_sd(HISTORIES[0].values)[0], rel=0.2)
    assert sd[1] == pytest.approx(0.2 * values[:, 1].std())


def test_partial_auc_knows_perfection_and_chance() -> None:
    """Separated scores give 1, equal ones one half."""
    low, high = np.linspace(0, 1, 500), np.linspace(2, 3, 500)

    assert partial_auc(low, high, fpr=0.2) == pytest.approx(1.0)
    assert partial_auc(low, low, fpr=0.2) == pytest.approx(0.5, abs=0.01)
    assert partial_auc(high, low, fpr=0.2) < 0.5
    assert partial_auc(np.zeros(5), np.zeros(5), fpr=0.2) == pytest.approx(0.5)
    assert partial_auc(low, np.zeros(0), fpr=0.2) == 0.5
