"""What a class's newest readings say against its champion's training, over a real Postgres."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from storage import failures, maintenance, models
from storage.connect import rows, session
from storage.history import instant
from storage.settings import StorageSettings
from tests.tuning_support import FAN, START_US, store
from tuning import data
from tuning.causes import Cause
from tuning.change import Change, ChangeWatch
from tuning.data import Selection
from tuning.drift import Reference

MINUTE_US = 60_000_000
LEARNT = 30  # minutes of health that the champion learns from
LIVED = 30  # minutes after them
MOVED = 5.0  # many deviations of every sensor
FLEET = ("fan-1", "fan-2", "fan-3")
WHOLE = Selection(lookback_s=1e6, margin_s=0, min_rows=100, max_rows=1_000_000)


def live(storage: StorageSettings, names: Sequence[str], moved: float) -> None:
    """Store what machines do after training."""
    begin_us = START_US + LEARNT * MINUTE_US
    store(storage, names, LIVED * 120, start_us=begin_us, moved=moved)


@pytest.fixture
def storage(database: StorageSettings) -> StorageSettings:
    """Return a database with a fleet's health and a champion that learnt it."""
    store(database, FLEET, LEARNT * 120)
    with session(database) as on:
        dataset = data.read(on, FAN.name, WHOLE)
        spec = PipelineSpec(features="gated", detector="pca", window_s=10.0, regimes=1)
        pipeline = Pipeline.fit(spec, dataset.histories, FAN, seed=0)
        learnt = np.concatenate([one.values for one in dataset.histories])
        about = {**pipeline.about, "drift": Reference.of(learnt).to_json()}
        package = replace(pipeline, about=about).to_package()
        checksum = hashlib.sha256(package).hexdigest()
        made = models.StoredModel(
            machine_class=FAN.name, version=1, run_id="run", sha256=checksum, package=package
        )
        models.add_version(on, made, actor="test", reason="made")
    return database


def look(storage: StorageSettings) -> Change:
    """Return what the watch says now."""
    with session(storage) as on:
        return ChangeWatch(margin_s=30.0).look(on, FAN, FLEET, 1)


def cause(change: Change) -> Cause:
    """Return the diagnosed cause."""
    assert change.diagnosis is not None
    return change.diagnosis.cause


def incident(storage: StorageSettings, machine: str, feedback: str | None = None) -> None:
    """Open an incident at the end of what was learnt."""
    opened = instant(START_US + LEARNT * MINUTE_US)
    with session(storage) as on:
        rows(
            on,
            "INSERT INTO incidents (machine_key, kind, state, began, opened, last_seen, peak_score,"
            " root_sensor, model_version, feedback) SELECT key, 'machine', 'open', %(at)s, %(at)s,"
            " %(at)s, 2, 'flow', 1, %(feedback)s FROM machines WHERE name = %(machine)s",
            {"at": opened, "feedback": feedback, "machine": machine},
        )


def test_health_goes_on_as_it_was_learnt(storage: StorageSettings) -> None:
    """The same course once more is no change."""
    live(storage, FLEET, 0.0)
    change = look(storage)

    assert change.index is not None
    assert change.index < 0.25
    assert cause(change) is Cause.NONE


def test_a_fleet_that_moves_at_once_is_in_another_regime(storage: StorageSettings) -> None:
    """Incidents of most machines at once do not hide it: nothing would ever ask to learn it."""
    live(storage, FLEET, MOVED)
    bare = look(storage)
    for name in FLEET[:2]:
        incident(storage, name)
    change = look(storage)

    assert bare.index is not None
    assert bare.index > 1
    assert cause(bare) is Cause.REGIME_CHANGE
    assert change == bare


def test_maintenance_is_no_change(storage: StorageSettings) -> None:
    """What a class shows while it is worked on says nothing; before and after it is looked at."""
    live(storage, FLEET, MOVED)
    began = START_US + LEARNT * MINUTE_US
    with session(storage) as on:
        window = maintenance.add(
            on,
            machine_class=FAN.name,
            starts=instant(began),
            ends=instant(began + LIVED * MINUTE_US),
            who="test",
        )
    assert look(storage) == Change()
    with session(storage) as on:
        rows(on, "UPDATE maintenance SET ends = %s", (instant(began + MINUTE_US),))
    assert window.machine_class == FAN.name
    assert cause(look(storage)) is Cause.REGIME_CHANGE


def test_what_a_machine_showed_before_its_repair_is_no_change(storage: StorageSettings) -> None:
    """Its readings since the word alone count, and there are none yet."""
    live(storage, FLEET[1:], 0.0)
    live(storage, FLEET[:1], MOVED)
    before = look(storage)
    after_all = START_US + (LEARNT + LIVED) * MINUTE_US
    with session(storage) as on:
        maintenance.repaired(on, machine=FLEET[0], at=instant(after_all), who="test")

    after = look(storage)

    assert cause(before) is Cause.WEAR
    assert cause(after) is Cause.NONE


@pytest.mark.parametrize("suspected_by", ["incident", "label"])
def test_a_suspected_failure_of_one_machine_is_no_change_of_its_class(
    storage: StorageSettings, suspected_by: str
) -> None:
    """Neither its readings nor its course count, as in training; called false, both do."""
    live(storage, FLEET[1:], 0.0)
    live(storage, FLEET[:1], MOVED)
    before = look(storage)
    if suspected_by == "incident":
        incident(storage, FLEET[0])
    else:
        onset_us = START_US + LEARNT * MINUTE_US
        label = failures.Label(machine=FLEET[0], kind="wear", source="operator", onset_us=onset_us)
        with session(storage) as on:
            failures.add(on, [label])
    after = look(storage)

    assert cause(before) is Cause.WEAR
    assert cause(after) is Cause.NONE
    assert before.index is not None
    assert after.index is not None
    assert after.index < 0.25 < before.index


def test_an_incident_that_was_none_counts(storage: StorageSettings) -> None:
    """A person's word is what makes readings health again."""
    live(storage, FLEET[1:], 0.0)
    live(storage, FLEET[:1], MOVED)
    incident(storage, FLEET[0], feedback="false")

    assert cause(look(storage)) is Cause.WEAR


def test_without_readings_or_reference_nothing_is_known(storage: StorageSettings) -> None:
    """A champion of other sensors cannot be compared with."""
    other = replace(FAN, sensors=FAN.sensors[:2])
    with session(storage) as on:
        watch = ChangeWatch(margin_s=0.0)
        assert watch.look(on, FAN, [], 1) == Change()
        assert ChangeWatch(margin_s=0.0).look(on, other, FLEET, 1) == Change()
