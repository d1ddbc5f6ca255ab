"""Quarantine and readings over HTTP, over a real Postgres."""

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest

from domain import wire
from domain.readings import ReadingBatch
from observability.metric import NoMetrics
from ray_app.champions import Champions
from ray_app.registry import PostgresRegistry
from ray_app.serve.api import build
from ray_app.serve.context import ServeContext
from ray_app.serve.guard import Guard, Policy
from storage import answers, api_keys, quarantine, roster_store
from storage.answers import Asked
from storage.connect import rows, session
from storage.offsets import Topic
from storage.pool import Pool
from storage.quarantine import Entry
from storage.readings import ReadingStore, StoreBatch
from storage.rollups import roll
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, START_US, batch, stored

START = datetime.fromtimestamp(START_US / 1e6, UTC)
RAW = b"\xff\x00{not json"


class Api:
    """The API over one database, with a key of an operator."""

    def __init__(self, settings: StorageSettings) -> None:
        pool = Pool(lambda: settings)
        registry = PostgresRegistry(pool, "api")
        self.pool = pool
        self.app = build(
            ServeContext(
                flags={},
                pool=pool,
                registry=registry,
                champions=Champions(registry, NoMetrics(), "api"),
                guard=Guard(Policy(reads=False), registry),
            )
        )
        with session(settings) as on:
            self.keys = {role: api_keys.create(on, role, role) for role in ("reader", "operator")}
        self.description = self.ask("/openapi.json").json()

    def ask(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """Ask, without a network in between."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, root_path="/api")
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, f"/api/v1{path}", **more)

        return asyncio.run(asked())

    def told(self, path: str, described: str, method: str = "GET", **more: Any) -> Any:
        """Ask, and hold the answer, good or bad, against what OpenAPI says of it."""
        answer = self.ask(path, method, **more)
        operation = self.description["paths"][f"/api/v1{described}"][method.lower()]
        content = operation["responses"][str(answer.status_code)]["content"]
        schema = content[answer.headers["content-type"]]["schema"]
        jsonschema.Draft202012Validator(
            {**schema, "components": self.description["components"]}
        ).validate(answer.json())
        return answer.json()

    def redrive(self, body: Any, *, role: str = "operator", key: str | None = None) -> Any:
        """Ask for a redrive."""
        headers = {"authorization": f"Bearer {self.keys[role]}"}
        if key is not None:
            headers["idempotency-key"] = key
        path = "/quarantine/redrive"
        return self.told(path, path, "POST", json=body, headers=headers)


@pytest.fixture
def api(database: StorageSettings) -> Iterator[Api]:
    """Return the API, with six messages in quarantine: five of an unknown machine, one broken."""
    made = batch(0, 0, 5)
    good = wire.encode("pump-1", made.instants_us, made.values, PUMP.sensor_names)
    entries = [
        Entry(
            topic_id="one",
            topic="readings",
            partition=2,
            offset=offset,
            reason="unknown_machine" if value != RAW else "not_utf8",
            detail="as it was then",
            key=b"pump-1" if value != RAW else None,
            value=value,
            headers=() if value != RAW else (("trace", b"\x01"), ("empty", None)),
        )
        for offset, value in enumerate([*good, RAW])
    ]
    with session(database) as on:
        assert quarantine.add(on, entries) == 6
    found = Api(database)
    yield found
    found.pool.close()


def ids(api: Api) -> list[int]:
    """Return the numbers of what waits, oldest first."""
    return sorted(one["id"] for one in api.told("/quarantine", "/quarantine")["items"])


def test_a_message_is_shown_byte_for_byte(api: Api) -> None:
    """Raw bytes as base64, text for people beside it, reason and place."""
    last = ids(api)[-1]
    shown = api.told(f"/quarantine/{last}", "/quarantine/{message_id}")

    assert base64.b64decode(shown["value_base64"]) == RAW
    assert shown["value"] == RAW.decode(errors="replace")
    assert (shown["value_bytes"], shown["key"], shown["key_base64"]) == (len(RAW), None, None)
    assert (shown["place"], shown["reason"]) == ("readings[2]@5", "not_utf8")
    assert shown["headers"] == [
        {"name": "trace", "value_base64": "AQ=="},
        {"name": "empty", "value_base64": None},
    ]
    missing = api.told("/quarantine/999999", "/quarantine/{message_id}")
    assert (missing["status"], missing["title"]) == (404, "Not found")


def test_redrive_needs_a_key_of_an_operator(api: Api, database: StorageSettings) -> None:
    """Nothing is tried for a stranger, nor for a reader."""
    path = "/quarantine/redrive"
    with session(database) as on:
        roster_store.register_class(on, PUMP)

    assert api.told(path, path, "POST", json={"filter": {}})["status"] == 401
    assert api.ask(path, "POST", json={}, headers={"cookie": "x"}).status_code == 401
    reader = {"authorization": f"Bearer {api.keys['reader']}"}
    assert api.told(path, path, "POST", json={"filter": {}}, headers=reader)["status"] == 403
    assert stored(database) == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": [1], "filter": {}},
        {"ids": []},
        {"ids": [0]},
        {"filter": {"reason": "bad mood"}},
        {"filter": {"why": "not_json"}},
        {"filter": {}, "limit": 0},
    ],
)
def test_a_redrive_that_says_nothing_clear_is_refused(api: Api, body: Any) -> None:
    """By ids or by a filter, and by nothing else."""
    assert api.redrive(body)["status"] == 422


def test_re_driven_readings_arrive_once(api: Api, database: StorageSettings) -> None:
    """By ids, by reason and all at once, again and again: five readings, one message left."""
    numbers = ids(api)
    assert api.redrive({"filter": {}}) == {
        "stored": 0,
        "duplicates": 0,
        "refused": 6,
        "next_after_id": None,
    }
    with session(database) as on:
        roster_store.register_class(on, PUMP)

    assert api.redrive({"ids": [numbers[0], 999999]})["status"] == 404
    assert stored(database) == 0
    assert api.redrive({"ids": numbers[:1]})["stored"] == 1
    some = api.redrive({"filter": {"reason": "unknown_machine"}, "limit": 2})
    assert (some["stored"], some["next_after_id"]) == (2, numbers[2])
    rest = api.redrive({"filter": {}, "after_id": some["next_after_id"]})
    assert (rest["stored"], rest["refused"], rest["next_after_id"]) == (2, 1, None)
    assert api.redrive({"filter": {}})["stored"] == 0

    assert stored(database) == 5
    assert ids(api) == numbers[-1:]
    with session(database) as on:
        assert rows(on, "SELECT count(*) FROM to_score") == [(1,)]


def test_the_same_idempotency_key_asks_once(api: Api, database: StorageSettings) -> None:
    """The first answer is given again; another request, or one under way, is refused."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)

    first = api.redrive({"filter": {}}, key="k-1")
    assert (first["stored"], first["refused"]) == (5, 1)
    assert api.redrive({"filter": {}}, key="k-1") == first
    assert api.redrive({"filter": {}}, key="k-2")["stored"] == 0
    wrong = api.redrive({"filter": {}, "limit": 5}, key="k-1")
    assert (wrong["status"], "another request" in wrong["detail"]) == (422, True)
    assert api.redrive({"ids": [999999]}, key="k-3")["status"] == 404
    assert api.redrive({"ids": [999999]}, key="k-3")["status"] == 404

    asked = Asked(holder="operator", key="k-4", request="something")
    with session(database) as on:
        assert answers.begin(on, asked) is None
    busy = api.redrive({"filter": {}}, key="k-4")
    assert busy["status"] == 422
    with session(database) as on:
        rows(on, "DELETE FROM answers WHERE key = 'k-4'")
        body = '{"ids":null,"filter":{"reason":null},"limit":1000,"after_id":0}'
        request = f"POST /quarantine/redrive {body}"
        assert answers.begin(on, Asked(holder="operator", key="k-4", request=request)) is None
    assert api.redrive({"filter": {}}, key="k-4")["status"] == 409
    with session(database) as on:
        rows(on, "UPDATE answers SET begun_at = begun_at - interval '11 minutes'")
    assert api.redrive({"filter": {}}, key="k-4")["stored"] == 0


@pytest.fixture
def history_of(api: Api, database: StorageSettings) -> Api:
    """Store 30 minutes of a pump at two readings per second, and roll them up."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        key = roster_store.register_machines(on, ["pump-7"], "pump")["pump-7"].key
    made = batch(key, 0, 3600)
    values = made.values.copy()
    values[100:400, 3] = np.nan
    store_batch = StoreBatch(
        group_id="g",
        topic=Topic(name="t", id="t"),
        readings=(
            ReadingBatch(
                machine_class=PUMP,
                machine_keys=made.machine_keys,
                instants_us=made.instants_us,
                values=values,
            ),
        ),
        quarantined=(),
        steps=(),
    )
    with ReadingStore.open(database) as store:
        store.write(store_batch)
    with session(database) as on:
        while roll(on):
            pass
    return api


def at(seconds: float) -> str:
    """Return an instant after the start."""
    return (START + timedelta(seconds=seconds)).isoformat()


PATH = "/machines/{machine_id}/readings"


def readings(api: Api, **given: Any) -> Any:
    """Ask for readings of pump-7."""
    return api.told("/machines/pump-7/readings", PATH, params=given)


def test_a_period_comes_in_pages_of_readings(history_of: Api) -> None:
    """From the first instant up to, but without, the last; newest first, each once."""
    given = {"from": at(10), "to": at(15), "limit": 4}
    first = readings(history_of, **given)
    second = readings(history_of, **given, cursor=first["next_cursor"])
    third = readings(history_of, **given, cursor=second["next_cursor"])
    found = first["items"] + second["items"] + third["items"]

    assert [one["values"]["s0"] for one in found] == [29, 28, 27, 26, 25, 24, 23, 22, 21, 20]
    assert third["next_cursor"] is None
    assert (first["step_s"], found[0]["low"]) == (0, None)


def test_a_period_comes_in_so_many_points(history_of: Api) -> None:
    """Raw where it holds so few, else minutes, else longer steps with weighted means."""
    raw = readings(history_of, **{"from": at(0), "to": at(100), "points": 200})
    minutes = readings(history_of, **{"from": at(0), "to": at(1800), "points": 40})
    coarse = readings(history_of, **{"from": at(0), "to": at(1800), "points": 7})

    assert (raw["step_s"], len(raw["items"])) == (0, 200)
    assert "s3" not in raw["items"][0]["values"]
    assert (minutes["step_s"], len(minutes["items"])) == (60, 31)
    assert (coarse["step_s"], 5 <= len(coarse["items"]) <= 7) == (360, True)
    assert minutes["items"][0]["timestamp"] > minutes["items"][1]["timestamp"]
    numbers = np.arange(3600)
    times = START_US // 1_000_000 + numbers // 2
    for one in coarse["items"]:
        begin = datetime.fromisoformat(one["timestamp"]).timestamp()
        mine = numbers[(times >= begin) & (times < begin + 360)]
        seen = mine[(mine < 100) | (mine >= 400)]
        assert one["values"]["s0"] == pytest.approx(mine.mean(), rel=1e-12)
        assert one["values"]["s3"] == pytest.approx(seen.mean() + 0.3, rel=1e-12)
        assert (one["low"]["s0"], one["high"]["s0"]) == (mine.min(), mine.max())
        assert one["high"]["s3"] == pytest.approx(seen.max() + 0.3)


def test_a_machine_that_sends_too_often_still_fits_the_points(history_of: Api) -> None:
    """The class says half a second; the bound holds whatever comes."""
    with session(history_of.pool.settings()) as on:
        rows(on, "UPDATE machine_classes SET period_s = 60")
    found = readings(history_of, **{"from": at(0), "to": at(600), "points": 20})

    assert 15 <= len(found["items"]) <= 20
    assert found["step_s"] > 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"points": 10}, "points"),
        ({"from": "yesterday"}, "from"),
        ({"from": at(10), "to": at(10)}, "to"),
        ({"from": at(10), "points": 1}, "points"),
        ({"from": at(10), "points": 10_001}, "points"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused(
    history_of: Api, given: dict[str, Any], field: str
) -> None:
    """One problem that names the parameter."""
    told = readings(history_of, **given)

    assert told["status"] == 422
    assert field in told["detail"]
