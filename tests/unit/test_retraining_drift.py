"""The drift measure that asks for retraining."""

import json

import numpy as np
import pytest

from tuning.drift import Reference, overall, stability_index

RNG = np.random.default_rng(0)
LEARNT = RNG.normal((0, 10, 100), (1, 2, 5), (5000, 3))


def test_the_same_distribution_has_not_drifted() -> None:
    """Other readings of the same health stay far below the usual limit of 0.1."""
    live = RNG.normal((0, 10, 100), (1, 2, 5), (2000, 3))

    assert stability_index(Reference.of(LEARNT), live).max() < 0.05


def test_a_moved_sensor_drifts_alone() -> None:
    """A shift by two standard deviations is plain, and blamed on its sensor."""
    live = RNG.normal((0, 14, 100), (1, 2, 5), (2000, 3))
    index = stability_index(Reference.of(LEARNT), live)

    assert index[1] > 1
    assert index[[0, 2]].max() < 0.05
    assert overall(index) == pytest.approx(np.median(index))


def test_more_shift_is_more_drift() -> None:
    """The index grows with the distance."""
    reference = Reference.of(LEARNT)
    by_shift = [stability_index(reference, LEARNT + shift)[0] for shift in (0, 0.5, 1, 2)]

    assert by_shift == sorted(by_shift)
    assert by_shift[0] == pytest.approx(0, abs=1e-9)


def test_missing_values_do_not_count() -> None:
    """A sensor without values on one side has no index, and does not spoil the others."""
    live = LEARNT[:500].copy()
    live[:, 2] = np.nan
    index = stability_index(Reference.of(LEARNT), live)

    assert np.isnan(index[2])
    assert np.isfinite(index[:2]).all()
    assert overall([np.nan, np.nan]) is None


def test_the_reference_survives_json() -> None:
    """It travels in a model's package, where NaN cannot."""
    learnt = LEARNT.copy()
    learnt[:, 0] = np.nan
    reference = Reference.of(learnt)
    text = json.dumps(reference.to_json(), allow_nan=False)
    restored = Reference.from_json(json.loads(text))

    np.testing.assert_array_equal(restored.edges, reference.edges)
    np.testing.assert_array_equal(restored.shares, reference.shares)


def test_a_constant_sensor_has_an_index() -> None:
    """All deciles are equal: still finite, and a change of the constant is drift."""
    reference = Reference.of(np.full((100, 1), 3.0))

    assert stability_index(reference, np.full((50, 1), 3.0))[0] == pytest.approx(0)
    assert stability_index(reference, np.full((50, 1), 4.0))[0] > 1


def test_another_number_of_sensors_is_refused() -> None:
    """A reference of another class says nothing."""
    with pytest.raises(ValueError, match="2 sensors, the reference has 3"):
        stability_index(Reference.of(LEARNT), LEARNT[:, :2])
