"""Windows, baselines and regimes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.features.front import FeatureModel
from domain.features.kinds import (
    FEATURE_SETS,
    LEVEL,
    PARTS,
    RANGE,
    SPREAD,
    TREND,
    is_gated,
    scales_of,
)
from domain.features.learning import fit_features
from domain.features.operating import find_regimes, fit_response
from domain.features.spectrum import band_of
from domain.features.window import SPREAD_FLOOR
from domain.pipeline_spec import PipelineSpec
from domain.readings import Matrix
from tests.unit.learning_samples import PERIOD_S, healthy, history


def plain_model(window: int, sensors: int = 2) -> FeatureModel:
    """Return a model with all kinds whose distances are the values themselves."""
    spec = PipelineSpec(features="window", window_s=window * PERIOD_S, regimes=1)
    model = fit_features(spec, [healthy(0, sensors=sensors)], period_s=PERIOD_S, seed=0)
    ones = np.ones(sensors)
    plan = model.plan._replace(
        response=np.zeros((sensors, 1)), unit=ones, scale=ones[None], gate=0 * ones - 1, leak=0.0
    )
    return FeatureModel(
        plan=plan,
        window_rows=window,
        centre=model.centre,
        spread=model.spread,
        freedom=model.freedom,
        bases={"m": np.zeros(sensors)},
    )


def raw(model: FeatureModel, values: Matrix) -> Matrix:
    """Return raw features, shape (n, kinds, sensors)."""
    one = history("m", values)
    rows = model.raw(model.new_memory("m"), one.instants_us, one.values)
    return rows.features.reshape(len(values), -1, values.shape[1])


@given(seed=st.integers(0, 1000), window=st.integers(3, 12))
def test_window_features_are_those_of_the_last_rows(seed: int, window: int) -> None:
    """The running sums give what numpy gives for each window."""
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 3, size=(40, 2))
    values[rng.random(values.shape) < 0.1] = np.nan

    found = raw(plain_model(window), values)

    for row in range(window, 40):
        part = values[row - window + 1 : row + 1]
        for sensor in range(2):
            seen = ~np.isnan(part[:, sensor])
            known, places = part[seen, sensor], np.flatnonzero(seen)
            if len(known) < 3:
                continue
            features = found[row, :, sensor]
            slope = np.polyfit(places, known, 1)[0]
            assert features[LEVEL] == pytest.approx(known.mean())
            assert features[SPREAD] == pytest.approx(np.log(known.std() + SPREAD_FLOOR))
            assert features[TREND] == pytest.approx(slope * (window - 1), abs=1e-6)
            assert features[RANGE] == pytest.approx(np.log(np.ptp(known) + SPREAD_FLOOR))


@given(seed=st.integers(0, 1000), window=st.integers(3, 20))
def test_scales_are_means_of_the_newest_part_of_the_window(seed: int, window: int) -> None:
    """Each is numpy's mean of what was measured in its part, whatever was missing."""
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 3, size=(50, 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    model = plain_model(window)
    kinds = FEATURE_SETS["gated-scales"]
    model = replace(model, plan=model.plan._replace(kinds=np.array(kinds)))

    found = raw(model, values)

    for row in range(50):
        for place, kind in enumerate(kinds):
            rows = -(-window // PARTS[kind])
            part = values[max(0, row + 1 - rows) : row + 1]
            for sensor in range(2):
                seen = part[~np.isnan(part[:, sensor]), sensor]
                if len(seen) and not np.isnan(found[row, place, sensor]):
                    assert found[row, place, sensor] == pytest.approx(seen.mean())
    assert np.isfinite(found[:, :, 0]).mean() > 0.5


def test_only_sets_of_means_have_scales() -> None:
    """A set of other kinds is one block to an ensemble."""
    assert scales_of("gated-scales") == 4
    assert scales_of("gated") == scales_of("gated-window") == 1


def test_a_young_window_is_measured_by_the_rows_it_has() -> None:
    """A sixth is full long before the whole: its deviation must not be taken for a single row's."""
    spec = PipelineSpec(window_s=60 * PERIOD_S)
    one = healthy(1, rows=1500)
    model = fit_features(spec, [one], period_s=PERIOD_S, seed=0)

    rows = model.transform(model.new_memory(one.machine), one.instants_us, one.values)
    raws = model.raw(model.new_memory(one.machine), one.instants_us, one.values)

    full = model.spread[0].reshape(4, -1)
    shown = rows.features.reshape(len(one), 4, -1)
    wanted = (raws.features - model.centre).reshape(len(one), 4, -1) / full
    np.testing.assert_allclose(shown[9:, 3], wanted[9:, 3])
    assert (np.abs(shown[8, 3]) < np.abs(wanted[8, 3])).all()
    assert (np.abs(shown[30, 0]) < np.abs(wanted[30, 0])).all()
    np.testing.assert_allclose(shown[59:, 0], wanted[59:, 0])


def test_a_window_with_too_little_in_it_says_nothing() -> None:
    """One value has a mean, but neither spread nor trend."""
    features = raw(plain_model(5), np.array([[1.0, np.nan]]))[0]

    assert features[LEVEL, 0] == 1.0
    assert np.isnan(features[SPREAD:, 0]).all()
    assert np.isnan(features[:, 1]).all()


def test_healthy_features_are_standardised() -> None:
    """Each is about zero with a deviation of about one, whatever the unit."""
    histories = [healthy(seed, rows=1500) for seed in range(4)]
    model = fit_features(PipelineSpec(), histories, period_s=PERIOD_S, seed=0)

    pooled = np.concatenate(
        [
            model.transform(model.new_memory(one.machine), one.instants_us, one.values).features[
                200:
            ]
            for one in histories
        ]
    )

    assert np.abs(np.median(pooled, axis=0)).max() < 0.3
    np.testing.assert_allclose(pooled.std(axis=0), 1, atol=0.4)


def test_gated_sets_follow_slow_drift_and_level_sets_do_not() -> None:
    """A drift that takes long is health to the one and news to the other."""
    drifting = healthy(1, rows=4000)
    drifting.values[1000:, 0] += np.linspace(0, 20, 3000)
    last = {}
    for name in ("level", "gated"):
        spec = PipelineSpec(features=name, baseline_s=100)
        model = fit_features(spec, [healthy(at) for at in range(3)], period_s=PERIOD_S, seed=0)
        memory = model.new_memory("m1")
        rows = model.transform(memory, drifting.instants_us, drifting.values)
        last[name] = abs(rows.features[-1, 0])

    assert last["gated"] < 4 < last["level"]


def test_every_feature_set_knows_its_kinds_once() -> None:
    """A set is a name for distinct kinds, and its name says whether it is gated."""
    for name, kinds in FEATURE_SETS.items():
        assert len(set(kinds)) == len(kinds) > 0
        assert is_gated(name) == name.startswith("gated")


def test_machines_without_jumps_have_one_regime() -> None:
    """Noise and drift are not taken for regimes."""
    values = [healthy(at).values for at in range(3)]
    values[0][:, 0] += np.linspace(0, 50, 900)

    assert len(find_regimes(values, most=4, seed=0)) == 1


def test_regimes_are_found_by_the_sensors_that_jump() -> None:
    """The jumping sensors alone weigh, and no cloud is cut in two to fill the allowance."""
    values = [healthy(at, regimes=True).values for at in range(3)]

    found = find_regimes(values, most=5, seed=0)

    assert [len(points.centres) for points in found] == [1, 2]
    assert (found[1].weights[:2] > 0).all()
    assert (found[1].weights[2:] == 0).all()


def test_a_failure_of_one_machine_is_no_regime() -> None:
    """What jumps once, or in one machine of many, is not how the class runs."""
    values = [healthy(at).values for at in range(4)]
    values[0][600:640, 2] += 30.0
    values[1][::100, 1] += 80.0

    assert len(find_regimes(values, most=4, seed=0)) == 1


def test_allowing_one_regime_looks_for_none() -> None:
    """The search can be switched off."""
    assert len(find_regimes([healthy(1, regimes=True).values] * 2, most=1, seed=0)) == 1


def test_regimes_are_not_sought_in_little_history() -> None:
    """A handful of rows is taken as one regime."""
    assert len(find_regimes([healthy(1, rows=15, regimes=True).values], most=4, seed=0)) == 1


def test_the_sensor_that_tells_regimes_best_chooses_them() -> None:
    """A vibration that stays elsewhere by more than regimes differ moves no regime."""
    rng = np.random.default_rng(4)
    load = (np.arange(2400) // 100) % 2
    speed = 960.0 + 192.0 * load + rng.normal(0, 2.0, 2400)
    vibration = 1.9 + 0.38 * load + rng.normal(0, 0.03, 2400)
    values = np.column_stack([speed, vibration])
    (points,) = (one for one in find_regimes([values] * 3, most=2, seed=0) if len(one.centres) == 2)

    def regime(rows: Matrix) -> np.ndarray:
        gaps = rows[:, None] * points.weights - points.centres
        return np.argmin((gaps**2).sum(axis=2), axis=1)

    assert (points.weights > 0).all()
    assert (regime(values + np.array([0.0, 1.0])) == regime(values)).all()
    assert (regime(values) == load).all() or (regime(values) == 1 - load).all()


def test_no_more_regimes_are_kept_than_explain_something() -> None:
    """Two real regimes stay two, although four were allowed."""
    histories = [healthy(at, regimes=True) for at in range(4)]

    model = fit_features(PipelineSpec(regimes=4), histories, period_s=PERIOD_S, seed=0)

    assert len(model.plan.centres) == 2


def test_a_lag_behind_the_regime_is_expected() -> None:
    """A sensor that follows the regime slowly is predicted on its way."""
    rng = np.random.default_rng(0)
    regime = (np.arange(4000) // 200) % 2
    heat = np.empty(4000)
    heat[0] = 0.0
    for row in range(1, 4000):
        heat[row] = heat[row - 1] + (60.0 * regime[row] - heat[row - 1]) / 40
    values = np.stack([100.0 * regime, heat], axis=1) + rng.normal(size=(4000, 2))
    one = history("m", values)
    model = fit_features(PipelineSpec(), [one], period_s=PERIOD_S, seed=0)

    rows = model.transform(model.new_memory("m"), one.instants_us, one.values)

    error = rows.expected[2000:, 1] - heat[2000:]
    assert np.sqrt(np.mean(error**2)) < 2.0


def test_the_response_is_learnt_within_machines() -> None:
    """Machines at different levels do not pass for regimes, and gaps in a sensor do not matter."""
    rng = np.random.default_rng(0)
    lagged, values = [], []
    for level in (0.0, 50.0):
        share = rng.random((500, 1))
        past = np.concatenate([share, 1 - share], axis=1)
        one = level + past @ np.array([[3.0, 1.0], [-1.0, 5.0]]).T
        one[::5, 1] = np.nan
        lagged.append(past)
        values.append(one)

    response = fit_response(lagged, values)

    difference = response[:, 0] - response[:, 1]
    np.testing.assert_allclose(difference, [2.0, -6.0], atol=0.05)


@given(seed=st.integers(0, 1000), window=st.integers(2, 20))
def test_bands_are_the_spectrum_of_the_measured_part_of_the_window(seed: int, window: int) -> None:
    """Kept up row by row they are what numpy's transform gives for each window."""
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 3, size=(60, 2))
    values[rng.random(values.shape) < 0.15] = np.nan
    model = plain_model(window)
    model = replace(model, plan=model.plan._replace(kinds=np.array(FEATURE_SETS["gated-bands"])))

    found = raw(model, values)

    for row in range(window, 60):
        part = values[row - window + 1 : row + 1]
        for sensor in range(2):
            seen = ~np.isnan(part[:, sensor])
            if seen.sum() < max(3, window // 4) or np.isnan(found[row, LEVEL, sensor]):
                assert np.isnan(found[row, 1:, sensor]).all()
                continue
            centred = np.where(seen, part[:, sensor] - part[seen, sensor].mean(), 0.0)
            spread = np.exp(found[row, 1:, sensor]) - SPREAD_FLOOR
            np.testing.assert_allclose(spread, bands(centred, seen.sum()), atol=1e-8)
            assert (spread**2).sum() == pytest.approx(part[seen, sensor].var())


def bands(centred: Matrix, seen: int) -> Matrix:
    """Return the deviations of a window's three bands, by numpy's transform."""
    rows = len(centred)
    energy = np.abs(np.fft.fft(centred)) ** 2 / (rows * seen)
    out = np.zeros(3)
    for at in range(1, rows):
        frequency = min(at, rows - at)
        out[band_of(frequency, rows // 2)] += energy[at]
    return np.sqrt(out)


def test_a_young_window_and_one_after_a_gap_have_bands() -> None:
    """What is not there yet is no signal: a short window of noise has about the noise's spread."""
    model = plain_model(40)
    model = replace(model, plan=model.plan._replace(kinds=np.array(FEATURE_SETS["gated-bands"])))
    noise = np.random.default_rng(0).normal(50, 3, size=(100, 2))
    one = history("m", noise)
    instants = one.instants_us + np.where(np.arange(100) >= 60, 600_000_000, 0)

    rows = model.raw(model.new_memory("m"), instants, noise).features.reshape(100, 4, 2)
    alone = model.raw(model.new_memory("m"), instants[60:], noise[60:]).features.reshape(-1, 4, 2)

    spread = np.exp(rows[20, 1:]) - SPREAD_FLOOR
    np.testing.assert_allclose(np.sqrt((spread**2).sum(axis=0)), noise[:21].std(axis=0))
    np.testing.assert_allclose(rows[60:], alone, atol=1e-9)


def test_a_hum_shows_in_its_band_alone() -> None:
    """A sensor that begins to swing quickly moves the fast band, not the level."""
    spec = PipelineSpec(features="gated-bands", window_s=60 * PERIOD_S)
    calm = healthy(1, rows=1500)
    model = fit_features(spec, [calm], period_s=PERIOD_S, seed=0)
    humming = calm.values.copy()
    humming[1000:, 0] += 3 * np.cos(np.pi * np.arange(500))

    rows = model.transform(model.new_memory("m1"), calm.instants_us, humming)

    level, slow, _, fast = rows.features[1200:].reshape(300, 4, 4)[:, :, 0].T
    assert np.median(fast) > 5
    assert abs(np.median(level)) < 1.5
    assert abs(np.median(slow)) < 1.5
