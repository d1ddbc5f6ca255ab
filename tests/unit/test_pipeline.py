"""The pipeline as the stream, the sweep and the API use it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadInputError
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.sensor_health import SensorFault
from tests.unit.learning_samples import START_US, healthy, history, machine_class

SPEC = PipelineSpec(features="gated-window", window_s=20, baseline_s=200, recover_s=30)
TRAINED = tuple(healthy(seed, regimes=True) for seed in range(4))


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Return a pipeline of machines with two regimes."""
    return Pipeline.fit(SPEC, TRAINED, machine_class(), seed=0)


@pytest.fixture(scope="module")
def level() -> Pipeline:
    """Return a pipeline of machines with one regime and plain features."""
    spec = PipelineSpec(window_s=20, baseline_s=200, recover_s=30)
    return Pipeline.fit(spec, [healthy(seed) for seed in range(4)], machine_class(), seed=0)


def faulty(given: History, *, at: int, sensor: int, by: float, until: int | None = None) -> History:
    """Return the history with one sensor moved from a row on."""
    values = given.values.copy()
    values[at:until, sensor] += by
    return history(given.machine, values)


@given(cuts=st.lists(st.integers(0, 400), max_size=12), missing=st.booleans())
def test_any_split_into_calls_gives_the_same_numbers(
    pipeline: Pipeline, cuts: list[int], *, missing: bool
) -> None:
    """Row by row, in chunks or in bulk: stream, sweep, backtest and API agree."""
    _assert_splits_agree(pipeline, cuts, missing=missing)


@given(cuts=st.lists(st.integers(0, 400), max_size=12), missing=st.booleans())
def test_any_split_gives_the_same_numbers_at_every_length_of_window(
    level: Pipeline, cuts: list[int], *, missing: bool
) -> None:
    """The means over parts of the window are as incremental as the window's own."""
    _assert_splits_agree(level, cuts, missing=missing)


@pytest.fixture(scope="module", params=["gated-bands", "window-whitened"])
def other(request: pytest.FixtureRequest) -> Pipeline:
    """Return pipelines of the feature sets that keep more than running sums."""
    spec = PipelineSpec(
        features=request.param, detector="pca", window_s=20, baseline_s=200, recover_s=30
    )
    return Pipeline.fit(spec, TRAINED, machine_class(), seed=0)


@given(cuts=st.lists(st.integers(0, 400), max_size=12), missing=st.booleans())
def test_any_split_gives_the_same_spectra_and_whitened_features(
    other: Pipeline, cuts: list[int], *, missing: bool
) -> None:
    """A spectrum that follows its ring, and a product with a matrix, are incremental too."""
    _assert_splits_agree(other, cuts, missing=missing)


def _assert_splits_agree(pipeline: Pipeline, cuts: list[int], *, missing: bool) -> None:
    one = healthy(9, rows=400, regimes=True)
    values, instants = one.values.copy(), one.instants_us.copy()
    instants[250:] += 3_600_000_000  # a gap that empties the window
    if missing:
        values[np.random.default_rng(1).random(values.shape) < 0.2] = np.nan
        values[100:180, 1] = np.nan
    bulk = pipeline.score(pipeline.new_state(), instants, values)
    state, bounds = pipeline.new_state(), [0, *sorted(cuts), 400]

    parts = [pipeline.score(state, instants[a:b], values[a:b]) for a, b in pairwise(bounds)]

    for name in ("score", "contributions", "expected", "ready", "sensor_faults"):
        split = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(split, getattr(bulk, name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", [None, (1, 0, 3, 2, 1, 4)])
def test_many_machines_in_one_call_equal_one_machine_after_the_other(
    level: Pipeline, lengths: tuple[int, ...] | None
) -> None:
    """Machines of other ages, one with a missing and one with a stuck sensor, over some steps."""
    many = [healthy(seed, rows=90) for seed in range(20, 26)]
    many[1].values[60:, 2] = np.nan
    many[2].values[10:, 0] = 7.0
    alone, together = ([level.new_state() for _ in many] for _ in range(2))
    places = [12 * age for age in range(6)]
    for age, states in enumerate(zip(alone, together, strict=True)):
        for state in states:
            part = slice(0, places[age])
            level.score(state, many[age].instants_us[part], many[age].values[part])

    for _ in range(7):
        each = [1] * 6 if lengths is None else lengths
        parts = [slice(first, first + more) for first, more in zip(places, each, strict=True)]
        instants = np.concatenate(
            [one.instants_us[at] for one, at in zip(many, parts, strict=True)]
        )
        values = np.concatenate([one.values[at] for one, at in zip(many, parts, strict=True)])
        given_ = None if lengths is None else np.array(lengths)
        found = level.score_each(together, instants, values, lengths=given_)
        wanted = [
            level.score(state, one.instants_us[at], one.values[at])
            for state, one, at in zip(alone, many, parts, strict=True)
        ]
        for name in ("score", "contributions", "expected", "ready", "sensor_faults"):
            np.testing.assert_allclose(
                getattr(found, name),
                np.concatenate([getattr(one, name) for one in wanted]),
                rtol=1e-9,
                atol=1e-9,
            )
        places = [first + more for first, more in zip(places, each, strict=True)]


def test_readings_that_fit_no_state_are_refused(level: Pipeline, pipeline: Pipeline) -> None:
    """Compiled code reads a state by its address: it must never be one of another size."""
    one = healthy(20, rows=5)
    states = [level.new_state() for _ in range(6)]

    with pytest.raises(ValueError, match="6 states for 5 readings"):
        level.score_each(states, one.instants_us, one.values)
    with pytest.raises(ValueError, match="6 states for 5 readings"):
        level.score_each(states, one.instants_us, one.values, lengths=np.array([9, -4, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match="of another one"):
        level.score(pipeline.new_state(), one.instants_us, one.values)


def test_row_by_row_equals_bulk(pipeline: Pipeline) -> None:
    """The stream's smallest step gives the sweep's numbers."""
    one, state = healthy(8, rows=150, regimes=True), pipeline.new_state("m1")
    bulk = pipeline.score(pipeline.new_state("m1"), one.instants_us, one.values)

    rows = [
        pipeline.score(state, one.instants_us[at : at + 1], one.values[at : at + 1]).score[0]
        for at in range(150)
    ]

    np.testing.assert_allclose(rows, bulk.score, rtol=1e-9)


@pytest.mark.parametrize("detector", ["pca", "gmm", "kmeans", "dbscan"])
def test_contributions_are_parts_of_the_score(detector: str) -> None:
    """They are not negative, and each row sums to its score."""
    fitted = Pipeline.fit(PipelineSpec(detector=detector), TRAINED, machine_class(), seed=0)
    one = faulty(TRAINED[0], at=500, sensor=3, by=9)

    scores = fitted.score(fitted.new_state(), one.instants_us, one.values)

    assert len(scores) == len(one)
    assert (scores.contributions >= 0).all()
    np.testing.assert_allclose(scores.contributions.sum(axis=1), scores.score, rtol=1e-9)


def test_what_is_not_explained_scores_the_same(pipeline: Pipeline) -> None:
    """Contributions are made of the rows asked for only; nothing else depends on it."""
    one, state = healthy(3, rows=90), pipeline.new_state()
    whole = pipeline.score(state.copy(), one.instants_us, one.values)
    last = pipeline.score(state, one.instants_us, one.values, explained=slice(-1, None))

    assert last.contributions.shape == (1, one.values.shape[1])
    assert np.array_equal(last.score, whole.score)
    assert np.allclose(last.contributions[-1], whole.contributions[-1], rtol=1e-12)


def test_healthy_machines_stay_below_one_through_their_regimes(pipeline: Pipeline) -> None:
    """A change of regime is no anomaly, nor is the level of a machine never seen."""
    rates = []
    for seed in range(20, 26):
        one = healthy(seed, regimes=True)
        scores = pipeline.score(pipeline.new_state(), one.instants_us, one.values)
        rates.append((scores.score[scores.ready] > 1).mean())

    assert np.mean(rates) < 0.01


def test_a_sensor_that_leaves_its_level_alarms_and_is_named(level: Pipeline) -> None:
    """The score passes 1 soon, the sensor has the largest part, and what it should be is told."""
    one = faulty(healthy(2, rows=1200), at=900, sensor=1, by=8.0)

    scores = level.score(level.new_state("m2"), one.instants_us, one.values)

    assert (scores.score[930:] > 1).all()
    assert (scores.contributions[930:].argmax(axis=1) == 1).all()
    healthy_level = one.values[:900, 1].mean()
    assert scores.expected[950, 1] == pytest.approx(healthy_level, abs=1.5)


def test_recovery_to_a_new_level_becomes_the_new_health(level: Pipeline) -> None:
    """After a fault a machine may run elsewhere; the alarm ends once that has lasted."""
    one = healthy(2, rows=2400)
    one = faulty(one, at=900, sensor=1, by=20.0, until=1300)
    one = faulty(one, at=1300, sensor=1, by=5.0)

    scores = level.score(level.new_state("m2"), one.instants_us, one.values)

    assert (scores.score[1000:1300] > 1).all()
    assert (scores.score[1500:] > 1).mean() < 0.02


def test_a_slow_recovery_is_followed_home(level: Pipeline) -> None:
    """A baseline that moved half-way while the machine cooled goes on to the healthy level."""
    one = healthy(2, rows=4000)
    values = one.values.copy()
    values[1000:, 1] += 60 * np.exp(-np.arange(3000) / 500)

    scores = level.score(level.new_state("m2"), one.instants_us, values)

    assert (scores.score[1010:1300] > 1).mean() > 0.5
    assert (scores.score[3000:] > 1).mean() < 0.02
    assert abs(scores.expected[-1, 1] - one.values[:, 1].mean()) < 2


def test_a_lasting_fault_does_not_become_health_at_once(level: Pipeline) -> None:
    """The baseline is frozen while the sensor stands where the fault put it."""
    one = faulty(healthy(2, rows=2400), at=900, sensor=1, by=20.0)

    scores = level.score(level.new_state("m2"), one.instants_us, one.values)

    assert (scores.score[950:] > 1).all()


def test_an_absent_sensor_contributes_nothing(pipeline: Pipeline) -> None:
    """It is named as a sensor fault and the rest is judged on."""
    one = healthy(3, regimes=True)
    values = one.values.copy()
    values[400:, 3] = np.nan

    scores = pipeline.score(pipeline.new_state("m3"), one.instants_us, values)

    assert (scores.sensor_faults[420:, 3] == SensorFault.DROPOUT).all()
    assert (scores.contributions[450:, 3] < 0.05).all()
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.expected).all()


def test_a_reading_without_any_value_still_scores(pipeline: Pipeline) -> None:
    """Nothing known gives a finite score, the first reading included."""
    state = pipeline.new_state()

    scores = pipeline.score(state, np.array([START_US]), np.full((1, 4), np.nan))

    assert np.isfinite(scores.score).all()
    np.testing.assert_allclose(scores.contributions.sum(axis=1), scores.score)


def test_a_cold_start_scores_but_is_not_ready(level: Pipeline) -> None:
    """One ordinary row is healthy, one wild row is not, and neither is sure."""
    row = np.full((1, 4), 10.0)

    ordinary = level.score(level.new_state(), np.array([START_US]), row)
    wild = level.score(level.new_state(), np.array([START_US]), row + 500.0)

    assert ordinary.score[0] < 1 < wild.score[0]
    assert not ordinary.ready[0]


def test_a_machine_is_ready_after_the_warm_up(level: Pipeline) -> None:
    """`warmup_rows` says how many readings to replay before the stream."""
    one = healthy(7, rows=level.warmup_rows + 5)

    ready = level.score(level.new_state(), one.instants_us, one.values).ready

    assert not ready[: level.warmup_rows].any()
    assert ready[level.warmup_rows :].all()


def test_a_gap_restarts_the_window(level: Pipeline) -> None:
    """Readings from before a long pause are no longer in the window."""
    one = healthy(7, rows=300)
    instants = one.instants_us.copy()
    instants[200:] += 600_000_000

    ready = level.score(level.new_state(), instants, one.values).ready

    assert ready[199]
    assert not ready[200:205].any()
    assert ready[220:].all()


def test_a_reading_that_is_late_counts_as_no_time_later(level: Pipeline) -> None:
    """Clocks may step back; the state does not."""
    one = healthy(7, rows=120)
    instants = one.instants_us.copy()
    instants[100] -= 50_000_000

    assert np.isfinite(level.score(level.new_state(), instants, one.values).score).all()


def test_a_copy_of_a_state_goes_its_own_way(level: Pipeline) -> None:
    """What-if questions leave the stream's state alone."""
    one, state = healthy(7, rows=200), level.new_state()
    level.score(state, one.instants_us[:100], one.values[:100])
    copy = state.copy()
    level.score(copy, one.instants_us[100:], one.values[100:] + 50)

    after = level.score(state, one.instants_us[100:], one.values[100:])

    bulk = level.score(level.new_state(), one.instants_us, one.values)
    np.testing.assert_allclose(after.score, bulk.score[100:], rtol=1e-9)


def test_equal_seeds_give_equal_pipelines() -> None:
    """Training can be repeated to the byte."""
    packages = {
        Pipeline.fit(PipelineSpec(detector="gmm"), TRAINED, machine_class(), seed=5).to_package()
        for _ in range(2)
    }

    assert len(packages) == 1


def test_a_failure_in_the_history_does_not_become_health() -> None:
    """One machine in four that was broken for a while still leaves a usable threshold."""
    broken = faulty(healthy(0), at=600, sensor=2, by=30.0, until=640)
    clean = [healthy(seed) for seed in range(1, 4)]
    fitted = Pipeline.fit(
        PipelineSpec(window_s=20, baseline_s=200), [broken, *clean], machine_class(), seed=0
    )
    one = faulty(healthy(1, rows=1200), at=900, sensor=2, by=15.0)

    scores = fitted.score(fitted.new_state("m1"), one.instants_us, one.values)

    assert (scores.score[940:] > 1).all()


def test_one_machine_with_little_history_can_be_learnt() -> None:
    """A single machine and a single minute are enough to begin with."""
    fitted = Pipeline.fit(PipelineSpec(window_s=5), [healthy(1, rows=60)], machine_class(), seed=0)

    assert np.isfinite(fitted.threshold)


def test_missing_and_constant_sensors_can_be_learnt() -> None:
    """Holes in the history and sensors that never moved or never spoke are no obstacle."""
    values = healthy(1, regimes=True).values.copy()
    values[:, 3], values[:, 2] = np.nan, 7.0
    values[::7, 1] = np.nan
    fitted = Pipeline.fit(PipelineSpec(), [history("m", values)], machine_class(), seed=0)

    scores = fitted.score(fitted.new_state("m"), TRAINED[1].instants_us, values)

    assert np.isfinite(scores.score).all()
    assert (scores.score > 1).mean() < 0.05


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([], "0 readings"),
        ([healthy(1, rows=49)], "49 readings"),
        ([healthy(1, sensors=3)], "shape"),
    ],
)
def test_too_little_or_foreign_history_is_refused(histories: list[History], message: str) -> None:
    """The error says how much there is and what is needed."""
    with pytest.raises(BadInputError, match=message):
        Pipeline.fit(PipelineSpec(), histories, machine_class(), seed=0)


def test_values_of_another_shape_are_refused(level: Pipeline) -> None:
    """A caller's mistake is told before it changes the state."""
    with pytest.raises(ValueError, match="shape"):
        level.score(level.new_state(), np.array([START_US]), np.zeros((1, 3)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": "magic"},
        {"detector": "oracle"},
        {"window_s": 0.0},
        {"quantile": 0.5},
        {"margin": float("nan")},
        {"clusters": 0},
        {"blocks": 1},
        {"trim": 0.6},
        {"window_s": "long"},
        {"colour": 1},
    ],
)
def test_a_spec_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    """The error names the field."""
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        PipelineSpec.from_dict(wrong)


def test_a_spec_survives_json_and_says_what_is_no_json() -> None:
    """Missing fields keep their defaults."""
    spec = PipelineSpec(detector="gmm", clusters=5, margin=1.5)

    assert PipelineSpec.from_json(spec.to_json()) == spec
    assert PipelineSpec.from_json('{"clusters": 3}') == PipelineSpec(clusters=3)
    with pytest.raises(BadInputError, match="JSON"):
        PipelineSpec.from_json("[1]")
