"""Signatures of failures: what a machine does that no healthy one does, whatever its regime."""

import numpy as np
import pytest

from domain.readings import Matrix
from domain.signatures import Health, levels

RESPONSE = np.array([40.0, -25.0, 10.0, 0.0])
"""How the four sensors follow the load, in units of their own noise."""


def _steps(count: int, seed: int, *, offset: float = 0.0) -> Matrix:
    """Return minutes of one machine whose load jumps about; each has its own level."""
    rng = np.random.default_rng(seed)
    load = np.repeat(rng.uniform(0, 1, count // 5 + 1), 5)[:count, None]
    own = rng.normal(0, 0.5, 4) + offset
    steps: Matrix = load * RESPONSE + own + rng.normal(0, 1, (count, 4))
    return steps


@pytest.fixture(scope="module")
def health() -> Health:
    """Return the health of a fleet of ten."""
    return Health.fit([_steps(300, seed) for seed in range(10)])


def test_a_change_of_regime_is_no_departure(health: Health) -> None:
    """Forty deviations of all sensors together say less than eight of one alone."""
    full = _steps(60, 50)
    full[-10:] = RESPONSE + np.random.default_rng(1).normal(0, 1, (10, 4))
    faulty = _steps(60, 51)
    faulty[-10:, 1] += 8

    assert health.departure(full).strength < 1
    assert health.departure(faulty).strength > 1


def test_a_departure_has_a_sign(health: Health) -> None:
    """A sensor that falls is another failure than one that rises."""
    up, down = _steps(60, 52), _steps(60, 52)
    up[-20:, 3] += 8
    down[-20:, 3] -= 8

    ways = [health.departure(one).directions[1] for one in (up, down)]
    assert float(ways[0] @ ways[1]) < -0.8


def test_a_failure_that_began_hours_ago_still_departs(health: Health) -> None:
    """It is held against the class: against the hour before, it would look the same as ever."""
    long_ago = _steps(128, 53)
    long_ago[:, 3] += 8

    assert health.departure(long_ago).strength > 1


def test_quick_and_slow_failures_are_seen_with_the_memory_that_fits(health: Health) -> None:
    """One strong step, or many faint ones."""
    quick, slow = _steps(128, 54), _steps(128, 55)
    quick[-1, 3] += 12
    slow[-40:, 3] += 3.2

    assert (health.departure(quick).memory, health.departure(slow).memory) == (0, 1)
    assert health.departure(quick).strength > 1
    assert health.departure(slow).strength > 1


def test_healthy_machines_that_were_not_learnt_from_rarely_depart(health: Health) -> None:
    """Their own level is within what levels of machines are."""
    found = [
        health.departure(one[:end]).strength > 1
        for one in (_steps(300, seed) for seed in range(60, 80))
        for end in range(60, 301, 10)
    ]
    assert np.mean(found) < 0.15


def test_a_missing_sensor_departs_nowhere(health: Health) -> None:
    """It is supposed to follow the regime as the others do; one that never sent says nothing."""
    full = _steps(60, 50)
    full[-10:] = RESPONSE + np.random.default_rng(1).normal(0, 1, (10, 4))
    full[:, 0] = np.nan
    assert health.departure(full).strength < 1
    full[-10:, 1] += 8
    assert health.departure(full).strength > 1

    never = [_steps(100, seed) for seed in range(5)]
    for one in never:
        one[:, 2] = np.nan
    fitted = Health.fit(never)
    assert np.isfinite(fitted.whitening).all()
    np.testing.assert_allclose(fitted.departure(_steps(60, 57)).ways[:, 2], 0, atol=1e-9)


def test_one_machine_alone_can_be_learnt_from() -> None:
    """How far machines lie apart is not known then."""
    made = Health.fit([_steps(40, 1)])

    assert np.isfinite(made.whitening).all()
    assert np.isfinite(made.departure(_steps(20, 2)).strengths).all()


def test_levels_weigh_the_newest_most_and_skip_what_is_missing() -> None:
    """A mean with exponential weights, of what is known."""
    values = np.array([[0.0, np.nan], [0.0, np.nan], [4.0, np.nan]])
    quick, slow = levels(values)

    assert 2 < quick[0] < 4
    assert 4 / 3 < slow[0] < 2
    assert np.isnan([quick[1], slow[1]]).all()
    values[-1, 1] = 7.0
    np.testing.assert_allclose(levels(values)[:, 1], 7.0)
