"""What is usual depends on how a machine is run, where that is known and explains anything."""

import numpy as np

from domain.readings import Matrix
from domain.risk.usual import Usual

POINTS = np.array([[0.0, 100.0], [20.0, 60.0], [42.0, 100.0]])


def _lives(rng: np.random.Generator, *, apart: float) -> list[Matrix]:
    """Lives that change between three conditions at every step; two columns say which."""
    lives = []
    for _ in range(12):
        drawn = rng.integers(0, 3, 80)
        told = POINTS[drawn] + rng.normal(size=(80, 2)) * 0.002
        shown = apart * drawn[:, None] * [1.0, -2.0] + rng.normal(size=(80, 2))
        lives.append(np.hstack([told, shown]))
    return lives


def test_a_departure_is_one_from_the_same_condition() -> None:
    """What conditions do to a sensor is taken out, and survives a package."""
    lives = _lives(np.random.default_rng(1), apart=30.0)

    usual = Usual.fit(lives, conditions=(0, 1), seed=0)

    again = Usual.from_arrays(usual.to_arrays())
    centre, scale = again.of(lives[0])
    left = (lives[0] - centre) / scale
    assert len(usual.points) == 3
    assert np.abs(left[:, 2:].std(axis=0) - 1).max() < 0.25
    np.testing.assert_array_equal(centre, usual.of(lives[0])[0])


def test_conditions_that_explain_nothing_are_not_told_apart() -> None:
    """Neither those without an effect, nor those that nobody declared."""
    rng = np.random.default_rng(2)

    without_effect = Usual.fit(_lives(rng, apart=0.0), conditions=(0, 1), seed=0)
    undeclared = Usual.fit(_lives(rng, apart=30.0), seed=0)

    assert len(without_effect.points) == len(undeclared.points) == 1
    assert set(undeclared.to_arrays()) == {"centre", "scale"}
