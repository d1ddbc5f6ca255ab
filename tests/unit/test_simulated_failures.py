"""Failures: what they do to a signal, and the truth about them."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from domain.class_files import ClassFile, load_class
from domain.errors import BadInputError
from domain.readings import Instants, Matrix
from domain.simulation import Failure, Fleet
from domain.simulation.failures import development

S = 1_000_000
START = 1_767_323_045 * S
ONSET_S, HOUR_S = 900, 3600
PUMP = load_class("pump")
COLUMN = PUMP.machine_class.position


def _pair(mode: str, severity: float = 1.0) -> tuple[Failure, Instants, Matrix, Matrix]:
    """Return a failure, the instants, and the same hour with it and without it."""
    sick, well = (Fleet.create(PUMP, ["m"], start_us=START, gap_rate=0) for _ in range(2))
    failure = sick.inject("m", mode, onset_us=START + ONSET_S * S, severity=severity)
    (with_it,), (without,) = (one.advance(START + HOUR_S * S) for one in (sick, well))
    np.testing.assert_array_equal(with_it.instants_us, without.instants_us)
    return failure, with_it.instants_us, with_it.values, without.values


@pytest.mark.parametrize("mode", ["bearing_wear", "overheating", "cavitation", "imbalance"])
def test_a_machine_failure_grows_and_ends(mode: str) -> None:
    """Nothing before the onset, 3-12 sd in its main sensors when full, a small residual after."""
    failure, instants, sick, well = _pair(mode)
    sd = np.array([sensor.sd for sensor in PUMP.spec.sensors])
    off = (sick - well) / sd
    full_us = failure.onset_us + round(failure.develop_s * 1e6)
    full = (instants >= full_us) & (instants < failure.end_us)
    late = instants > failure.end_us + 30 * S
    touched = [COLUMN[name] for name in failure.sensors]
    others = [at for at in range(20) if at not in touched]

    assert not off[instants < failure.onset_us].any()
    assert not off[:, others].any()
    assert 2 <= len(touched) <= 5
    assert 4 < np.abs(np.median(off[full], axis=0)).max() < 12
    assert (np.abs(np.median(off[full], axis=0)) > 2).sum() >= 2
    assert np.abs(np.median(off[late], axis=0)).max() < 2
    assert off[late].any()


def test_development_is_gradual() -> None:
    """Half-way a linear failure has half its effect; severity is a factor on it."""
    failure, instants, sick, well = _pair("imbalance")
    _, _, worse, _ = _pair("imbalance", severity=2.0)
    half = np.abs(instants - failure.onset_us - failure.develop_s * 0.5e6) < 5 * S
    full_us = failure.onset_us + failure.develop_s * 1e6
    full = (instants > full_us) & (instants < failure.end_us)
    off = (sick - well)[:, COLUMN["vibration_de"]] / 0.005
    worse_off = (worse - well)[:, COLUMN["vibration_de"]] / 0.005

    assert 0.3 < off[half].mean() / np.median(off[full]) < 0.7
    assert 1.9 < np.median(worse_off[full]) / np.median(off[full]) < 2.1


def test_a_stuck_sensor_repeats_its_last_value_exactly() -> None:
    """From onset to end, and only that sensor."""
    failure, instants, sick, well = _pair("sensor_stuck")
    (column,) = (COLUMN[name] for name in failure.sensors)
    held = (instants >= failure.onset_us) & (instants < failure.end_us)

    assert set(sick[held, column]) == {sick[np.argmax(held) - 1, column]}
    sick[held, column] = well[held, column]
    np.testing.assert_array_equal(sick, well)


def test_a_sensor_stuck_from_the_first_reading_repeats_that() -> None:
    """There is nothing earlier to hold."""
    made = Fleet.create(PUMP, ["m"], start_us=START)
    failure = made.inject("m", "sensor_stuck", onset_us=START)

    (chunk,) = made.advance(START + 60 * S)

    assert np.ptp(chunk.values[:, COLUMN[failure.sensors[0]]]) == 0


def test_a_lost_sensor_is_missing_while_it_lasts() -> None:
    """NaN from onset to end in one sensor."""
    failure, instants, sick, well = _pair("sensor_dropout")
    (column,) = (COLUMN[name] for name in failure.sensors)
    lost = (instants >= failure.onset_us) & (instants < failure.end_us)

    np.testing.assert_array_equal(np.isnan(sick[:, column]), lost)
    sick[lost, column] = well[lost, column]
    np.testing.assert_array_equal(sick, well)


def test_a_machine_that_lost_all_sensors_is_silent() -> None:
    """A reading without any value is not sent."""
    made = Fleet.create(PUMP, ["m"], start_us=START, num_sensors=1, gap_rate=0)
    made.inject("m", "sensor_dropout", onset_us=START + 10 * S, duration_s=20)

    (chunk,) = made.advance(START + 60 * S)

    assert len(chunk.instants_us) == 80
    assert np.isfinite(chunk.values).all()


def test_scheduled_failures_are_seeded_and_do_not_overlap() -> None:
    """The same seed gives the same failures, in a fleet of any size."""
    scheduled = []
    for machines in (3, 5):
        names = [f"m{at}" for at in range(machines)]
        made = Fleet.create(PUMP, names, start_us=START)
        scheduled.append(
            made.schedule_failures(
                per_machine_hour=2, start_us=START, until_us=START + 20 * HOUR_S * S, seed=4
            )
        )
        assert len(made.truth()) == len(scheduled[-1])
    few, many = scheduled

    assert few == tuple(each for each in many if each.machine in {"m0", "m1", "m2"})
    assert {each.kind for each in many} == set(PUMP.spec.failures)
    for machine in ("m0", "m1", "m2"):
        mine = [each for each in few if each.machine == machine]
        assert 10 < len(mine) < 60
        assert all(a.end_us <= b.onset_us for a, b in pairwise(mine))
        assert all(0.7 <= each.severity <= 1.3 for each in mine)


def test_no_rate_and_no_modes_schedule_nothing() -> None:
    """A rate must be positive; a class without modes stays healthy."""
    made = Fleet.create(PUMP, ["m"], start_us=START)
    with pytest.raises(BadInputError, match="per_machine_hour is 0"):
        made.schedule_failures(per_machine_hour=0, start_us=START, until_us=START + S)
    healthy = ClassFile(spec=msgspec.structs.replace(PUMP.spec, failures={}))
    calm = Fleet.create(healthy, ["m"], start_us=START)

    assert calm.schedule_failures(per_machine_hour=99, start_us=START, until_us=START + S) == ()


def test_every_shape_begins_at_nothing_and_ends_at_all() -> None:
    """Linear, accelerating, smooth and step, monotone all of them."""
    failure = Failure(
        machine="m",
        kind="x",
        onset_us=10 * S,
        end_us=99 * S,
        severity=1,
        sensors=(),
        develop_s=20,
    )
    instants = np.arange(0, 40) * S
    for mode in PUMP.spec.failures.values():
        grown = development(failure, mode, instants)
        assert not grown[:10].any()
        assert (grown[30:] == 1).all()
        assert (np.diff(grown) >= 0).all()
    assert {mode.shape for mode in PUMP.spec.failures.values()} == {
        "linear",
        "accelerating",
        "smooth",
        "step",
    }
