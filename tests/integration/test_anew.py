"""The word that a machine was repaired: given, heeded alike on every way, and taken back."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from domain.care import Care
from domain.incidents import Change
from domain.readings import History, ReadingBatch
from observability.metric import NoMetrics
from ray_app.judge import Judge
from ray_app.judged import Verdicts
from ray_app.serve.scorer import Scorer
from ray_app.serve.verdict import scored
from ray_app.shadow import Shadow
from storage import copy_format, maintenance, models, roster_store
from storage.care import care
from storage.connect import rows, session
from storage.history import instant, microseconds
from storage.settings import StorageSettings
from tests.integration.test_api import (  # fixtures are asked for by name
    ROWS,
    SENSORS,
    START_US,
    Served,
    fleet,  # noqa: F401
    packages,  # noqa: F401
    problem,
    readings,
    served,  # noqa: F401
)
from tests.integration.test_incident_care import bearer, key_of, on_stream, over_http, post
from tuning import data
from tuning.data import Selection

MOVED = np.array([0.08, -0.9, 14.0, 0.0])
REPAIRED_US = START_US + ROWS * 500_000
LATER = 400


def elsewhere(count: int = LATER, first: int = ROWS) -> History:
    """Return readings after the stored ones, of a machine that stays at another level."""
    made = readings(count, 1, first)
    made.values[:] += MOVED
    return made


@pytest.fixture
def moved(served: Served, database: StorageSettings) -> Served:  # noqa: F811
    """Return the applications over a fleet whose pump-1 was repaired after its first readings."""
    known = served.champions.known.roster
    one = elsewhere()
    batch = ReadingBatch(
        machine_class=known.classes["pump"],
        machine_keys=np.full(len(one), key_of(database, "pump-1"), dtype=np.int32),
        instants_us=one.instants_us,
        values=one.values,
    )
    with session(database) as on, on.cursor() as cursor:
        cursor.copy_expert(
            "COPY readings (machine_key, instant, values) FROM STDIN BINARY",
            BytesIO(copy_format.encode([batch])),
        )
    return served


def say(database: StorageSettings, at_us: int = REPAIRED_US) -> int:
    """Say that pump-1 was repaired; return the number of the word."""
    with session(database) as on:
        return maintenance.repaired(on, machine="pump-1", at=instant(at_us), who="ada").id


def newest(served: Served) -> dict[str, Any]:  # noqa: F811
    """Return what is said of pump-1's newest stored reading."""
    served.champions.refresh()
    told: dict[str, Any] = served.predict({"machine_id": "pump-1"}).json()
    return told


def judged(served: Served, one: History) -> Verdicts:  # noqa: F811
    """Return what a scorer that starts now makes of readings."""
    known = served.champions.refresh()
    machine, champion = known.roster.machines["pump-1"], known.champion("pump")
    batch = ReadingBatch(
        machine_class=champion.pipeline.machine_class,
        machine_keys=np.full(len(one), machine.key, dtype=np.int32),
        instants_us=one.instants_us,
        values=one.values,
    )
    judge = Judge(served.registry, (), {})
    return judge.judge(batch, {machine.key: machine}, champion, known.care)


def test_the_word_ends_the_false_alarm_and_its_loss_brings_it_back(
    moved: Served, database: StorageSettings
) -> None:
    """By machine id, from stored readings; the answer says why."""
    assert newest(moved)["is_anomaly"]

    number = say(database)
    told = newest(moved)

    assert not told["is_anomaly"]
    assert told["data_quality"]["ready"]
    assert "learnt anew since 2026-01-02T00:10:00" in told["data_quality"]["note"]
    with session(database) as on:
        assert not maintenance.keep_level(on, number).learn_anew
    assert newest(moved)["is_anomaly"]


def test_stream_http_and_who_starts_later_give_the_same_score(
    moved: Served, database: StorageSettings
) -> None:
    """With rows of one's own, with stored ones, after a restart: to 1e-9, whenever it was said."""
    say(database)
    lived, last = readings(200, 1, ROWS - 200), elsewhere()
    whole = History(
        machine="pump-1",
        instants_us=np.concatenate([lived.instants_us, last.instants_us]),
        values=np.concatenate([lived.values, last.values]),
    )

    stream = on_stream(moved, "pump-1", whole)
    http = over_http(moved, "pump-1", whole)

    scores = np.concatenate([view.scores.score for view in stream.views])
    np.testing.assert_allclose(scores, http["scores"][-LATER:], rtol=1e-9)
    tail = elsewhere(100, ROWS + LATER)
    restarted = judged(moved, tail)
    at = [datetime.fromtimestamp(us / 1e6, UTC).isoformat() for us in tail.instants_us.tolist()]
    body = {
        "machine_id": "pump-1",
        "readings": [
            {"timestamp": t, "values": dict(zip(SENSORS, row, strict=True))}
            for t, row in zip(at, tail.values.tolist(), strict=True)
        ],
    }
    with_past = moved.predict(body).json()
    np.testing.assert_allclose(restarted.views[0].scores.score, with_past["scores"], rtol=1e-9)
    assert restarted.anomalies == []
    assert "learnt anew" in restarted.states[-1].quality["note"]


def test_a_window_without_times_is_of_now_and_so_of_the_new_level(
    moved: Served, database: StorageSettings
) -> None:
    """As `/v2` asks: its level is learnt from what is given, and not from before the repair."""
    given = History(
        machine="pump-1",
        instants_us=np.arange(200, dtype=np.int64) * 500_000 + 946_684_800_000_000,
        values=elsewhere(200).values,
    )

    def alarms() -> int:
        champion = moved.champions.refresh().champion("pump")
        scorer = Scorer(moved.champions, moved.registry)
        past, _ = scorer.past(champion, given, dated=False)
        scores, skipped = scored(champion, given, past, scorer.own(champion, given))
        assert skipped == 0
        return int(((scores.score > 1) & scores.ready).sum())

    assert alarms() > 100
    say(database)
    assert alarms() == 0


def test_a_new_fault_after_the_repair_opens_an_incident(
    moved: Served, database: StorageSettings
) -> None:
    """The new level is held as the old one was."""
    say(database)
    failing = elsewhere(100, ROWS + LATER)
    failing.values[20:, 3] += 4.0

    (opened,) = [
        one.incident for one in judged(moved, failing).changes if one.change is Change.OPENED
    ]

    assert opened.root_sensor == "temperature"


def test_a_challenger_in_shadow_heeds_the_word(moved: Served, database: StorageSettings) -> None:
    """Neither it nor the champion alarms on the new level; without the word both do."""
    one = elsewhere(LATER)

    def alerts() -> list[float]:
        found = on_stream(moved, "pump-1", one)
        at = iter(range(100))
        beside = Shadow(moved.registry, NoMetrics(), clock=lambda: 10.0 * next(at))
        champion = moved.champions.known.champion("pump")
        beside.take(found.views, {"pump": champion})
        with session(database) as on:
            rows(on, "DELETE FROM shadow_periods")
            beside.run(on)
            return list(
                rows(on, "SELECT champion_alerts, challenger_alerts FROM shadow_periods")[0]
            )

    assert min(alerts()) > 100
    say(database)
    assert alerts() == [0, 0]


def test_over_http_the_word_is_said_listed_and_taken_back(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """With a key, once; what makes no sense is refused with a problem that names it."""
    headers = bearer(database, "ada", "operator")
    once = headers | {"idempotency-key": "one"}
    said = post(served, "/machines/pump-1/repaired", {"note": "new seals"}, once)
    again = post(served, "/machines/pump-1/repaired", {"note": "new seals"}, once)

    assert said.status_code == 200, said.text
    assert said.json() == again.json()
    assert (said.json()["learn_anew"], said.json()["created_by"]) == (True, "ada")
    assert said.json()["starts"] == said.json()["ends"]
    number = said.json()["id"]
    kept = post(served, f"/maintenance/{number}/keep-level", {}, headers)
    assert not kept.json()["learn_anew"]
    assert problem(post(served, f"/maintenance/{number}/keep-level", {}, headers))["status"] == 409
    assert problem(post(served, "/maintenance/999/keep-level", {}, headers))["status"] == 404
    tomorrow = (datetime.now(UTC) + timedelta(1)).isoformat()
    refused = problem(post(served, "/machines/pump-1/repaired", {"at": tomorrow}, headers))
    assert refused["status"] == 422
    assert "has not come" in refused["detail"]
    unknown = problem(post(served, "/machines/nobody/repaired", {}, headers))
    assert unknown["status"] == 404
    assert post(served, "/machines/pump-1/repaired", {}, {}).status_code == 401
    assert post(served, "/machines/pump-1/repaired", {"when": 1}, headers).status_code == 422


def test_a_window_may_end_with_the_word(
    served: Served,  # noqa: F811
    database: StorageSettings,
) -> None:
    """At its end and of a whole class; not before its end is known."""
    headers = bearer(database, "ada", "operator")
    body = {"machine_class": "pump", "learn_anew": True}
    assert problem(post(served, "/maintenance", body, headers))["status"] == 422
    made = post(served, "/maintenance", {"machine_class": "pump"}, headers).json()

    ended = post(served, f"/maintenance/{made['id']}/end", {"learn_anew": True}, headers)

    assert ended.json()["learn_anew"]
    with session(database) as on:
        known = care(on)
        word = microseconds(maintenance.show(on, made["id"]).ends or instant(0))
    assert {name: one.anew_us for name, one in known.items()} == {
        "pump-1": (word,),
        "pump-2": (word,),
    }


def test_the_console_says_since_when_a_level_is_learnt_anew(
    moved: Served, database: StorageSettings
) -> None:
    """On the machine's page and among maintenance; the score shown is that of the new level."""
    say(database)
    moved.champions.refresh()

    page, listed = moved.page("/machines/pump-1").text, moved.page("/care").text

    assert "Level learnt anew since" in page
    assert "2026-01-02T00:10:00+00:00" in page
    assert "level learnt anew since" in listed
    assert "Level learnt anew since" not in moved.page("/machines/pump-2").text


def test_a_model_learns_the_new_level_when_there_is_enough_of_it(
    database: StorageSettings,
    moved: Served,
) -> None:
    """Until then the machine is left out; never are both levels learnt as one."""
    del moved
    wanted = Selection(lookback_s=7200.0, margin_s=0.0, min_rows=50, max_rows=10_000)
    with session(database) as on:
        (both,) = data.read(on, "pump", wanted).histories
    say(database, START_US + 200 * 500_000)
    with session(database) as on:
        # 1,400 readings since this word last 700 s: too short.
        with pytest.raises(Exception, match="before a repair"):
            data.read(on, "pump", wanted)
        rows(on, "UPDATE maintenance SET starts = %s, ends = %s", [instant(START_US - 1)] * 2)
        (whole,) = data.read(on, "pump", wanted).histories

    assert len(both) == len(whole) == ROWS + LATER


def test_the_oldest_readings_since_an_instant_are_read(moved: Served) -> None:
    """At most as many as asked for, and none at or after the end."""
    stored = readings(ROWS, 1)

    some = moved.registry.since("pump-1", START_US + 500_000, 2**60, 5)
    few = moved.registry.since("pump-1", START_US, START_US + 1_500_000, 5)

    np.testing.assert_array_equal(some.instants_us, stored.instants_us[1:6])
    np.testing.assert_allclose(some.values, stored.values[1:6], rtol=1e-6)
    np.testing.assert_array_equal(few.instants_us, stored.instants_us[:3])


def test_care_holds_words_of_any_age(database: StorageSettings, served: Served) -> None:  # noqa: F811
    """A window is forgotten after a month, the level that was learnt after it never is."""
    del served
    say(database)
    with session(database) as on:
        rows(on, "UPDATE maintenance SET created_at = created_at - make_interval(days => 99)")
        known = care(on)
        assert roster_store.load(on).machines.keys() == {"pump-1", "pump-2"}
        assert models.versions(on)

    assert known == {"pump-1": Care(anew_us=(REPAIRED_US,))}
