"""Risk of failure from labels in Postgres to what stream and HTTP say; over a real database."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import pytest

from domain.incidents import Change
from domain.readings import History, ReadingBatch
from domain.risk.outlook import Failure
from domain.wire import format_instant
from observability.metric import NoMetrics
from ray_app.champions import Champions
from ray_app.judge import Judge
from ray_app.registry import PostgresRegistry
from ray_app.retrainer_actor import RetrainerActor
from ray_app.serve.api import build
from ray_app.serve.context import ServeContext
from ray_app.serve.guard import Guard, Policy
from ray_app.serve.predictor import PredictApp
from ray_app.serve.remembered import Remembered
from ray_app.serve.schema import Prediction, PredictRequest, Reading
from ray_app.serve.scorer import Scorer
from storage import (
    api_keys,
    failures,
    fleet,
    maintenance,
    risk_models,
    roster_store,
    steps,
    verdicts,
)
from storage.connect import rows, session
from storage.history import instant, microseconds
from storage.pool import Pool
from storage.rollups import roll
from storage.settings import StorageSettings
from tests import risk_support as support
from tuning import data, risk
from tuning.data import Selection
from tuning.settings import TuningSettings


class Site:
    """The API and the predictor over one database."""

    def __init__(self, settings: StorageSettings) -> None:
        self.settings, self.pool = settings, Pool(lambda: settings)
        self.registry = PostgresRegistry(self.pool, "predictor")
        self.champions = Champions(self.registry, NoMetrics(), "predictor")
        guard = Guard(Policy(reads=False), self.registry)
        self.api = build(
            ServeContext(
                flags={},
                pool=self.pool,
                registry=self.registry,
                champions=self.champions,
                guard=guard,
            )
        )
        self.scorer = Scorer(self.champions, Remembered(self.registry))
        self.predictor = PredictApp(self.scorer, self.champions, guard, NoMetrics())
        with session(settings) as on:
            self.key = api_keys.create(on, "operator", "operator")

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the API with an operator's key."""
        headers = {"authorization": f"Bearer {self.key}"} | more.pop("headers", {})
        return asyncio.run(_ask(self.api, method, f"/api/v1{path}", headers=headers, **more))

    def predict(self, body: Any) -> Any:
        """Ask the predictor."""
        return asyncio.run(_ask(self.predictor, "POST", "/", json=body)).json()


async def _ask(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, root_path="/api" if path != "/" else "")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, **more)


@pytest.fixture
def site(database: StorageSettings) -> Iterator[Site]:
    """Return both applications over a fleet with labels and a champion."""
    found = support.store(database)
    support.champion(database, [one for one, _ in found])
    made = Site(database)
    yield made
    made.pool.close()


def test_minutes_are_the_same_summed_up_or_not(site: Site) -> None:
    """Before, amid and after the rollups: equal beginnings, equal means."""

    def told() -> History:
        period = (support.START_US, support.LAST_US)
        with session(site.settings) as on:
            return steps.read(on, ["pump-3"], *period, step_us=support.MINUTE_US)[0]

    raw = told()
    with session(site.settings) as on:
        assert roll(on, most=700) > 0
    part = told()
    with session(site.settings) as on:
        while roll(on):
            pass
    whole = told()

    assert len(raw) == support.HOURS * 60
    for one in (part, whole):
        np.testing.assert_array_equal(one.instants_us, raw.instants_us)
        np.testing.assert_allclose(one.values, raw.values, rtol=1e-12, atol=1e-12)


def _readings(one: History, first: int, end: int) -> list[Reading]:
    return [
        Reading(
            timestamp=format_instant(int(one.instants_us[at])),
            values=dict(zip(support.SENSORS, one.values[at].tolist(), strict=True)),
        )
        for at in range(first, end)
    ]


def test_a_failing_machine_is_told_from_a_healthy_one_alike_in_stream_and_http(site: Site) -> None:
    """A probability with an interval where history carries it, unknown with a reason elsewhere."""
    outcome = risk.train(site.settings, "pump")
    assert outcome.failures == len(support.MACHINES)
    assert outcome.horizons == ("1 h",)
    assert set(outcome.modes) == {"bearing_wear", "cavitation"}
    site.champions.refresh()
    one, label = support.history(1)
    assert label.failed_us is not None
    failing = int(np.searchsorted(one.instants_us, label.failed_us)) - 30
    young = 60
    asked = {
        at: site.scorer.answer(
            PredictRequest(machine_id="pump-1", readings=_readings(one, at - 20, at))
        )
        for at in (young, failing)
    }
    ill, well = (_known(asked[at]) for at in (failing, young))
    p, q = (next(h for h in told.horizons if h.horizon == "1 h") for told in (ill, well))
    assert p.p is not None
    assert q.p is not None
    assert p.interval is not None
    assert p.p > 0.5 > q.p
    assert p.interval[0] <= p.p <= p.interval[1]
    assert [h.kind for h in ill.horizons] == ["probability", "unknown", "unknown"]
    assert "watched for longer than 1 d" in ill.horizons[1].reason
    assert ill.remaining is not None
    assert ill.remaining.seconds is not None
    assert ill.remaining.interval is not None
    assert ill.remaining.seconds < 3600
    assert ill.mode is not None
    assert ill.mode.mode == label.kind

    streamed = _streamed(site, one, failing)
    assert streamed == ill
    with session(site.settings) as on:
        (row,) = fleet.machines(on, name="pump-1")
    assert row.failure == ill
    shown = site.ask("GET", "/machines/pump-1").json()
    assert shown["failure"]["horizons"][0]["p"] == p.p


def _known(answer: Any) -> Failure:
    assert isinstance(answer, Prediction)
    assert answer.failure.status == "known", answer.failure
    return answer.failure


def _streamed(site: Site, one: History, end: int) -> Failure | None:
    """Judge the same readings as the stream would, in uneven batches, and write its state."""
    with session(site.settings) as on:
        machine = roster_store.load(on).machines[one.machine]
    judge = Judge(site.registry, (), {})
    champion = site.champions.known.champion("pump")
    state = None
    for first, until in ((end - 400, end - 137), (end - 137, end - 136), (end - 136, end)):
        batch = ReadingBatch(
            machine_class=support.PUMP,
            machine_keys=np.full(until - first, machine.key, dtype=np.int32),
            instants_us=one.instants_us[first:until],
            values=one.values[first:until],
        )
        care = site.champions.known.care
        found = judge.judge(batch, {machine.key: machine}, champion, care)
        state = found.states[-1]
    assert state is not None
    with session(site.settings) as on:
        verdicts.write_states(on, [state])
    return state.failure


@pytest.mark.parametrize(("steps_since", "status"), [(5, "unknown"), (40, "known")])
def test_a_repair_begins_another_life(site: Site, steps_since: int, status: str) -> None:
    """What was before the word is no history of this risk, alike in stream and HTTP."""
    risk.train(site.settings, "pump")
    one, label = support.history(1)
    assert label.failed_us is not None
    failing = int(np.searchsorted(one.instants_us, label.failed_us)) - 30
    word = instant(int(one.instants_us[failing - 3 * steps_since]) - 7_000_000)
    with session(site.settings) as on:
        maintenance.repaired(on, machine="pump-1", at=word, who="ada")
    site.champions.refresh()

    asked = PredictRequest(machine_id="pump-1", readings=_readings(one, failing - 20, failing))
    answer = site.scorer.answer(asked)

    assert isinstance(answer, Prediction)
    assert answer.failure.status == status
    assert status == "known" or "risk needs 12" in answer.failure.reason
    assert _streamed(site, one, failing) == answer.failure


def test_a_model_that_knows_the_new_level_does_not_join_the_lives(
    database: StorageSettings,
) -> None:
    """A champion trained since the repair knows its level; the life before is another even so."""
    found = support.store(database)
    risk.train(database, "pump")
    one, label = support.history(1)
    assert label.failed_us is not None
    failing = int(np.searchsorted(one.instants_us, label.failed_us)) - 30
    since_us = int(one.instants_us[failing - 15])
    with session(database) as on:
        maintenance.repaired(on, machine="pump-1", at=instant(since_us), who="ada")
    support.champion(database, [each for each, _ in found], since_us={"pump-1": since_us})
    site = Site(database)
    site.champions.refresh()

    asked = PredictRequest(machine_id="pump-1", readings=_readings(one, failing - 20, failing))
    answer = site.scorer.answer(asked)

    assert isinstance(answer, Prediction)
    assert "risk needs 12" in answer.failure.reason
    assert _streamed(site, one, failing) == answer.failure
    site.pool.close()


def test_a_word_of_a_repair_cuts_the_life_that_risk_learns_from(site: Site) -> None:
    """The life ends there without a failure; and a word that is taken back joins it again."""
    before = risk.train(site.settings, "pump")
    quiet = support.START_US + 60 * support.MINUTE_US
    with session(site.settings) as on:
        made = maintenance.repaired(on, machine="pump-1", at=instant(quiet), who="ada")
        assert risk.is_behind(on, "pump")
    cut = risk.train(site.settings, "pump")
    with session(site.settings) as on:
        assert not risk.is_behind(on, "pump")
        maintenance.keep_level(on, made.id)
        assert risk.is_behind(on, "pump")
    back = risk.train(site.settings, "pump")

    assert (cut.lives, cut.failures) == (before.lives + 1, before.failures)
    assert (back.lives, back.failures) == (before.lives, before.failures)


def test_without_failures_there_is_a_trend_and_no_probability(database: StorageSettings) -> None:
    """A drift to the threshold has a time and an interval; a steady machine has neither."""
    found = [support.history(at) for at in range(len(support.MACHINES))]
    # Of the others nothing is known but health: all but pump-1 are seen up to their first sign.
    known = [_until(one, label.onset_us) for one, label in found]
    known[1] = found[1][0]
    support.write(database, support.PUMP, known)
    support.champion(database, known)
    site = Site(database)
    outcome = risk.train(database, "pump")
    site.champions.refresh()
    assert outcome.horizons == ()
    assert outcome.modes == ()
    steady = site.predict(
        {"machine_id": "pump-1", **_last(found[1][0], 200)},
    )["failure"]
    assert {one["kind"] for one in steady["horizons"]} == {"unknown"}
    assert all(one["p"] is None for one in steady["horizons"])
    assert steady["remaining"]["seconds"] is None
    assert "no trend" in steady["remaining"]["reason"]
    one, label = found[1]
    assert label.failed_us is not None
    rising = int(np.searchsorted(one.instants_us, label.failed_us)) - 60
    told = site.predict({"machine_id": "pump-1", **_last(one, rising)})["failure"]
    assert told["status"] == "trend"
    assert told["remaining"]["kind"] == "time_to_threshold"
    low, high = told["remaining"]["interval"]
    assert 0 < low <= told["remaining"]["seconds"]
    assert high is None or high >= told["remaining"]["seconds"]
    assert {each["kind"] for each in told["horizons"]} == {"unknown"}
    fresh = site.predict({"machine_class": "pump", **_last(one, 50)})["failure"]
    assert fresh["status"] == "unknown"
    assert "risk needs 12" in fresh["reason"]
    site.pool.close()


def _until(one: History, instant_us: int) -> History:
    end = int(np.searchsorted(one.instants_us, instant_us))
    return History(machine=one.machine, instants_us=one.instants_us[:end], values=one.values[:end])


def _last(one: History, end: int) -> dict[str, Any]:
    readings = _readings(one, end - 10, end)
    return {"readings": [{"timestamp": r.timestamp, "values": r.values} for r in readings]}


def test_an_incident_keeps_the_failure_mode_and_the_evidence_of_its_peak(site: Site) -> None:
    """Told while the machine was failing, asked for after its repair."""
    risk.train(site.settings, "pump")
    known = site.champions.refresh()
    one, label = support.history(0)
    assert label.failed_us is not None
    with session(site.settings) as on:
        machine = roster_store.load(on).machines[one.machine]
    judge, until_us = Judge(site.registry, (), {}), label.failed_us + 20 * support.MINUTE_US
    first, end = np.searchsorted(one.instants_us, [label.onset_us, until_us]).tolist()
    for at in range(first, end, 30):
        rows_ = slice(at, min(at + 30, end))
        batch = ReadingBatch(
            machine_class=support.PUMP,
            machine_keys=np.full(len(one.instants_us[rows_]), machine.key, dtype=np.int32),
            instants_us=one.instants_us[rows_],
            values=one.values[rows_],
        )
        found = judge.judge(batch, {machine.key: machine}, known.champion("pump"))
        with session(site.settings) as on:
            for each in found.changes:
                if each.change is Change.OPENED:
                    verdicts.open_incident(on, each.incident)
                else:
                    verdicts.update_incident(on, each.incident)

    listed = site.ask("GET", "/incidents", params={"machine_id": one.machine}).json()["items"]
    last = max(listed, key=lambda each: each["peak_score"])
    mode = last["failure_mode"]
    assert mode["mode"] == label.kind == "bearing_wear"
    assert mode["distance"] < 0.35
    assert (mode["sensors"][0]["sensor"], mode["sensors"][0]["direction"]) == ("vibration", "up")
    assert mode["lead_time_s"] == pytest.approx(5400)
    assert mode["risk_version"] == 1
    root = last["evidence"][0]
    assert root["sensor"] == "vibration"
    row = np.flatnonzero(one.instants_us == microseconds(datetime.fromisoformat(last["peaked"])))
    assert root["observed"] == one.values[row, 0]
    assert abs(root["observed"] - root["expected"]) > 2


def test_a_damaged_risk_model_is_refused_and_the_old_one_serves_on(site: Site) -> None:
    """As with champions: told once, and what was in use stays."""
    risk.train(site.settings, "pump")
    before = site.champions.refresh().champion("pump").risk
    with session(site.settings) as on:
        package = risk_models.package(on, "pump", 1)
        broken = package[:-40] + bytes(40)
        risk_models.add(on, "pump", broken, labels="", facts={}, modes=[])
    after = site.champions.refresh().champion("pump").risk

    assert before is not None
    assert after is before
    risk.train(site.settings, "pump")
    newest = site.champions.refresh().champion("pump").risk
    assert newest is not None
    assert newest.version == 3


LABEL = {"machine_id": "pump-2", "kind": "seal_leak", "onset": "2026-01-02T03:04:05Z"}


def test_labels_are_recorded_once_corrected_and_taken_back(site: Site) -> None:
    """The same key gives the same answer; risk is behind until it is learnt anew."""
    risk.train(site.settings, "pump")
    with session(site.settings) as on:
        assert not risk.is_behind(on, "pump")
    keyed = {"headers": {"idempotency-key": "a"}}
    made = site.ask("POST", "/labels", json=LABEL, **keyed)
    again = site.ask("POST", "/labels", json=LABEL, **keyed)
    other = site.ask("POST", "/labels", json=LABEL | {"kind": "x"}, **keyed)
    number = made.json()["id"]
    assert (made.status_code, again.json()) == (201, made.json())
    assert other.status_code == 422
    with session(site.settings) as on:
        assert risk.is_behind(on, "pump")
    body = {"kind": "seal_leak", "onset": LABEL["onset"], "ended": "2026-01-02T04:04:05Z"}
    corrected = site.ask("PUT", f"/labels/{number}", json=body).json()
    assert corrected["ended"] == "2026-01-02T04:04:05Z"
    assert corrected["machine_id"] == "pump-2"
    wrong = site.ask("PUT", f"/labels/{number}", json=body | {"ended": "2026-01-01T00:00:00Z"})
    assert wrong.status_code == 422
    pages, cursor = [], ""
    while True:
        page = site.ask("GET", "/labels", params={"limit": 6, "cursor": cursor}).json()
        pages += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [one["id"] for one in pages] == sorted({one["id"] for one in pages})
    assert len(pages) == len(support.MACHINES) + 1
    assert site.ask("DELETE", f"/labels/{number}").status_code == 204
    assert site.ask("DELETE", f"/labels/{number}").status_code == 404
    assert site.ask("GET", "/labels", params={"machine_id": "pump-2"}).json()["items"] != []
    nobody = site.ask("POST", "/labels", json=LABEL | {"machine_id": "nobody"})
    assert nobody.status_code == 404


def test_failure_modes_are_listed(site: Site) -> None:
    """Names of the labels, the sensors that show them, lead time and count."""
    risk.train(site.settings, "pump")
    found = site.ask("GET", "/failure-modes", params={"machine_class": "pump"}).json()["items"]
    by_name = {one["name"]: one for one in found}

    assert by_name["cavitation"]["count"] == 7
    assert by_name["cavitation"]["lead_time_s"] == 5400
    first = by_name["cavitation"]["sensors"][0]
    assert (first["sensor"], first["direction"]) == ("flow", "down")
    first = by_name["bearing_wear"]["sensors"][0]
    assert (first["sensor"], first["direction"]) == ("vibration", "up")


def test_faults_of_sensors_are_no_failures(site: Site) -> None:
    """A stuck sensor says nothing of the machine's life, nor does what has not happened yet."""
    with session(site.settings) as on:
        before = risk.events(on, ["pump-1"], support.LAST_US)
        rows(on, "UPDATE failures SET kind = 'sensor_stuck' WHERE machine_key = 2")
        assert risk.events(on, ["pump-1"], support.LAST_US) == []
        failures.add(
            on,
            [
                failures.Label(
                    machine="pump-1", kind="x", source="file", onset_us=support.LAST_US + 1
                )
            ],
        )
        assert risk.events(on, ["pump-1"], support.LAST_US) == []
    assert len(before) == 1


def test_no_model_of_health_learns_what_people_called_a_failure(site: Site) -> None:
    """Every reading between first sign and repair, and a margin around it, is left out."""
    wanted = Selection(lookback_s=support.HOURS * 3600, margin_s=120, min_rows=600, max_rows=10**6)
    with session(site.settings) as on:
        found = data.read(on, "pump", wanted)
        labels = {one.machine: one for one in failures.listed(on)}

    assert found.excluded > 0
    for one in found.histories:
        label = labels[one.machine]
        assert label.end_us is not None
        inside = (one.instants_us >= label.onset_us - 120_000_000) & (
            one.instants_us <= label.end_us + 120_000_000
        )
        assert not inside.any()
        assert len(one) > 180 * support.HOURS // 2


def test_the_answer_is_what_openapi_says(site: Site) -> None:
    """The description of predict is made from the very types of the answer."""
    import jsonschema

    risk.train(site.settings, "pump")
    site.champions.refresh()
    one, _ = support.history(1)
    told = site.predict({"machine_id": "pump-1", **_last(one, 600)})
    about = site.ask("GET", "/openapi.json").json()
    schema = {"$ref": "#/components/schemas/Prediction", "components": about["components"]}

    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(told)))
    assert told["failure"]["risk_version"] == 1


def test_the_retrainer_learns_risk_anew_when_labels_change(site: Site) -> None:
    """Without a sweep, and not again while nothing changed."""
    settings = TuningSettings(tracking_uri="http://127.0.0.1:9", cooldown_s=0.0, min_rows=10**9)
    retrainer = RetrainerActor(site.settings, settings)
    for _ in range(2):
        retrainer.look()

    assert "are needed" in retrainer.verdicts()["pump"].reason
    with session(site.settings) as on:
        (found,) = risk_models.current(on, "pump")
        assert not risk.is_behind(on, "pump")
    assert found.version == 1
    assert found.facts["failures"] == len(support.MACHINES)
