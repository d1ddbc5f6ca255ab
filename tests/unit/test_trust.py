"""How well a sensor's spread is known, and what its deviations are then worth."""

import numpy as np
import pytest

from domain.features.learning import fit_features
from domain.features.trust import doubted, freedom_of, independent
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import Matrix
from tests.unit.learning_samples import PERIOD_S, healthy, history, machine_class


def remembering(memory: float, rows: int, seed: int = 0) -> Matrix:
    """Return a first-order autoregression, shape (rows, 1)."""
    drawn = np.random.default_rng(seed).normal(size=rows)
    for row in range(1, rows):
        drawn[row] += memory * drawn[row - 1]
    return drawn[:, None]


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8, 0.95])
def test_independent_readings_are_rows_over_the_autocorrelation_time(memory: float) -> None:
    """An autoregression of memory m is worth (1 - m) / (1 + m) of its rows."""
    rows = 20_000
    found = np.mean([independent(remembering(memory, rows, seed))[0] for seed in range(5)])

    assert found == pytest.approx(rows * (1 - memory) / (1 + memory), rel=0.15)


def test_missing_values_and_constant_sensors_have_a_number() -> None:
    """What was never measured, or never moved, breaks nothing."""
    values = np.concatenate([remembering(0.5, 300), np.zeros((300, 1))], axis=1)
    values = np.concatenate([values, np.full((300, 1), np.nan)], axis=1)
    values[::7, 0] = np.nan

    assert np.isfinite(independent(values)).all()


def test_only_a_sensor_that_wanders_beyond_the_window_is_doubted() -> None:
    """White noise and a short memory are averaged out, a random walk is not."""
    walk = np.cumsum(remembering(0.0, 400), axis=0)
    values = np.concatenate([remembering(0.0, 400, 1), remembering(0.8, 400, 2), walk], axis=1)

    freedom = freedom_of([values - values.mean(axis=0)], window_rows=60)

    assert np.isinf(freedom[:2]).all()
    assert 1 <= freedom[2] < 10


def test_where_all_wander_nobody_is_doubted() -> None:
    """Doubt moves weight from one sensor to another; alone it would only raise the threshold."""
    walk = np.cumsum(remembering(0.0, 400), axis=0)

    assert np.isinf(freedom_of([walk - walk.mean()], window_rows=60)).all()


def test_a_longer_past_leaves_less_to_doubt() -> None:
    """Ten machines show ten times as much of the same wandering."""
    past = [
        np.concatenate([remembering(0.98, 400, at), remembering(0.0, 400, 50 + at)], axis=1)
        for at in range(10)
    ]

    one, ten = freedom_of(past[:1], 60)[0], freedom_of(past, 60)[0]

    assert ten > 4 * one


def test_doubt_keeps_sign_and_order_and_leaves_the_trusted_alone() -> None:
    """Student's distance grows with the deviation, about as it near health, far slower beyond."""
    z = np.linspace(-50, 50, 201)[:, None] * np.ones(2)

    found = doubted(z, np.array([3.0, np.inf]))

    np.testing.assert_array_equal(found[:, 1], z[:, 1])
    assert (np.diff(found[:, 0]) > 0).all()
    np.testing.assert_array_equal(np.sign(found[:, 0]), np.sign(z[:, 0]))
    assert found[-1, 0] == pytest.approx(np.sqrt(4 * np.log1p(2500 / 3)))
    np.testing.assert_allclose(doubted(z, np.full(2, 1e9)), z, rtol=1e-4)


def test_a_drifting_sensor_alarms_less_than_a_steady_one() -> None:
    """The same displacement in its own deviations says less of a sensor that wanders."""
    values = healthy(1, rows=600).values
    values[:, 0] = 10 + np.cumsum(np.random.default_rng(4).normal(size=600)) / 5
    one = history("m1", values)
    spec = PipelineSpec(regimes=1)
    model = fit_features(spec, [one], period_s=PERIOD_S, seed=0)
    pipeline = Pipeline.fit(spec, [one], machine_class(), seed=0)

    def moved(sensor: int) -> float:
        shifted = np.repeat(np.median(values, axis=0)[None], 200, axis=0)
        shifted += np.random.default_rng(5).normal(size=shifted.shape) * 0.01
        shifted[:, sensor] += 8 * model.plan.unit[sensor]
        later = history("m1", shifted)
        state = pipeline.new_state("m1")
        return float(pipeline.score(state, later.instants_us, later.values).score[-1])

    assert np.isfinite(model.freedom.reshape(4, -1)[:, 0]).all()
    assert np.isinf(model.freedom.reshape(4, -1)[:, 1:]).all()
    assert moved(0) < 0.6 * moved(1)
