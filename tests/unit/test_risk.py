"""Failure risk and remaining life on lives whose truth is known."""

import numpy as np
import pytest

from domain.risk import Life, RiskModel
from domain.risk.features import life_features

HORIZON, CAP = 20, 80


def _life(seed: int, *, sensors: int = 4) -> Life:
    """A machine that wears exponentially from a random point on, unseen under noise at first."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(120, 200))
    left = np.arange(steps - 1, -1, -1)
    wear = 6 * np.exp(-left / 25)[:, None] * np.array([1.0, -0.7, 0.4, 0.0])[:sensors]
    return Life(values=wear + rng.normal(size=(steps, sensors)))


@pytest.fixture(scope="module")
def model() -> RiskModel:
    """Learnt from 40 lives, of which every fifth is cut off before its end."""
    lives = [_life(seed) for seed in range(40)]
    lives[::5] = [Life(values=life.values[:-40], failed=False) for life in lives[::5]]
    return RiskModel.fit(lives, horizon=HORIZON, cap=CAP, seed=0)


def test_unseen_lives_are_foretold(model: RiskModel) -> None:
    """The probability separates and is calibrated; the interval covers what it says."""
    told = [(model.forecast(life.values), len(life.values)) for life in map(_life, range(100, 140))]
    left = np.concatenate([np.arange(steps - 1, -1, -1) for _, steps in told])
    p = np.concatenate([forecast.p for forecast, _ in told])
    low = np.concatenate([forecast.remaining_low for forecast, _ in told])
    high = np.concatenate([forecast.remaining_high for forecast, _ in told])
    soon, truth = left <= HORIZON, np.minimum(left, CAP)

    assert np.mean((p - soon) ** 2) < 0.5 * np.mean(soon) * (1 - np.mean(soon))
    assert abs(p.mean() - soon.mean()) < 0.05
    assert 0.84 < np.mean((low <= truth) & (truth <= high)) < 0.96


def test_intervals_hold_their_middle(model: RiskModel) -> None:
    """Low, value and high are in order and within the possible."""
    told = model.forecast(_life(7).values)

    assert (told.p_low <= told.p).all()
    assert (told.p <= told.p_high).all()
    assert (told.remaining_low >= 0).all()
    assert (told.remaining_high <= CAP).all()


def test_the_forecast_is_causal(model: RiskModel) -> None:
    """What comes later changes nothing of what was said earlier."""
    values = _life(8).values

    early, late = model.forecast(values[:60]), model.forecast(values)

    np.testing.assert_allclose(early.p, late.p[:60], rtol=1e-12)
    np.testing.assert_allclose(early.remaining, late.remaining[:60], rtol=1e-12)


def test_a_missing_sensor_keeps_its_last_value() -> None:
    """A gap is no departure; before the first value the healthy mean stands in."""
    values = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, 3.0]])
    filled = np.array([[5.0, 1.0], [2.0, 1.0], [2.0, 3.0]])
    centre, scale = np.array([5.0, 1.0]), np.ones(2)

    np.testing.assert_array_equal(
        life_features(values, centre, scale), life_features(filled, centre, scale)
    )


def test_a_seed_decides_everything(model: RiskModel) -> None:
    """The same lives and seed give the same model."""
    lives = [_life(seed) for seed in range(12)]
    one = RiskModel.fit(lives, horizon=HORIZON, cap=CAP, seed=3)
    two = RiskModel.fit(lives, horizon=HORIZON, cap=CAP, seed=3)

    assert set(one.arrays) == set(model.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, two.arrays[name])


@pytest.mark.parametrize("failed", [0, 4])
def test_too_few_failures_are_no_ground_for_a_probability(failed: int) -> None:
    """Without a history of failures there is no honest number."""
    lives = [Life(values=_life(seed).values, failed=seed < failed) for seed in range(12)]

    with pytest.raises(ValueError, match="5 of them failed"):
        RiskModel.fit(lives, horizon=HORIZON, cap=CAP, seed=0)
