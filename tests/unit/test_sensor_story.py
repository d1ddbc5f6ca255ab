"""An incident of a sensor says what the sensor did: since when, at what value, in words."""

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from domain.conditions import Condition
from domain.machines import Machine, MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.told import SensorDid
from ray_app.judge import Judge
from ray_app.known import Champion
from storage.verdicts import Incident, Live
from tests.unit.learning_samples import START_US, healthy
from tests.unit.test_parity import NoPast

KIND = MachineClass(
    name="toy",
    sensors=tuple(Sensor(name=f"s{at}", unit="Cel", low=-40, high=200) for at in range(4)),
    period_s=1.0,
)
LATER_US = START_US + 10_000_000_000
ROWS, ONSET = 120, 40
MACHINE = Machine(key=1, name="m1", machine_class="toy")


@pytest.fixture(scope="module")
def champion() -> Champion:
    """Learnt from two machines."""
    past = [healthy(seed, rows=600) for seed in (1, 2)]
    spec = PipelineSpec(detector="pca", window_s=20, baseline_s=200, recover_s=30)
    pipeline = Pipeline.fit(spec, past, KIND, seed=0)
    return Champion(machine_class="toy", version=1, sha256="", pipeline=pipeline)


def _told(
    champion: Champion, values: np.ndarray, cuts: tuple[int, ...] = (), *, restart: bool = False
) -> Incident:
    """Return the incident of a sensor after all batches; a new judge for each where it restarts."""
    at = LATER_US + np.arange(ROWS, dtype=np.int64) * 1_000_000
    judge, newest, past = Judge(NoPast(), (), {}), None, _Past(at, values)
    for first, end in pairwise((0, *cuts, ROWS)):
        if restart and first:
            live = () if newest is None else (Live(id=1, incident=newest),)
            judge = Judge(past, live, {1: int(at[first - 1])})
        batch = ReadingBatch(
            machine_class=KIND,
            machine_keys=np.ones(end - first, dtype=np.int32),
            instants_us=at[first:end],
            values=values[first:end],
        )
        for one in judge.judge(batch, {1: MACHINE}, champion).changes:
            if one.incident.kind == "sensor":
                newest = one.incident
    assert newest is not None
    return newest


class _Past(NoPast):
    """A store of one machine."""

    def __init__(self, at: np.ndarray, values: np.ndarray) -> None:
        self._at, self._values = at, values

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return the newest readings before an instant."""
        end = int(np.searchsorted(self._at, instant_us))
        kept = slice(max(0, end - rows), end)
        return History(machine=machine, instants_us=self._at[kept], values=self._values[kept])


def _second(row: int) -> datetime:
    return datetime.fromtimestamp(LATER_US / 1e6 + row, UTC)


def _lived() -> np.ndarray:
    return healthy(1, rows=ROWS).values.copy()


def test_a_stuck_sensor_stood_still_at_a_value_since_the_first_equal_reading(
    champion: Champion,
) -> None:
    """Not since the watch was sure of it, which is ten readings later."""
    values = _lived()
    values[ONSET:, 2] = 11.25

    (did,) = _told(champion, values).faults

    assert (did.sensor, did.condition, did.value) == ("s2", Condition.STUCK, 11.25)
    assert did.since == _second(ONSET)
    assert did.words == f"stood still at 11.25 since {_second(ONSET):%Y-%m-%d %H:%M:%S} UTC"


def test_a_silent_sensor_gave_no_value_since_the_first_missing_one(champion: Champion) -> None:
    """It has no value to tell."""
    values = _lived()
    values[ONSET:, 0] = np.nan

    (did,) = _told(champion, values).faults

    assert (did.sensor, did.condition, did.value) == ("s0", Condition.DROPOUT, None)
    assert did.words == f"gave no value since {_second(ONSET):%Y-%m-%d %H:%M:%S} UTC"


@pytest.mark.parametrize("cuts", [(), (70,), (ONSET + 1, ONSET + 2, 71)])
def test_what_is_impossible_is_told_with_the_furthest_value_whatever_the_batches(
    champion: Champion, cuts: tuple[int, ...]
) -> None:
    """Since the first of them."""
    values = _lived()
    values[ONSET:, 3] = 250.0 + np.arange(ROWS - ONSET)
    values[70, 3] = 1000.0

    did = _told(champion, values, cuts).faults[0]

    assert (did.condition, did.value, did.since) == (Condition.OUT_OF_RANGE, 1000.0, _second(ONSET))
    assert did.words.endswith("UTC: 1000, possible is -40 to 200")


def test_another_unit_is_told_with_what_was_expected(champion: Champion) -> None:
    """Degrees Fahrenheit where Celsius are expected."""
    values = _lived()
    values[ONSET:, 1] = values[ONSET:, 1] * 1.8 + 32

    did = _told(champion, values).faults[0]

    assert (did.sensor, did.condition) == ("s1", Condition.UNIT_JUMP)
    assert did.value == values[ONSET, 1]
    assert "spoke as in another unit since" in did.words
    assert did.words.endswith(" was expected")


@pytest.mark.parametrize("restart", [False, True])
def test_one_fault_after_the_other_is_one_story_over_batches_and_restarts(
    champion: Champion, *, restart: bool
) -> None:
    """A sensor that stands still, and another that goes away before the first is well."""
    values = _lived()
    values[ONSET:, 2] = 11.25
    values[70:, 0] = np.nan

    did = _told(champion, values, (ONSET + 12, 60, 90), restart=restart).faults

    assert [(one.sensor, one.condition, one.since) for one in did] == [
        ("s2", Condition.STUCK, _second(ONSET)),
        ("s0", Condition.DROPOUT, _second(70)),
    ]


def test_an_incident_that_is_over_keeps_its_story(champion: Champion) -> None:
    """The next one begins with an empty page."""
    values = _lived()
    values[ONSET:60, 2] = 11.25

    over = _told(champion, values)

    assert over.closed_us is not None
    assert [type(one) for one in over.faults] == [SensorDid]
