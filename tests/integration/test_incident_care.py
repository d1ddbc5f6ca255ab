"""Feedback, maintenance, cold start and webhooks: the same on the stream and over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest

from domain.care import WIDEST, is_cold
from domain.conditions import Condition, SensorState, StateChanges
from domain.incidents import Change
from domain.readings import History, ReadingBatch
from domain.webhooks import Format
from ray_app.judge import Judge
from ray_app.judged import Verdicts
from storage import (
    api_keys,
    endings,
    failures,
    feedback,
    incidents,
    maintenance,
    roster_store,
    sensor_states,
    shadow,
    suspicion,
    verdicts,
    webhooks,
)
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.integration.test_api import (  # fixtures are asked for by name
    ROWS,
    SENSORS,
    START_US,
    Served,
    fleet,  # noqa: F401
    packages,  # noqa: F401
    promote,
    readings,
    served,  # noqa: F401
)
from tests.webhook_support import SECRET, incident, receiver

WINDOW = 80


class _Alone:
    """Nothing to look back on but since when there is something."""

    def __init__(self, served: Served) -> None:  # noqa: F811
        self._served = served

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return no readings."""
        del instant_us, rows
        nothing = np.empty(0, dtype=np.int64)
        return History(machine=machine, instants_us=nothing, values=np.empty((0, len(SENSORS))))

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return no readings."""
        del from_us
        return self.before(machine, before_us, rows)

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Nobody asks: there is no risk model."""
        raise AssertionError((machine, before_us, step_us))

    def first_us(self, machine: str) -> int | None:
        """Ask Postgres."""
        return self._served.registry.first_us(machine)


def window(bump: float) -> History:
    """Return readings after the stored ones, with one sensor off by `bump`."""
    made = readings(WINDOW, 1, ROWS)
    made.values[:, 0] += bump
    return made


def over_http(served: Served, machine: str, given: History) -> dict[str, Any]:  # noqa: F811
    """Return the prediction of a window alone."""
    at = [datetime.fromtimestamp(us / 1e6, UTC).isoformat() for us in given.instants_us.tolist()]
    values = [dict(zip(SENSORS, row, strict=True)) for row in given.values.tolist()]
    body = {
        "machine_id": machine,
        "context": "none",
        "readings": [{"timestamp": t, "values": v} for t, v in zip(at, values, strict=True)],
    }
    answer = served.predict(body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def on_stream(served: Served, machine: str, given: History) -> Verdicts:  # noqa: F811
    """Return what the stream's judge makes of the same readings, split into two batches."""
    known = served.champions.refresh()
    one, champion = known.roster.machines[machine], known.champion("pump")
    judge = Judge(_Alone(served), (), {})
    found = Verdicts()
    for part in (slice(0, 13), slice(13, None)):
        count = len(given.instants_us[part])
        batch = ReadingBatch(
            machine_class=champion.pipeline.machine_class,
            machine_keys=np.full(count, one.key, dtype=np.int32),
            instants_us=given.instants_us[part],
            values=given.values[part],
        )
        found.add(judge.judge(batch, {one.key: one}, champion, known.care))
    return found


def scores_of(found: Verdicts) -> list[float]:
    """Return all scores of a run of the judge."""
    return [score for view in found.views for score in view.scores.score.tolist()]


def key_of(database: StorageSettings, name: str) -> int:
    """Return a machine's key."""
    with session(database) as on:
        return int(rows(on, "SELECT key FROM machines WHERE name = %s", (name,))[0][0])


def opened(database: StorageSettings, name: str = "pump-1", **more: Any) -> int:
    """Store an incident of a machine; return its number."""
    with session(database) as on:
        return verdicts.open_incident(on, incident(key_of(database, name), **more))


def bearer(database: StorageSettings, name: str, role: str) -> dict[str, str]:
    """Return the headers of who holds a new key."""
    with session(database) as on:
        return {"authorization": f"Bearer {api_keys.create(on, name, role)}"}


def post(
    served: Served,  # noqa: F811
    path: str,
    body: Any,
    headers: dict[str, str],
) -> httpx.Response:
    """Post JSON to the API."""
    return served.api(path, "POST", json=body, headers=headers)


def test_feedback_moves_limits_at_once_and_alike_on_stream_and_http(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """A false alarm lowers what its sensors add to this machine's scores, and no other's."""
    given = window(bump=0.05)
    before = over_http(served, "pump-1", given)
    number = opened(database)
    headers = bearer(database, "ada", "operator")

    answer = post(served, f"/incidents/{number}/feedback", {"feedback": "false"}, headers).json()
    found = on_stream(served, "pump-1", given)
    after = over_http(served, "pump-1", given)

    moved = {one["sensor"]: one for one in answer["limits"]}
    assert (answer["feedback"], answer["feedback_by"]) == ("false", "ada")
    assert answer["failure_mode"]["mode"] == "unknown"
    assert moved["vibration"]["before"] == 1.0
    assert moved["vibration"]["after"] == pytest.approx(2**-0.4)
    factors = {name: one["after"] for name, one in moved.items()}
    wanted = sum(
        before["score"] * part["share"] * factors.get(part["sensor"], 1.0)
        for part in before["contributions"]
    )
    assert after["score"] == pytest.approx(wanted, rel=1e-4)
    assert after["score"] < 0.9 * before["score"]
    np.testing.assert_allclose(scores_of(found), after["scores"], rtol=1e-9)
    assert "limits moved by feedback" in after["data_quality"]["note"]
    assert "limits moved by feedback" in found.states[-1].quality["note"]
    other = over_http(served, "pump-2", given)
    assert other["data_quality"]["note"].count("feedback") == 0


def test_the_last_word_on_an_incident_counts_and_becomes_a_label(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """Said twice it counts once, changed it leaves nothing behind; a true alarm is a label."""
    number = opened(database)
    with session(database) as on:
        first = feedback.give(on, number, "false", who="ada").after
        assert feedback.give(on, number, "false", who="ada").after == first
        assert failures.listed(on) == []
        done = feedback.give(on, number, "true", who="ada", note="bearing")
        assert done.before == first
        assert done.after["vibration"] == pytest.approx(2**0.2)
        (label,) = failures.listed(on)
        assert (label.source, label.sensors, label.end_us) == ("feedback", ("vibration",), None)
        ended = incident(key_of(database, "pump-1"), closed_us=label.onset_us + 65_000_000)
        assert verdicts.update_incident(on, ended)
        (label,) = failures.listed(on)
        assert label.end_us == label.onset_us + 65_000_000
        assert feedback.give(on, number, "maintenance", who="ada").after == {}
        assert failures.listed(on) == []
    assert served.champions.refresh().care == {}


def test_a_new_machine_is_scored_at_once_with_widened_limits_and_says_so(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """Its class's model judges it, on stream and HTTP equally; its state says that it is new."""
    with session(database) as on:
        roster_store.register_machines(on, ["pump-9"], "pump")
    given = window(bump=0.0)

    found = on_stream(served, "pump-9", given)
    told = over_http(served, "pump-9", given)

    pipeline = served.champions.known.champion("pump").pipeline
    assert is_cold(pipeline, "pump-9")
    plain = pipeline.score(pipeline.new_state("pump-9"), given.instants_us, given.values)
    assert plain.score[0] / told["scores"][0] == pytest.approx(WIDEST)
    assert 1 < plain.score[-1] / told["scores"][-1] < WIDEST
    np.testing.assert_allclose(scores_of(found), told["scores"], rtol=1e-9)
    assert "cold start" in told["data_quality"]["note"]
    assert "cold start" in found.states[-1].quality["note"]
    assert "cold start" not in over_http(served, "pump-1", given)["data_quality"]["note"]


def test_within_maintenance_nothing_is_opened_and_nothing_is_learnt(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """The same readings open an incident without it; a class's window covers its machines."""
    warm = readings(1400, 1, ROWS)
    warm.values[1200:, 0] += 0.5
    assert Change.OPENED in [one.change for one in on_stream(served, "pump-1", warm).changes]
    with session(database) as on:
        made = maintenance.add(
            on,
            machine_class="pump",
            starts=datetime.fromtimestamp(START_US / 1e6, UTC),
            note="overhaul",
            who="ada",
        )
        (period,) = suspicion.suspected(on, ["pump-1"], START_US, START_US + 10**9)
    assert (period.from_us, period.to_us) == (START_US, None)

    found = on_stream(served, "pump-1", warm)

    assert made.active
    assert (found.changes, found.anomalies) == ([], [])
    assert "under maintenance" in found.states[-1].quality["note"]
    assert "under maintenance" in over_http(served, "pump-1", warm)["data_quality"]["note"]


def test_maintenance_over_http_is_entered_once_listed_and_ended(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """A key repeats the answer and not the work; what makes no sense is refused."""
    headers = bearer(database, "ada", "operator") | {"idempotency-key": "one"}
    body = {"machine_id": "pump-1", "note": "new bearing"}

    first = post(served, "/maintenance", body, headers)
    again = post(served, "/maintenance", body, headers)

    assert first.status_code == 200, first.text
    assert first.json() == again.json()
    other = post(served, "/maintenance", {"machine_id": "pump-2"}, headers)
    assert other.status_code == 422
    (listed,) = served.api("/maintenance?active=true").json()["items"]
    assert (listed["machine"], listed["created_by"], listed["ends"]) == ("pump-1", "ada", None)
    del headers["idempotency-key"]
    ended = post(served, f"/maintenance/{listed['id']}/end", {}, headers)
    assert ended.status_code == 200
    assert not ended.json()["active"]
    assert post(served, f"/maintenance/{listed['id']}/end", {}, headers).status_code == 409
    late = {"machine_id": "pump-1", "ends": (datetime.now(UTC) - timedelta(1)).isoformat()}
    for wrong, status in (
        ({}, 422),
        ({"machine_id": "pump-1", "machine_class": "pump"}, 422),
        (late, 422),
        ({"machine_id": "nobody"}, 404),
        ({"machine_class": "nothing"}, 404),
    ):
        assert post(served, "/maintenance", wrong, headers).status_code == status
    assert post(served, "/maintenance", body, {}).status_code == 401


def test_webhooks_over_http_are_an_owners_and_keep_their_secret(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """Registered, tried, listed and removed; nobody else may, and no answer holds the secret."""
    owner, operator = bearer(database, "eve", "owner"), bearer(database, "bob", "operator")
    with receiver() as hook:
        body = {"url": hook.url, "secret": SECRET}
        assert post(served, "/webhooks", body, operator).status_code == 403
        made = post(served, "/webhooks", body, owner | {"idempotency-key": "w"})
        again = post(served, "/webhooks", body, owner | {"idempotency-key": "w"})
        assert made.status_code == 200, made.text
        assert made.json() == again.json()
        number = made.json()["id"]
        assert post(served, "/webhooks", body, owner).status_code == 409
        tried = post(served, f"/webhooks/{number}/test", {}, owner).json()
        assert tried == {"delivered": True, "error": ""}
        hook.mood = "fail"
        tried = post(served, f"/webhooks/{number}/test", {}, owner).json()
        assert tried == {"delivered": False, "error": "HTTP 500"}
    assert [one.told["event"] for one in hook.requests] == ["test", "test"]
    listed = served.api("/webhooks")
    removed = served.api(f"/webhooks/{number}", "DELETE", headers=operator)
    assert removed.status_code == 403
    removed = served.api(f"/webhooks/{number}", "DELETE", headers=owner)
    assert removed.status_code == 200
    assert served.api("/webhooks").json()["items"] == []
    wrong = post(served, "/webhooks", {"url": "ftp://x/y", "secret": SECRET}, owner)
    assert wrong.status_code == 422
    assert "http://" in wrong.json()["detail"]
    for answer in (made, listed, removed, wrong):
        assert SECRET not in answer.text
    with session(database) as on:
        kept = rows(on, "SELECT string_agg(a::text, '') FROM answers AS a")[0][0]
    assert SECRET not in kept


def test_similar_incidents_of_the_class_are_found_with_what_was_found_then(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """By the profile of their evidence, across machines, never later ones."""
    flow = (verdicts.Contribution(sensor="flow", share=1.0, expected=1.0, observed=2.0),)
    alike = opened(database, "pump-2")
    with session(database) as on:
        feedback.give(on, alike, "true", who="ada", note="bearing")
        roster_store.register_machines(on, ["pump-3"], "pump")
    opened(database, "pump-3", evidence=flow, root_sensor="flow")
    number = opened(database, "pump-1")

    told = served.api(f"/incidents/{number}/similar").json()["items"]

    assert [(one["id"], one["likeness"], one["note"]) for one in told] == [(alike, 1.0, "bearing")]
    assert served.api("/incidents/999/similar").status_code == 404


def test_a_machine_that_went_silent_keeps_no_incident_open(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """It ends where it would have ended had the next reading been healthy."""
    number, key = opened(database), key_of(database, "pump-1")
    now_us = round(datetime.now(UTC).timestamp() * 1e6)
    state = SensorState(
        machine_key=key,
        sensor="",
        condition=Condition.SILENT,
        since_us=now_us - 300_000_000,
        last_seen_us=now_us,
    )
    with session(database) as on:
        sensor_states.write(on, [StateChanges(present=(state,))])
        assert endings.close_silent(on, after_s=600.0, quiet_s=60.0) == []
        assert endings.close_silent(on, after_s=200.0, quiet_s=60.0) == [(key, "machine")]
        closed = incidents.incident(on, number)
    assert (closed.state, closed.close_reason) == ("closed", "silent")
    assert closed.closed == closed.last_seen + timedelta(seconds=60)
    assert served.api(f"/incidents/{number}").json()["close_reason"] == "silent"


def test_the_console_shows_limits_likeness_maintenance_webhooks_and_challengers(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """What was set by people is seen, and no secret with it."""
    with session(database) as on:
        feedback.give(on, opened(database, "pump-2"), "true", who="ada", note="bearing 7")
    number = opened(database, severity="major")
    with session(database) as on:
        feedback.give(on, number, "false", who="ada")
        maintenance.add(on, machine="pump-2", note="new seals", who="bob")
        webhooks.add(on, "http://hook/a?token=topsecret", Format.JSON, SECRET, who="eve")
        shadow.add(on, [_TALLY])
        shadow.say(on, "pump", 2, failed="ValueError: no")

    machine, care = served.page("/machines/pump-1").text, served.page("/care").text

    for words in ("Limits moved by feedback", "×0.76", "bearing 7", "major", "by ada"):
        assert words in machine
    for words in ("pump-2", "new seals", "http://hook/a?…", "pump version 2", "ValueError: no"):
        assert words in care
    assert "90 %" in care
    assert "topsecret" not in care
    assert served.page("/parts/care").text.count("<section") == 3
    (told,) = served.api("/models/shadow").json()["items"]
    assert (told["state"], told["agreement"], told["score_drift"]) == ("failed", 0.9, 0.25)
    assert told["challenger_incidents"] == pytest.approx(2 * told["champion_incidents"])


_TALLY = shadow.Tally(
    machine_class="pump",
    champion=1,
    challenger=2,
    readings=100,
    machine_s=50.0,
    champion_alerts=5,
    challenger_alerts=15,
    both_alerts=5,
    champion_incidents=1,
    challenger_incidents=2,
    champion_sum=20.0,
    challenger_sum=45.0,
    square_sum=25.0,
)


def test_a_challenger_is_the_newest_version_after_the_champion(
    served: Served,  # noqa: F811
    database: StorageSettings,
    packages: dict[int, bytes],  # noqa: F811
) -> None:
    """The former champion is none; after a rollback the one that was left is."""
    assert served.registry.challengers() == {}
    promote(database, 2, packages[2])
    assert served.registry.challengers() == {}
    with session(database) as on:
        from storage import models

        models.rollback(on, "pump", actor="ada", reason="worse")
    assert served.registry.challengers()["pump"][0] == 2


@pytest.mark.parametrize("field", ["note", "machine_id", "machine_class"])
def test_a_nul_in_maintenance_is_refused_by_name(
    served: Served,  # noqa: F811
    database: StorageSettings,
    field: str,
) -> None:
    """Postgres keeps every character but that one."""
    headers = bearer(database, "ada", "operator")

    said = post(served, "/maintenance", {"machine_id": "pump-1", field: "a\0b"}, headers)

    assert said.status_code == 422
    assert said.json()["errors"][0]["pointer"] == f"/{field}"
