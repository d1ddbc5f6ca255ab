"""Versions, events and the champion in a real Postgres; and what a sweep may learn from."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from domain.errors import (
    BadInputError,
    ConflictError,
    ModelRejectedError,
    NoChampionError,
    NotFoundError,
)
from domain.pipeline_spec import PipelineSpec
from storage import failures, maintenance, models, roster_store, shadow, sweeps
from storage.connect import Connection, rows, session
from storage.history import instant
from storage.settings import StorageSettings
from storage.shadow import Tally
from storage.suspicion import Suspicion, suspected, vouched
from tests.tuning_support import FAN, START_US, store
from tuning import data, labelled
from tuning.challenger import shadowed_alike
from tuning.data import Selection

WANTED = Selection(lookback_s=3600, margin_s=10, min_rows=600, max_rows=100_000)


def version(number: int, package: bytes = b"package") -> models.StoredModel:
    """Return a version to be stored."""
    return models.StoredModel(
        machine_class=FAN.name,
        version=number,
        run_id="run",
        sha256=hashlib.sha256(package).hexdigest(),
        package=package,
        metrics={"objective": 0.5},
    )


@pytest.fixture
def storage(database: StorageSettings) -> StorageSettings:
    """Return a database that knows the class and three versions, none promoted."""
    with session(database) as on:
        roster_store.register_class(on, FAN)
        for number in (1, 2, 3):
            models.add_version(on, version(number, b"%d" % number), actor="test", reason="made")
    return database


def promote(storage: StorageSettings, number: int) -> None:
    """Promote in a transaction of its own."""
    with session(storage) as on:
        models.promote(on, FAN.name, number, actor="me", reason=f"take {number}")


def test_the_champion_is_the_last_promoted(storage: StorageSettings) -> None:
    """None at first; then whatever was promoted last, with its package."""
    with session(storage) as on:
        assert models.champion(on, FAN.name) is None
        assert models.champions(on) == []
        assert models.versions(on) == {}
    promote(storage, 3)
    promote(storage, 2)
    with session(storage) as on:
        found = models.champion(on, FAN.name)
        assert found is not None
        assert (found.version, found.package, found.metrics) == (2, b"2", {"objective": 0.5})
        assert [one.version for one in models.champions(on)] == [2]
        assert models.versions(on) == {FAN.name: (2, found.sha256)}


def test_rollbacks_walk_back_and_never_forth(storage: StorageSettings) -> None:
    """Twice back is two champions back; a promotion after it begins a new line."""
    for number in (1, 2, 3):
        promote(storage, number)
    with session(storage) as on:
        assert models.rollback(on, FAN.name, actor="me", reason="bad") == 2
        assert models.rollback(on, FAN.name, actor="me", reason="worse") == 1
    with pytest.raises(ConflictError, match="first champion"), session(storage) as on:
        models.rollback(on, FAN.name, actor="me", reason="more")
    promote(storage, 3)
    with session(storage) as on:
        assert models.champion_line(on, FAN.name) == [1, 3]
        assert models.rollback(on, FAN.name, actor="me", reason="again") == 1


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], []),
        ([("promoted", 1), ("refused", 2), ("trained", 3)], [1]),
        ([("promoted", 1), ("promoted", 2), ("rolled_back", 1)], [1]),
        ([("promoted", 1), ("promoted", 2), ("promoted", 1), ("rolled_back", 2)], [1, 2]),
        ([("rolled_back", 4)], [4]),
    ],
)
def test_the_line_of_champions_is_read_from_events(
    events: list[tuple[str, int]], line: list[int]
) -> None:
    """A champion promoted again stands in the line twice."""
    assert models.lineage(events) == line


def test_what_was_champion_at_a_time_can_be_told(storage: StorageSettings) -> None:
    """An old verdict is explained by the model that gave it."""
    before = datetime.now(UTC)
    promote(storage, 1)
    with session(storage) as on:
        between = rows(on, "SELECT clock_timestamp()")[0][0]
    promote(storage, 2)
    with session(storage) as on:
        assert models.champion_at(on, FAN.name, before) is None
        first, last = (models.champion_at(on, FAN.name, at) for at in (between, datetime.now(UTC)))
        assert first is not None
        assert last is not None
        assert (first.version, first.reason, last.version) == (1, "take 1", 2)
        assert [one.event for one in models.history(on, FAN.name, limit=2)] == ["promoted"] * 2
        assert len(models.history(on)) == 5


def test_two_promotions_at_once_become_one_after_the_other(storage: StorageSettings) -> None:
    """The same version promoted by eight at once is promoted once, seven are told."""

    def attempt(_: int) -> bool:
        try:
            promote(storage, 1)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_what_is_not_there_cannot_be_promoted(storage: StorageSettings) -> None:
    """Every wrong name is told, nothing is written."""
    with pytest.raises(NotFoundError, match="version 9"):
        promote(storage, 9)
    with pytest.raises(NotFoundError, match="nobody"), session(storage) as on:
        models.promote(on, "nobody", 1, actor="me", reason="")
    with pytest.raises(NotFoundError, match="version 9"), session(storage) as on:
        models.get(on, FAN.name, 9)
    with pytest.raises(NoChampionError), session(storage) as on:
        models.rollback(on, FAN.name, actor="me", reason="")
    with pytest.raises(ConflictError), session(storage) as on:
        models.add_version(on, version(2), actor="me", reason="again")
    with session(storage) as on:
        assert len(models.history(on)) == 3
        newest = models.latest(on, FAN.name)
        assert newest is not None
        assert newest.version == models.latest_version(on, FAN.name) == 3


def test_a_damaged_package_is_not_given_out(storage: StorageSettings) -> None:
    """The checksum is verified on the way in and on the way out."""
    wrong = models.StoredModel(
        machine_class=FAN.name, version=4, run_id="", sha256="0" * 64, package=b"x"
    )
    with pytest.raises(ModelRejectedError), session(storage) as on:
        models.add_version(on, wrong, actor="me", reason="")
    promote(storage, 1)
    with session(storage) as on:
        rows(on, "UPDATE models SET package = 'tampered' WHERE version = 1")
    with pytest.raises(ModelRejectedError, match="SHA-256"), session(storage) as on:
        models.champion(on, FAN.name)


def test_only_the_same_configurations_time_in_shadow_counts(storage: StorageSettings) -> None:
    """Beside the present champion, and of versions whose configuration is known."""
    promote(storage, 1)
    spec = PipelineSpec(window_s=12.5)
    alike = replace(version(4, b"4"), params={"spec": asdict(spec)})
    beside = Tally(
        machine_class=FAN.name,
        champion=1,
        challenger=2,
        readings=4000,
        machine_s=2000.0,
        champion_alerts=40,
        challenger_alerts=80,
        both_alerts=40,
        challenger_sum=400.0,
    )
    with session(storage) as on:
        models.add_version(on, alike, actor="test", reason="made")
        # What 2 was made with nobody wrote down.
        shadow.add(on, [beside, replace(beside, challenger=4)])
        found = shadowed_alike(on, FAN.name, spec)
        other = shadowed_alike(on, FAN.name, replace(spec, window_s=13.0))
    with session(storage) as on:
        rows(on, "UPDATE models SET package = 'tampered' WHERE version = 4")
        damaged = shadowed_alike(on, FAN.name, spec)
        rows(on, "UPDATE models SET package = '4' WHERE version = 4")
    promote(storage, 3)
    with session(storage) as on:
        beside_another = shadowed_alike(on, FAN.name, spec)

    assert found is not None
    assert (found.name, found.readings) == ("version 4", 4000)
    assert (found.champion_alert_rate, found.alert_rate) == (0.01, 0.02)
    assert (found.agreement, found.score_drift) == (0.99, 0.1)
    assert other is None
    assert damaged is None
    assert beside_another is None


def test_one_sweep_of_a_class_at_a_time(storage: StorageSettings) -> None:
    """The second is told; when the first ends, however, the class is free again."""
    with sweeps.alone(storage, FAN.name):
        with session(storage) as on:
            assert sweeps.attempts(on, FAN.name).running
            assert not sweeps.attempts(on, "another").running
        with pytest.raises(ConflictError, match="under way"), sweeps.alone(storage, FAN.name):
            pass
        with sweeps.alone(storage, "another"):
            pass
    with sweeps.alone(storage, FAN.name), session(storage) as on:
        sweeps.begin(on, "first", FAN.name)
    with sweeps.alone(storage, FAN.name), session(storage) as on:
        sweeps.begin(on, "second", FAN.name)
        sweeps.progress(on, "second", 5, "run")
        sweeps.progress(on, "second", 6, None)
        sweeps.end(on, "second", "succeeded", outcome="done", version=3)
    with session(storage) as on:
        found = {
            one[0]: one[1:]
            for one in rows(on, "SELECT id, state, trials, run_id, version FROM sweeps")
        }
        attempts = sweeps.attempts(on, FAN.name)
    assert found["first"] == ("failed", 0, None, None)
    assert found["second"] == ("succeeded", 6, "run", 3)
    assert (attempts.running, attempts.today) == (False, 2)
    assert attempts.since_end_s is not None


def label(on: Connection, *given: tuple[str, str, int]) -> None:
    """Label failures of fan-1 that last 20 s: kind, source and second of the onset."""
    failures.add(
        on,
        [
            failures.Label(
                machine="fan-1",
                kind=kind,
                source=source,
                onset_us=START_US + at * 1_000_000,
                end_us=START_US + (at + 20) * 1_000_000,
            )
            for kind, source, at in given
        ],
    )


def closed_incident(on: Connection, began_s: int, feedback: str | None) -> None:
    """Store an incident of fan-2 that lasted 20 s."""
    began, closed = (instant(START_US + at * 1_000_000) for at in (began_s, began_s + 20))
    rows(
        on,
        "INSERT INTO incidents (machine_key, kind, state, began, opened, last_seen,"
        " closed, peak_score, root_sensor, model_version, feedback) SELECT key, 'machine',"
        " 'closed', %s, %s, %s, %s, 2, 'flow', 1, %s FROM machines WHERE name = 'fan-2'",
        (began, began, closed, closed, feedback),
    )


def test_suspected_periods_are_not_learnt_from(database: StorageSettings) -> None:
    """Failures and incidents are cut out with a margin; false alarms and exam answers are not."""
    store(database, rows=1200)
    second = 1_000_000
    with session(database) as on:
        label(on, ("wear", "operator", 100), ("wear", "simulator", 300))
        closed_incident(on, 400, None)
        closed_incident(on, 500, "false")
        found = suspected(on, ["fan-1", "fan-2"], START_US, START_US + 600 * second)
        healthy = vouched(on, ["fan-1", "fan-2"], START_US, START_US + 600 * second)
        dataset = data.read(on, FAN.name, WANTED)

    assert found == [
        Suspicion(machine=name, from_us=START_US + at * second, to_us=START_US + (at + 20) * second)
        for name, at in (("fan-1", 100), ("fan-2", 400))
    ]
    assert healthy == {"fan-2": [(START_US + 500 * second, START_US + 520 * second)]}
    assert dataset.vouched == healthy
    # 20 s and a margin of 10 s on both sides, two readings a second, ends included.
    assert dataset.excluded == 2 * 81
    assert len(dataset) == 2 * (1200 - 81)
    kept = (dataset.histories[0].instants_us - START_US) / second
    assert not ((kept >= 90) & (kept <= 130)).any()
    assert ((kept > 300) & (kept < 320)).any()


def test_an_incident_that_lasts_hides_all_after_it(database: StorageSettings) -> None:
    """What is open now may be a failure until now."""
    store(database, rows=1200)
    with session(database) as on:
        onset = START_US + 300_000_000
        failures.add(
            on, [failures.Label(machine="fan-1", kind="x", source="operator", onset_us=onset)]
        )
        dataset = data.read(on, FAN.name, WANTED)
    by_name = {one.machine: one for one in dataset.histories}

    assert by_name["fan-1"].instants_us[-1] < onset - 10_000_000
    assert len(by_name["fan-2"]) == 1200


def test_the_lookback_ends_at_the_newest_reading(database: StorageSettings) -> None:
    """Not at the clock: a history brought in from last year is trained on as it is."""
    store(database, rows=1200)
    with session(database) as on:
        dataset = data.read(
            on, FAN.name, Selection(lookback_s=200, margin_s=0, min_rows=100, max_rows=10_000)
        )
        bounded = data.read(
            on, FAN.name, Selection(lookback_s=3600, margin_s=0, min_rows=100, max_rows=1000)
        )
    assert {len(one) for one in dataset.histories} == {400}
    assert dataset.period_us[1] == START_US + 1199 * 500_000
    assert {len(one) for one in bounded.histories} == {500}
    assert bounded.histories[0].instants_us[-1] == START_US + 1199 * 500_000
    part = dataset.newest(100, machines=1)
    assert [one.machine for one in part.histories] == ["fan-1"]
    np.testing.assert_array_equal(
        part.histories[0].instants_us, dataset.histories[0].instants_us[-100:]
    )


def test_too_little_history_says_how_much_there_is(database: StorageSettings) -> None:
    """The message gives the figures and what to do."""
    with session(database) as on:
        roster_store.register_class(on, FAN)
        with pytest.raises(BadInputError, match="0 readings of 0 machines"):
            data.read(on, FAN.name, WANTED)
        with pytest.raises(NotFoundError, match="nobody"):
            data.read(on, "nobody", WANTED)
    store(database, rows=200)
    with session(database) as on:
        with pytest.raises(BadInputError, match="400 readings of 2 machines in the last 1 h; a sw"):
            data.read(on, FAN.name, WANTED)
        assert data.classes_with_machines(on) == (FAN.name,)


def test_what_people_judged_is_read_with_what_came_before(database: StorageSettings) -> None:
    """Labels and false alarms, but neither a simulator's truth nor faults of sensors."""
    store(database)
    with session(database) as on:
        label(
            on,
            ("wear", "operator", 200),
            ("wear", "simulator", 300),
            ("sensor-stuck", "operator", 400),
            ("wear", "operator", -9000),
        )
        closed_incident(on, 100, "false")
        pieces = labelled.read(on, FAN, 10)

    assert [(one.history.machine, one.failure) for one in pieces] == [
        ("fan-2", False),
        ("fan-1", True),
    ]
    quiet, wear = pieces
    assert quiet.inside.sum() == wear.inside.sum() == 41
    # The later half of what came before, and all of what was called false.
    assert (len(quiet.history), int(quiet.healthy.sum())) == (241, 100 + 41)
    # Ten seconds before the label are not known to be healthy.
    assert (len(wear.history), int(wear.healthy.sum())) == (441, 200 - 20)
    assert not (wear.healthy & wear.inside).any()
    assert not quiet.words
    assert not wear.words
    with session(database) as on:
        word = START_US + 900_000_000
        maintenance.repaired(on, machine="fan-1", at=instant(word), who="ada")
        quiet, wear = labelled.read(on, FAN, 10)
    # Repaired since: its level of then is learnt from the readings of then.
    assert (quiet.words, wear.words[1:]) == ((), (word,))
    assert wear.words[0] <= wear.history.instants_us[0]
