"""Predict, API and console as ASGI applications over a real Postgres; no Ray in between."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest

from domain.conditions import Condition, SensorState, StateChanges
from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.risk.outlook import IncidentMode, TypicalSensor
from observability.metric import NoMetrics
from ray_app.champions import Champions
from ray_app.console.app import build as build_console
from ray_app.registry import PostgresRegistry
from ray_app.serve.api import build as build_api
from ray_app.serve.asgi import App
from ray_app.serve.context import ServeContext
from ray_app.serve.guard import Guard, Policy
from ray_app.serve.predictor import BODY_LIMIT_BYTES, PredictApp
from ray_app.serve.scorer import Scorer
from storage import (
    api_keys,
    copy_format,
    models,
    partitions,
    roster_store,
    sensor_states,
    verdicts,
)
from storage.connect import rows, session
from storage.history import instant
from storage.pool import Pool
from storage.settings import StorageSettings

START = datetime(2026, 1, 2, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
SENSORS = ("vibration", "current", "flow", "temperature")
ROWS = 1200


def readings(rows_: int, seed: int, first: int = 0) -> History:
    """Return healthy readings at 2 Hz, beginning `first` readings after the start."""
    rng = np.random.default_rng(seed)
    at = START_US + (first + np.arange(rows_, dtype=np.int64)) * 500_000
    values = rng.normal((0.2, 2.4, 125.0, 89.5), (0.01, 0.1, 1.5, 0.4), (rows_, 4))
    return History(machine=f"pump-{seed}", instants_us=at, values=values)


@pytest.fixture(scope="module")
def packages() -> dict[int, bytes]:
    """Return two different trained models, by version."""
    machine_class = MachineClass(
        name="pump", sensors=tuple(Sensor(name=name) for name in SENSORS), period_s=0.5
    )
    spec = PipelineSpec(detector="pca", window_s=10.0, regimes=1)
    histories = [readings(ROWS, seed) for seed in (1, 2)]
    return {
        seed: Pipeline.fit(spec, histories, machine_class, seed=seed).to_package()
        for seed in (1, 2)
    }


@pytest.fixture
def fleet(database: StorageSettings) -> StorageSettings:
    """Return a database with two pumps and the readings of the first."""
    machine_class = MachineClass(
        name="pump", sensors=tuple(Sensor(name=name, unit="g") for name in SENSORS), period_s=0.5
    )
    history = readings(ROWS, 1)
    with session(database) as on:
        roster_store.register_class(on, machine_class)
        made = roster_store.register_machines(on, ["pump-1", "pump-2"], "pump")
        partitions.ensure(on, partitions.days_of(history.instants_us))
        batch = ReadingBatch(
            machine_class=machine_class,
            machine_keys=np.full(ROWS, made["pump-1"].key, dtype=np.int32),
            instants_us=history.instants_us,
            values=history.values,
        )
        from io import BytesIO

        with on.cursor() as cursor:
            cursor.copy_expert(
                "COPY readings (machine_key, instant, values) FROM STDIN BINARY",
                BytesIO(copy_format.encode([batch])),
            )
    return database


def promote(database: StorageSettings, version: int, package: bytes, **params: object) -> None:
    """Store a version and make it the champion."""
    with session(database) as on:
        models.add_version(
            on,
            models.StoredModel(
                machine_class="pump",
                version=version,
                run_id="run",
                sha256=hashlib.sha256(package).hexdigest(),
                package=package,
                metrics={"objective": 0.9, "detection": 0.95, "false_alarm_rate": 0.01},
                params=params,
            ),
            actor="ada",
            reason="trained",
        )
        models.promote(on, "pump", version, actor="ada", reason="best so far")


class Served:
    """The applications over one database, called without a network in between."""

    def __init__(self, settings: StorageSettings, *, required: bool = False) -> None:
        self.pool = Pool(lambda: settings)
        self.registry = PostgresRegistry(self.pool, "predictor")
        self.champions = Champions(self.registry, NoMetrics(), "predictor")
        self.guard = Guard(Policy(reads=required), self.registry)
        context = ServeContext(
            flags={},
            pool=self.pool,
            registry=self.registry,
            champions=self.champions,
            guard=self.guard,
        )
        scorer = Scorer(self.champions, self.registry)
        self.predict_app = PredictApp(scorer, self.champions, self.guard, NoMetrics())
        self.api_app, self.console_app = build_api(context), build_console(context)

    def _ask(self, app: App, root: str, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=app, root_path=root, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def predict(self, body: Any, method: str = "POST", **more: Any) -> httpx.Response:
        """Ask for a prediction."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        path = "/api/v1/predict"
        return self._ask(
            self.predict_app, path, method, path, content=content, headers=headers, **more
        )

    def api(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """Ask the API."""
        return self._ask(self.api_app, "/api", method, f"/api/v1{path}", **more)

    def page(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """Ask the console."""
        return self._ask(self.console_app, "", method, path, **more)


@pytest.fixture
def served(fleet: StorageSettings, packages: dict[int, bytes]) -> Iterator[Served]:
    """Return the applications with version 1 as champion."""
    promote(fleet, 1, packages[1])
    made = Served(fleet)
    made.champions.refresh()
    yield made
    made.pool.close()


def body(rows_: int = 60, first: int = ROWS, bump: float = 0.0) -> dict[str, Any]:
    """Return a window of pump-1 after its stored readings."""
    window = readings(rows_, 1, first)
    return {
        "machine_id": "pump-1",
        "readings": [
            {
                "timestamp": (START + timedelta(seconds=(first + at) * 0.5)).isoformat(),
                "values": dict(
                    zip(SENSORS, (row + np.array([bump, 0, 0, 0])).tolist(), strict=True)
                ),
            }
            for at, row in enumerate(window.values)
        ],
    }


def problem(answer: httpx.Response) -> dict[str, Any]:
    """Return the problem an answer tells of, checked for its shape."""
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == answer.status_code
    assert {"type", "title", "detail", "instance"} <= told.keys()
    assert "Traceback" not in answer.text
    return told


def test_a_healthy_window_scores_below_one(served: Served) -> None:
    """The answer has everything the contract names."""
    answer = served.predict(body())
    told = answer.json()

    assert answer.status_code == 200
    assert 0 <= told["score"] <= 1
    assert (told["threshold"], told["is_anomaly"]) == (1.0, False)
    assert told["model"] == {"name": "pump", "version": 1}
    assert told["failure"]["status"] == "unknown"
    assert told["data_quality"]["rows"] == len(told["scores"]) == 60
    assert told["data_quality"]["ready"]
    shares = [part["share"] for part in told["contributions"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-4)


def test_an_anomalous_window_names_its_sensor(served: Served) -> None:
    """The largest contribution is the sensor that was moved, with what was expected instead."""
    told = served.predict(body(bump=0.2)).json()

    assert told["is_anomaly"]
    assert told["score"] > 1
    worst = told["contributions"][0]
    assert worst["sensor"] == "vibration"
    assert worst["observed"] > worst["expected"]


def test_one_reading_is_completed_by_what_was_stored(served: Served) -> None:
    """A single reading of a known machine scores as the end of its history."""
    one = body(1)["readings"][0]
    with_past = served.predict({"machine_id": "pump-1", **one}).json()
    alone = served.predict({"machine_id": "pump-1", "context": "none", **one}).json()

    assert with_past["data_quality"]["context_rows"] > 0
    assert with_past["data_quality"]["ready"]
    assert alone["data_quality"]["context_rows"] == 0


def test_the_same_input_scores_the_same_in_one_request_or_many(served: Served) -> None:
    """A window alone and among others gives the same numbers, to the bit."""
    alone = served.predict(body()).json()
    many = served.predict({"requests": [body(), body(bump=0.2)]}).json()["results"]

    assert many[0]["scores"] == alone["scores"]
    assert many[1]["is_anomaly"]


def test_a_machine_that_is_not_registered_scores_by_its_class(served: Served) -> None:
    """An unknown machine needs only its class."""
    window = body()
    told = served.predict({"machine_class": "pump", "readings": window["readings"]}).json()

    assert told["machine_id"] is None
    assert told["machine_class"] == "pump"


@pytest.mark.parametrize(
    ("given", "status", "words", "pointer"),
    [
        ({"machine_id": "pump-9", **body(1)["readings"][0]}, 404, "pump-9", None),
        ({"machine_class": "fan", **body(1)["readings"][0]}, 404, "fan", None),
        ({"machine_id": "pump-1", "readings": []}, 422, "at least one", "/readings"),
        ({}, 422, "machine_id", ""),
        (b"", 422, "empty", ""),
        (b"{not json", 422, "not JSON", ""),
        (b'{"machine_id": "pump-1", "readings": [{"timestamp": "x"}]}', 422, "values", None),
        (b"[" * 100_000, 422, "", None),
        (b'{"requests": [{"requests": []}]}', 422, "nest", "/requests/0"),
        (b'{"requests": []}', 422, "at least one", "/requests"),
        (b'{"requests": [], "machine_id": "a"}', 422, "alone", ""),
        (b'{"machine_id": "pump-1", "machine_class": "pump"}', 422, "machine_class", ""),
        (b'{"machine_id": "pump-1", "timestamp": "2026-01-02T03:04:05Z"}', 422, "values", ""),
        (b'{"machine_id": "pump-1", "unknown": 1}', 422, "unknown", None),
    ],
)
def test_a_wrong_request_gets_one_clear_problem(
    served: Served, given: Any, status: int, words: str, pointer: str | None
) -> None:
    """Whatever is wrong is named with its place, and nothing is scored."""
    answer = served.predict(given)

    assert answer.status_code == status, answer.text
    told = problem(answer)
    assert words in told["detail"]
    if pointer is not None:
        assert [one.get("pointer", "") for one in told["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("reading", "pointer"),
    [
        ({"values": {"vibratoin": 1.0}}, "/readings/0/values/vibratoin"),
        ({"values": {}}, "/readings/0/values"),
        ({"values": {"flow": None}}, "/readings/0/values"),
        ({"timestamp": "yesterday"}, "/readings/0/timestamp"),
        ({"timestamp": "2026-01-02T03:04:05"}, "/readings/0/timestamp"),
        ({"timestamp": "1969-01-02T03:04:05Z"}, "/readings/0/timestamp"),
        ({"values": {"flow": "12"}}, "/readings/0/values"),
        ({"values": {"flow": True}}, "/readings/0/values"),
    ],
)
def test_a_wrong_reading_is_named_by_its_place(
    served: Served, reading: dict[str, Any], pointer: str
) -> None:
    """The pointer leads to the very field."""
    good = body(1)["readings"][0]
    answer = served.predict({"machine_id": "pump-1", "readings": [{**good, **reading}]})

    assert answer.status_code == 422
    assert [one.get("pointer", "") for one in problem(answer)["errors"]] == [pointer]


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e400", b"-1e151", b"9" * 5000])
def test_numbers_that_are_none_are_refused(served: Served, number: bytes) -> None:
    """NaN is no JSON; a number that is no double is no reading."""
    raw = b'{"machine_id": "pump-1", "timestamp": "2026-01-02T03:04:05Z", "values": {"flow": %s}}'

    assert served.predict(raw % number).status_code == 422


def test_times_that_run_backwards_are_refused(served: Served) -> None:
    """A window is ordered; which of two equal instants counts would be a guess."""
    window = body(3)
    window["readings"][2]["timestamp"] = window["readings"][1]["timestamp"]
    told = problem(served.predict(window))

    assert [one["pointer"] for one in told["errors"]] == ["/readings/2/timestamp"]


def test_method_type_size_and_path_are_refused_by_their_own_status(served: Served) -> None:
    """HTTP's own refusals are problems as well."""
    wrong_method = served.predict(b"", method="GET")
    wrong_type = served.predict(b"a=1", headers={"content-type": "text/csv"})
    too_large = served.predict(b" " * (BODY_LIMIT_BYTES + 1))

    assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "POST")
    assert wrong_type.status_code == 415
    assert too_large.status_code == 413
    for answer in (wrong_method, wrong_type, too_large):
        problem(answer)


def test_a_body_without_a_length_is_read_no_further_than_the_limit(served: Served) -> None:
    """A client that streams without end is stopped."""
    sent = 0

    async def stream() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 100_000
            yield b" " * 100_000

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=served.predict_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/", content=stream())

    answer = asyncio.run(ask())

    assert answer.status_code == 413
    assert sent <= BODY_LIMIT_BYTES + 200_000


def test_without_a_champion_the_answer_says_what_to_run(fleet: StorageSettings) -> None:
    """503 until the first promotion, with the command that leads there."""
    answer = Served(fleet).predict(body())

    assert answer.status_code == 503
    assert "millwright sweep run" in problem(answer)["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_predict_answers_on_while_postgres_is_away(served: Served, postgres: Any) -> None:
    """A loaded model needs no database; what is missing is said in the data quality."""
    assert postgres
    served.pool.close()
    served.pool._locate = lambda: StorageSettings(host="/nonexistent")

    answer = served.predict(body(1))

    assert answer.status_code == 200
    assert "could not be read" in answer.json()["data_quality"]["note"]


def test_a_replica_that_never_heard_the_database_does_not_deny_what_may_be_there() -> None:
    """503, not 404: nobody knows whether the machine exists."""
    answer = Served(StorageSettings(host="/nonexistent")).predict(body(1))

    assert answer.status_code == 503
    assert "PostgreSQL" in problem(answer)["detail"]


def test_a_promotion_takes_over_between_two_requests(
    served: Served, fleet: StorageSettings, packages: dict[int, bytes]
) -> None:
    """The next version answers, and every request on the way is answered."""
    served.champions.start(poll_s=0.01)
    try:
        promote(fleet, 2, packages[2])
        seen = []
        for _ in range(3000):
            answer = served.predict(body(2))
            assert answer.status_code == 200
            seen.append(answer.json()["model"]["version"])
            if seen[-1] == 2:
                break
    finally:
        served.champions.close()

    assert seen[-1] == 2
    assert seen == sorted(seen)


def test_a_package_that_is_broken_is_refused_and_the_old_champion_serves_on(
    served: Served, fleet: StorageSettings, packages: dict[int, bytes]
) -> None:
    """Verification happens beside the traffic; the refusal is in the history of models."""
    broken = bytearray(packages[2])
    broken[len(broken) // 2] ^= 0xFF
    promote(fleet, 2, bytes(broken))

    served.champions.refresh()

    assert served.predict(body()).json()["model"]["version"] == 1
    with session(fleet) as on:
        newest = models.history(on, "pump")[0]
    assert (newest.event, newest.version, newest.actor) == ("refused", 2, "predictor")


def test_a_machine_registered_a_moment_ago_is_found(served: Served, fleet: StorageSettings) -> None:
    """Nobody waits for the next refresh."""
    with session(fleet) as on:
        roster_store.register_machines(on, ["pump-3"], "pump")

    assert served.predict({**body(), "machine_id": "pump-3"}).status_code == 200


def test_machines_come_in_pages(served: Served) -> None:
    """The cursor leads from page to page, and ends."""
    first = served.api("/machines", params={"limit": 1}).json()
    second = served.api("/machines", params={"limit": 1, "cursor": first["next_cursor"]}).json()

    assert [one["id"] for one in first["items"] + second["items"]] == ["pump-1", "pump-2"]
    assert second["next_cursor"] is None
    assert first["items"][0]["last_reading"].endswith("Z")
    # Its newest reading is months old, which says nothing of when it arrived.
    assert first["items"][0]["health"] == "not scored yet"


def test_stored_readings_come_back_newest_first(served: Served) -> None:
    """What was stored is shown under the sensors' names."""
    first = served.api("/machines/pump-1/readings", params={"limit": 2}).json()
    second = served.api(
        "/machines/pump-1/readings", params={"limit": 1, "cursor": first["next_cursor"]}
    ).json()
    shown = first["items"] + second["items"]
    times = [datetime.fromisoformat(one["timestamp"]) for one in shown]

    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 3
    assert first["items"][0]["values"].keys() == set(SENSORS)


def live_incident(database: StorageSettings) -> int:
    """Open an incident of pump-1 and return its number."""
    with session(database) as on:
        key = roster_store.load(on).machines["pump-1"].key
        return verdicts.open_incident(
            on,
            verdicts.Incident(
                machine_key=key,
                kind="machine",
                began_us=START_US + 500_000_000,
                opened_us=START_US + 501_000_000,
                last_seen_us=START_US + 502_000_000,
                peak_score=3.0,
                anomalies=7,
                root_sensor="vibration",
                evidence=(
                    verdicts.Contribution(
                        sensor="vibration", share=0.9, expected=0.2, observed=0.4
                    ),
                ),
                model_version=1,
            ),
        )


def test_reading_is_open_and_writing_needs_a_key_of_an_operator(
    served: Served, fleet: StorageSettings
) -> None:
    """On loopback nobody is asked who he is until he changes something."""
    number = live_incident(fleet)
    with session(fleet) as on:
        reader = api_keys.create(on, "reader", "reader")
        operator = api_keys.create(on, "ada", "operator")
    path = f"/incidents/{number}/acknowledge"

    def bearer(key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    assert served.api(f"/incidents/{number}").json()["root_sensor"] == "vibration"
    assert served.api(path, "POST").status_code == 401
    assert served.api(path, "POST", headers=bearer("mw_wrong")).status_code == 401
    assert served.api(path, "POST", headers=bearer(reader)).status_code == 403
    assert (
        served.api(path, "POST", headers={"cookie": f"millwright_key={operator}"}).status_code
        == 401
    )
    done = served.api(path, "POST", headers=bearer(operator))
    assert done.json()["acknowledged_by"] == "ada"
    close = f"/incidents/{number}/close"
    closed = served.api(close, "POST", headers=bearer(operator), json={"note": "new bearing"})
    assert (closed.json()["state"], closed.json()["note"]) == ("closed", "new bearing")
    again = served.api(close, "POST", headers=bearer(operator), json={})
    assert problem(again)["status"] == 409
    told = served.api(
        f"/incidents/{number}/feedback", "POST", headers=bearer(operator), json={"feedback": "true"}
    )
    assert told.json()["feedback"] == "true"


def test_where_keys_are_required_everything_but_health_asks_for_one(
    fleet: StorageSettings, packages: dict[int, bytes]
) -> None:
    """Beyond loopback, or by MILLWRIGHT_AUTH=required, nothing is shown to strangers."""
    promote(fleet, 1, packages[1])
    served = Served(fleet, required=True)
    served.champions.refresh()
    with session(fleet) as on:
        key = api_keys.create(on, "reader", "reader")
    bearer = {"authorization": f"Bearer {key}"}

    assert served.predict(body()).status_code == 401
    assert served.api("/machines").status_code == 401
    assert served.api("/openapi.json").status_code == 401
    assert served.page("/").headers["location"] == "/login"
    assert served.page("/parts/overview").status_code == 401
    assert served.page("/healthz").status_code == 200
    assert served.page("/readyz").status_code == 200
    assert served.predict(body(), headers=bearer).status_code == 200
    assert served.api("/machines", headers=bearer).status_code == 200
    wrong = served.page("/login", "POST", data={"key": "mw_wrong"})
    right = served.page("/login", "POST", data={"key": key})
    assert wrong.status_code == 401
    assert "unknown or was revoked" in wrong.text
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert served.page("/", headers={"cookie": f"millwright_key={key}"}).status_code == 200
    assert served.page("/logout", "POST").headers["location"] == "/login"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/machines/pump-9", 404),
        ("/machines/pump-9/readings", 404),
        ("/incidents/1", 404),
        ("/incidents/x", 422),
        ("/incidents/99999999999999999999", 422),
        ("/machines?limit=0", 422),
        ("/machines?limit=x", 422),
        ("/machines?cursor=%F0%9F", 422),
        ("/machines?cursor=e30", 422),
        ("/anomalies?since=yesterday", 422),
    ],
)
def test_what_is_not_there_or_wrong_is_a_problem(served: Served, path: str, status: int) -> None:
    """Every refusal of the API has the one shape."""
    answer = served.api(path)

    assert answer.status_code == status
    problem(answer)


def test_a_wrong_method_says_which_are_allowed(served: Served) -> None:
    """405 with `Allow`; the guard comes first for what would change something."""
    with_key = served.api("/machines", "DELETE")

    assert with_key.status_code == 401
    problem(with_key)


def test_a_dead_database_is_503_with_a_reason(served: Served) -> None:
    """No traceback reaches a client."""
    served.pool.close()
    served.pool._locate = lambda: StorageSettings(host="/nonexistent")

    for path in ("/machines", "/incidents", "/models", "/quarantine", "/sweeps", "/anomalies"):
        answer = served.api(path)
        assert answer.status_code == 503
        assert "PostgreSQL" in problem(answer)["detail"]
    ready = served.page("/readyz")
    assert ready.status_code == 503
    assert ready.json()["checks"]["postgres"]["ready"] is False
    assert served.page("/healthz").status_code == 200
    page = served.page("/")
    assert page.status_code == 503
    assert "PostgreSQL" in page.text


def test_lists_show_what_is_stored(served: Served, fleet: StorageSettings) -> None:
    """Models, sweeps, anomalies, incidents and quarantine each have their list."""
    live_incident(fleet)
    with session(fleet) as on:
        rows(on, "INSERT INTO sweeps (id, machine_class, state) VALUES ('s', 'pump', 'running')")
        rows(
            on,
            'INSERT INTO quarantine (topic_id, topic, partition, "offset", reason, detail, value)'
            " VALUES ('t', 'readings', 0, 1, 'not_json', 'it is no JSON', '\\xff41')",
        )

    shown = served.api("/models").json()["items"][0]
    assert (shown["version"], shown["champion"], shown["promoted_by"]) == (1, True, "ada")
    assert served.api("/sweeps").json()["items"][0]["state"] == "running"
    assert served.api("/quarantine").json()["items"][0]["value"] == "\N{REPLACEMENT CHARACTER}A"
    live = served.api("/incidents", params={"live": "true", "machine_id": "pump-1"}).json()
    assert [one["kind"] for one in live["items"]] == ["machine"]
    assert served.api("/anomalies").json() == {"items": [], "next_cursor": None}


def test_the_description_is_true_of_predict(served: Served) -> None:
    """Real answers and refusals fit the schemas that OpenAPI shows for them."""
    described = served.api("/openapi.json").json()
    operation = described["paths"]["/api/v1/predict"]["post"]

    def validate(answer: httpx.Response) -> None:
        content = operation["responses"][str(answer.status_code)]["content"]
        schema = content[answer.headers["content-type"]]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(
            answer.json()
        )

    for given in (body(), {"requests": [body(2)]}, {"machine_id": "pump-9", **body(2)}, {}):
        validate(served.predict(given))
    request = operation["requestBody"]["content"]["application/json"]
    schema = {**request["schema"], "components": described["components"]}
    for example in request["examples"].values():
        jsonschema.Draft202012Validator(schema).validate(example["value"])
    for path in ("/api/v1/machines", "/api/v1/machines/{machine_id}", "/api/v1/models"):
        assert path in described["paths"]


def test_the_description_has_a_page_of_its_own(served: Served) -> None:
    """No script and no line from another host."""
    page = served.api("/docs")

    assert page.status_code == 200
    assert "/api/v1/predict" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text


def test_the_console_shows_fleet_incident_and_champion(
    served: Served, fleet: StorageSettings
) -> None:
    """Everything is in the page itself, without a script."""
    live_incident(fleet)
    page = served.page("/")

    assert page.status_code == 200
    for words in ("pump-1", "pump-2", "anomalous", "vibration", "version 1", "best so far"):
        assert words in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    part = served.page("/parts/overview")
    assert "<html" not in part.text
    assert "pump-1" in part.text


def test_the_console_names_what_a_champion_did_not_learn_from(
    served: Served, fleet: StorageSettings, packages: dict[int, bytes]
) -> None:
    """Which machine stood far out and when, so that somebody may say what it was."""
    first_us = 1_767_323_045_000_000
    part = {"machine": "pump-2", "from_us": first_us, "to_us": first_us + 60_000_000, "rows": 120}
    spec = {"detector": "glosh"}
    promote(fleet, 7, packages[2], spec=spec, unusual=[part] * 5)
    text = " ".join(served.page("/").text.split())

    assert "<dd>glosh</dd>" in text
    told = 'href="/machines/pump-2">pump-2</a> 2026-01-02 03:04:05 UTC to 2026-01-02 03:05:05 UTC'
    assert text.count(told) == 3
    assert "and 2 more" in text


def test_a_machine_has_a_timeline_with_its_incident(served: Served, fleet: StorageSettings) -> None:
    """Scores are made by the champion from stored readings; the incident is shaded."""
    live_incident(fleet)
    page = served.page("/machines/pump-1?minutes=60")

    assert page.status_code == 200
    assert page.text.count('<svg viewBox="0 -2 720 88"') == 5
    assert 'class="shade machine"' in page.text
    assert served.page("/machines/pump-2").status_code == 200
    missing = served.page("/machines/pump-9")
    assert missing.status_code == 404
    assert "pump-9" in missing.text


def test_after_a_repair_the_page_still_shows_what_happened(
    served: Served, fleet: StorageSettings
) -> None:
    """The root of a closed incident is among the pictures, with what was read at its peak."""
    with session(fleet) as on:
        key = roster_store.load(on).machines["pump-1"].key
        told = verdicts.Incident(
            machine_key=key,
            kind="machine",
            began_us=START_US + 500_000_000,
            opened_us=START_US + 501_000_000,
            last_seen_us=START_US + 502_000_000,
            peak_score=3.0,
            anomalies=7,
            root_sensor=SENSORS[-1],
            evidence=(
                verdicts.Contribution(sensor=SENSORS[-1], share=1.0, expected=0.2, observed=0.4),
            ),
            peaked_us=START_US + 501_500_000,
            model_version=1,
            failure_mode=IncidentMode(
                mode="bearing_wear",
                distance=0.1,
                confidence=0.8,
                lead_time_s=600.0,
                sensors=[TypicalSensor(sensor="vibration", direction="up", departure=5.0)],
            ),
        )
        number = verdicts.open_incident(on, told)
        closed_us = START_US + 600_000_000
        verdicts.update_incident(on, replace(told, closed_us=closed_us, close_reason="quiet"))
    page = served.page("/machines/pump-1?minutes=60").text
    shown = served.api(f"/incidents/{number}").json()

    titles = re.findall(r"<figcaption><span>([^<]*?) ?<?(?:small|/span)", page)
    assert titles[1] == SENSORS[-1].replace("_", " ")
    assert "saw 0.4 at its peak, expected 0.2" in page
    assert "Looks like <strong>bearing_wear</strong>" in page
    assert "such failures came 10 min after their first sign" in page
    assert "vibration up" in page
    assert shown["failure_mode"]["mode"] == "bearing_wear"
    assert datetime.fromisoformat(shown["peaked"]) == instant(START_US + 501_500_000)


def test_a_machine_shows_what_is_wrong_with_its_sensors(
    served: Served, fleet: StorageSettings
) -> None:
    """A state of a sensor, apart from incidents; a silent machine is called so."""
    with session(fleet) as on:
        (key,) = rows(on, "SELECT key FROM machines WHERE name = 'pump-1'")[0]
        told = [("flow", Condition.UNIT_JUMP), ("", Condition.SILENT)]
        states = [
            SensorState(
                machine_key=key,
                sensor=sensor,
                condition=condition,
                since_us=START_US,
                last_seen_us=START_US + 9_000_000,
            )
            for sensor, condition in told
        ]
        sensor_states.write(on, [StateChanges(present=tuple(states))])

    shown = served.api("/machines/pump-1").json()
    other = served.api("/machines/pump-2").json()
    page = served.page("/machines/pump-1").text

    assert [(one["sensor"], one["condition"]) for one in shown["conditions"]] == [
        ("", "silent"),
        ("flow", "unit_jump"),
    ]
    flow = shown["conditions"][1]
    assert datetime.fromisoformat(flow["last_seen"]) - datetime.fromisoformat(
        flow["since"]
    ) == timedelta(seconds=9)
    assert shown["health"] == "silent"
    assert shown["silent_s"] > 0
    assert (shown["incidents"], shown["root_sensor"]) == ([], "flow")
    assert (other["conditions"], other["silent_s"]) == ([], None)
    assert "unit jump" in page
    assert "all of the machine" in page
    described = served.api("/openapi.json").json()["components"]["schemas"]
    assert set(described["Condition"]["enum"]) == {one.value for one in Condition}


def test_a_sensor_in_another_unit_is_left_out_of_a_prediction_and_named(served: Served) -> None:
    """The same watch as on the stream, over the stored readings before the window."""
    asked = body()
    for one in asked["readings"][-5:]:
        one["values"]["flow"] *= 1000

    told = served.predict(asked).json()

    assert told["data_quality"]["faults"] == [{"sensor": "flow", "kind": "unit_jump"}]
    assert not told["is_anomaly"]
    assert max(told["scores"]) < 1


def test_a_name_is_never_markup(served: Served) -> None:
    """What a visitor writes into the address comes back as text."""
    page = served.page("/machines/%3Cscript%3Ealert(1)%3C%2Fscript%3E")

    assert "<script>alert" not in page.text


def test_an_empty_platform_says_what_to_run(database: StorageSettings) -> None:
    """A newcomer is led on instead of shown nothing."""
    page = Served(database).page("/")

    assert "millwright simulate" in page.text
    assert "millwright sweep run" in page.text
    ready = Served(database).page("/readyz").json()
    assert ready["checks"]["champion"]["ready"] is False
    assert ready["status"] == "ready"
