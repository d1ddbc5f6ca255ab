"""Verdicts, incidents, keys and the reads of the console, on a real Postgres."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import BadInputError, ConflictError, NotFoundError
from domain.risk.outlook import IncidentMode, TypicalSensor
from storage import anomalies, api_keys, feedback, fleet, incidents, models, rates, verdicts
from storage.connect import Connection, rows, session
from storage.partitions import ensure
from storage.settings import StorageSettings

T0_US = 1_750_000_000_000_000
_EVIDENCE = (verdicts.Contribution(sensor="vibration", share=0.8, expected=0.2, observed=0.9),)


@pytest.fixture
def machine(database: StorageSettings) -> int:
    """Return the key of one registered machine of a class with two sensors."""
    with session(database) as on:
        return register(on, "pump-1")


def register(on: Connection, name: str) -> int:
    """Register a machine of the class pump."""
    sensors = [{"name": "vibration", "unit": "g"}, {"name": "flow", "unit": "l/min"}]
    rows(
        on,
        "INSERT INTO machine_classes (name, sensors, period_s) VALUES ('pump', %s, 0.5)"
        " ON CONFLICT DO NOTHING",
        (json.dumps(sensors),),
    )
    made = rows(
        on,
        "INSERT INTO machines (name, machine_class) VALUES (%s, 'pump') RETURNING key",
        (name,),
    )
    return int(made[0][0])


def anomaly(machine: int, second: int, score: float = 2.0) -> verdicts.Anomaly:
    """Return an anomaly `second` seconds after the beginning."""
    return verdicts.Anomaly(
        machine_key=machine,
        instant_us=T0_US + second * 1_000_000,
        model_version=1,
        score=score,
        kind="machine",
        contributions=_EVIDENCE,
    )


def incident(machine: int, last_s: int, closed_s: int | None = None) -> verdicts.Incident:
    """Return an incident that began at the beginning and was last seen at `last_s`."""
    return verdicts.Incident(
        machine_key=machine,
        kind="machine",
        began_us=T0_US,
        opened_us=T0_US + 2_000_000,
        last_seen_us=T0_US + last_s * 1_000_000,
        closed_us=None if closed_s is None else T0_US + closed_s * 1_000_000,
        peak_score=3.5,
        anomalies=last_s + 1,
        root_sensor="vibration",
        evidence=_EVIDENCE,
        peaked_us=T0_US + 1_000_000,
        model_version=1,
    )


def test_an_anomaly_scored_twice_is_written_once(database: StorageSettings, machine: int) -> None:
    """The scorer reads a batch again after a crash; the key makes that harmless."""
    batch = [anomaly(machine, second) for second in range(3)]

    with session(database) as on:
        assert verdicts.write_anomalies(on, batch) == 3
    with session(database) as on:
        assert verdicts.write_anomalies(on, [*batch, anomaly(machine, 3)]) == 1
        shown = anomalies.listed(on)

    assert [one.score for one in shown] == [2.0] * 4
    assert shown[0].contributions[0] == {
        "sensor": "vibration",
        "share": 0.8,
        "expected": 0.2,
        "observed": 0.9,
    }


def test_an_incident_ties_the_anomalies_before_and_after_it_opened(
    database: StorageSettings, machine: int
) -> None:
    """Anomalies that led to an incident belong to it as much as those that follow."""
    with session(database) as on:
        verdicts.write_anomalies(on, [anomaly(machine, -60), anomaly(machine, 0)])
        number = verdicts.open_incident(on, incident(machine, last_s=2))
        verdicts.write_anomalies(on, [anomaly(machine, 3)])
        tied = [one.incident_id for one in anomalies.listed(on)]

    assert tied == [number, number, None]


def test_there_is_one_live_incident_of_a_kind_per_machine(
    database: StorageSettings, machine: int
) -> None:
    """Opened twice, it is the same incident; after it closed, a new one may open."""
    with session(database) as on:
        first = verdicts.open_incident(on, incident(machine, last_s=2))
        assert verdicts.open_incident(on, incident(machine, last_s=5)) == first
        assert verdicts.update_incident(on, incident(machine, last_s=9, closed_s=70))
        closed = incidents.incident(on, first)
        second = verdicts.open_incident(on, incident(machine, last_s=100))

    assert closed.state == "closed"
    assert closed.closed == datetime.fromtimestamp(T0_US / 1e6, tz=UTC) + timedelta(seconds=70)
    assert second != first


def test_an_incident_that_a_person_closed_is_not_reopened_by_an_update(
    database: StorageSettings, machine: int
) -> None:
    """The scorer's next update finds no live incident and says so."""
    with session(database) as on:
        number = verdicts.open_incident(on, incident(machine, last_s=2))
        incidents.acknowledge(on, number, "ada")
        closed = incidents.close(on, number, "ada", "bearing replaced")
        assert not verdicts.update_incident(on, incident(machine, last_s=9))
        assert incidents.incidents(on, live=True) == ()
        with pytest.raises(ConflictError, match="was closed"):
            incidents.acknowledge(on, number, "ada")
        told = feedback.give(on, number, "true", who="ada").incident

    assert (closed.state, closed.acknowledged_by, closed.note) == (
        "closed",
        "ada",
        "bearing replaced",
    )
    assert (told.feedback, told.note) == ("true", "bearing replaced")


def test_a_live_incident_comes_back_as_it_was_written(
    database: StorageSettings, machine: int
) -> None:
    """A scorer that starts again goes on with the incidents it finds."""
    written = incident(machine, last_s=4)
    with session(database) as on:
        verdicts.open_incident(on, written)
        found = verdicts.live_incidents(on)

    assert [one.incident for one in found] == [written]


def test_a_known_failure_mode_stays_and_says_what_it_was_told_by(
    database: StorageSettings, machine: int
) -> None:
    """Unknown becomes known and another known one; after the repair nothing is like a failure."""
    calm = IncidentMode(mode="unknown", reason="it does not depart from healthy machines")
    wear = IncidentMode(mode="bearing_wear", distance=0.1, confidence=0.8, lead_time_s=600.0,
                        sensors=[TypicalSensor(sensor="vibration", direction="up", departure=5.0)],
                        as_of="2026-01-02T00:00:00Z", risk_version=3)  # fmt: skip
    worse = replace(wear, mode="seized", distance=0.05)
    kept = []
    with session(database) as on:
        number = verdicts.open_incident(on, replace(incident(machine, last_s=4), failure_mode=calm))
        for last_s, mode in ((5, wear), (6, worse), (7, calm)):
            kept.append(incidents.incident(on, number).failure_mode)
            verdicts.update_incident(on, replace(incident(machine, last_s), failure_mode=mode))
        kept.append(incidents.incident(on, number).failure_mode)
        verdicts.update_incident(on, incident(machine, last_s=7, closed_s=70))
        closed = incidents.incident(on, number)

    assert kept == [calm, wear, worse, worse]
    assert (closed.state, closed.failure_mode) == ("closed", worse)
    assert closed.peaked is not None


def test_an_incident_from_before_says_that_no_mode_was_kept(
    database: StorageSettings, machine: int
) -> None:
    """Unknown with a reason, as everywhere."""
    with session(database) as on:
        number = verdicts.open_incident(on, replace(incident(machine, last_s=4), peaked_us=None))
        found = incidents.incident(on, number)

    assert (found.failure_mode.mode, found.peaked) == ("unknown", None)
    assert "was not kept" in found.failure_mode.reason


def test_an_older_state_never_replaces_a_newer_one(database: StorageSettings, machine: int) -> None:
    """Readings may arrive late; the console shows the newest instant."""

    def state(second: int, score: float) -> verdicts.State:
        return verdicts.State(
            machine_key=machine,
            instant_us=T0_US + second * 1_000_000,
            score=score,
            model_version=2,
            quality={"ready": True},
        )

    with session(database) as on:
        verdicts.write_states(on, [state(5, 0.5)])
        verdicts.write_states(on, [state(4, 0.9)])
        assert verdicts.scored_until(on) == {machine: T0_US + 5_000_000}
        assert fleet.machines(on)[0].score == 0.5


def test_the_fleet_shows_each_machine_with_its_newest_reading_and_incidents(
    database: StorageSettings, machine: int
) -> None:
    """One query answers what the console's table asks."""
    at = datetime.fromtimestamp(T0_US / 1e6, tz=UTC)
    with session(database) as on:
        register(on, "pump-2")
        ensure(on, [at.date()])
        rows(
            on,
            "INSERT INTO readings VALUES (%s, %s, '{1,2}'), (%s, %s, '{1,2}')",
            (machine, at, machine, at - timedelta(seconds=1)),
        )
        number = verdicts.open_incident(on, incident(machine, last_s=2))
        first, second = fleet.machines(on)
        assert fleet.machines(on, after="pump-1") == (second,)
        assert fleet.machines(on, name="pump-9") == ()

    assert (first.name, first.last_reading, first.score) == ("pump-1", at, None)
    assert [one["id"] for one in first.incidents] == [number]
    assert (second.last_reading, second.conditions, second.incidents) == (None, (), ())


def test_pages_of_anomalies_neither_repeat_nor_skip(
    database: StorageSettings, machine: int
) -> None:
    """Two machines may be anomalous at the same instant, on either side of a page's edge."""
    with session(database) as on:
        other = register(on, "pump-2")
        both = [anomaly(key, second) for second in range(3) for key in (machine, other)]
        verdicts.write_anomalies(on, both)
        seen = list(anomalies.listed(on, limit=3))
        last = seen[-1]
        seen += anomalies.listed(
            on, before=(last.instant, last.machine, last.model_version), limit=10
        )

    assert len({(one.machine, one.instant) for one in seen}) == len(seen) == 6


def test_a_stage_counts_only_its_fresh_workers(database: StorageSettings) -> None:
    """A worker that died does not go on producing on the console."""
    with session(database) as on:
        rows(
            on,
            "INSERT INTO pipeline_rates (worker, stage, per_second, total, lag, updated_at) VALUES"
            " ('a', 'consume', 10, 100, 3, now()), ('b', 'consume', 5, 50, 4, now()),"
            " ('c', 'produce', 5, 50, NULL, now() - interval '1 hour')",
        )
        shown = rates.by_stage(on)

    assert [(one.stage, one.per_second, one.total, one.lag, one.workers) for one in shown] == [
        ("consume", 15.0, 150, 7, 2)
    ]


def test_the_last_promoted_or_rolled_back_version_is_shown_as_champion(
    database: StorageSettings, machine: int
) -> None:
    """The list of models and the console agree with the events."""
    assert machine
    with session(database) as on:
        for version in (1, 2):
            rows(
                on,
                "INSERT INTO models (machine_class, version, run_id, sha256, package)"
                " VALUES ('pump', %s, 'r', 's', 'abc')",
                (version,),
            )
        for version, event in ((1, "promoted"), (2, "promoted"), (1, "rolled_back")):
            rows(
                on,
                "INSERT INTO model_events (machine_class, version, event, actor, reason)"
                " VALUES ('pump', %s, %s, 'ada', 'better')",
                (version, event),
            )
        shown = models.listed(on)
        champions = models.listed(on, champions_only=True)

    assert [(one.version, one.champion) for one in shown] == [(2, False), (1, True)]
    assert [(one.version, one.promoted_by, one.package_bytes) for one in champions] == [
        (1, "ada", 3)
    ]


def test_a_key_opens_until_it_is_revoked(database: StorageSettings) -> None:
    """The database never holds the key itself."""
    with session(database) as on:
        key = api_keys.create(on, "line-1", "operator")
        holder = api_keys.holder_of(on, key)
        stored = rows(on, "SELECT sha256 FROM api_keys")[0][0]
        api_keys.revoke(on, "line-1")
        after = api_keys.holder_of(on, key)
        listed = api_keys.every(on)

    assert holder == api_keys.Holder(name="line-1", role="operator")
    assert key not in stored
    assert after is None
    assert [(one.holder.name, one.revoked) for one in listed] == [("line-1", True)]


def test_keys_that_cannot_be_made_or_revoked_say_why(database: StorageSettings) -> None:
    """A wrong role, a taken name and an unknown name are three different answers."""
    with session(database) as on:
        api_keys.create(on, "a", "reader")
        with pytest.raises(ConflictError, match="already"):
            api_keys.create(on, "a", "owner")
        with pytest.raises(BadInputError, match="reader, operator, owner"):
            api_keys.create(on, "b", "king")
        with pytest.raises(NotFoundError):
            api_keys.revoke(on, "c")


def test_roles_grow_from_reader_to_owner() -> None:
    """Who may more, may less."""
    operator = api_keys.Holder(name="x", role="operator")

    assert operator.may("reader")
    assert operator.may("operator")
    assert not operator.may("owner")
