"""Features are as far apart as they will be when the model has served for a while."""

import numpy as np
import pytest

from domain.features.learning import fit_features
from domain.features.whitening import variogram, whitening_of
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import Matrix
from tests.unit.learning_samples import PERIOD_S, healthy, history, machine_class


def noise(seed: int, rows: int = 3000) -> Matrix:
    """Return two correlated stationary features, shape (rows, 2)."""
    drawn: Matrix = np.random.default_rng(seed).normal(size=(rows, 2)) @ np.array(
        [[1.0, 0.8], [0.0, 0.6]]
    )
    return drawn


def walk(seed: int, rows: int = 3000) -> Matrix:
    """Return a random walk of unit steps, shape (rows, 1)."""
    steps: Matrix = np.cumsum(np.random.default_rng(seed).normal(size=(rows, 1)), axis=0)
    return steps


def test_a_variogram_is_half_the_mean_squared_difference() -> None:
    """Of noise it is the covariance whatever the lag, of a walk half the lag."""
    steady, wandering = [noise(seed) for seed in range(20)], [walk(seed) for seed in range(20)]

    for lag in (5, 50):
        np.testing.assert_allclose(variogram(steady, lag), [[1, 0.8], [0.8, 1.0]], atol=0.05)
        assert variogram(wandering, lag)[0, 0] == pytest.approx(lag / 2, rel=0.15)


@pytest.mark.parametrize("horizon", [100.0, 100_000.0])
def test_what_is_stationary_is_whitened_whatever_the_horizon(horizon: float) -> None:
    """Nothing is extrapolated where nothing grows; correlated features become white."""
    whitening = whitening_of([noise(seed) for seed in range(20)], horizon_rows=horizon)

    white = np.cov((noise(99, rows=20_000) @ whitening).T)

    np.testing.assert_allclose(white, np.eye(2), atol=0.15)
    np.testing.assert_allclose(whitening, whitening.T)


def test_what_wanders_counts_less_the_further_the_horizon() -> None:
    """A walk's variance grows with time: four times the horizon halves its deviations' weight."""
    machines = [np.hstack([noise(seed), walk(50 + seed)]) for seed in range(20)]

    near, far = (whitening_of(machines, horizon_rows=rows) for rows in (2000.0, 8000.0))

    assert far[2, 2] < 0.65 * near[2, 2]
    assert near[0, 0] > 10 * near[2, 2]


def test_little_history_is_left_as_it_is() -> None:
    """Of a handful of rows no growth can be seen."""
    np.testing.assert_array_equal(whitening_of([noise(0, 20)], horizon_rows=100.0), np.eye(2))


def test_whitened_sets_bear_drift_and_missing_values_and_survive_the_package() -> None:
    """A pipeline of them scores, splits and is packed as all are."""
    rng = np.random.default_rng(3)
    drifting = [healthy(seed, rows=1500) for seed in range(3)]
    for one in drifting:
        one.values[:, 0] += np.cumsum(rng.normal(scale=0.2, size=1500))
        one.values[rng.random(one.values.shape) < 0.1] = np.nan
    spec = PipelineSpec(features="window-whitened", detector="kmeans", window_s=20.0)
    pipeline = Pipeline.fit(spec, drifting, machine_class(), seed=0)
    values = healthy(7, rows=400).values
    values[100:150, 1] = np.nan
    one = history("m0", values)

    bulk = pipeline.score(pipeline.new_state("m0"), one.instants_us, one.values).score
    restored = Pipeline.from_package(pipeline.to_package())
    state = restored.new_state("m0")
    rows = [
        restored.score(state, one.instants_us[at : at + 1], one.values[at : at + 1]).score[0]
        for at in range(400)
    ]

    assert np.isfinite(bulk).all()
    np.testing.assert_allclose(rows, bulk, rtol=1e-9)


def test_a_drifting_sensor_weighs_less_when_whitened_than_a_steady_one() -> None:
    """A step of equal size in healthy deviations is news from the steady sensor only."""
    rng = np.random.default_rng(5)
    past = [healthy(seed, rows=2000) for seed in range(3)]
    for one in past:
        one.values[:, 0] += 3 * np.cumsum(rng.normal(scale=0.2, size=2000))
    spec = PipelineSpec(features="level-whitened", window_s=20.0, horizon_s=4000.0)
    model = fit_features(spec, past, period_s=PERIOD_S, seed=0)

    weights = np.abs(np.diag(model.whitening))

    assert weights[0] < 0.5 * weights[1:].min()
