"""The OpenAPI description and the applications say the same, and nothing makes them fail."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema
import pyarrow as pa
import pytest

from ray_app.serve.asgi import Message, Receive, Scope, Send
from ray_app.serve.predictor import ARROW
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import ROWS, SENSORS, Site, bearer, listening, readings, schemathesis

_NIGHTLY = os.environ.get("MILLWRIGHT_TEST_PROFILE") == "nightly"
_PORTION = 40
"""Examples per operation and run of the nightly profile; runs go on until there are enough."""


@pytest.fixture(scope="module")
def packages() -> tuple[bytes, bytes]:
    """Return two trained models."""
    return serve_support.package(1), serve_support.package(2)


@pytest.fixture
def keys(database: StorageSettings, packages: tuple[bytes, bytes]) -> dict[str, str]:
    """Return a key of each role, over a fleet with two versions."""
    made = serve_support.fill(database)
    for version, package in enumerate(packages, 1):
        serve_support.promote(database, version, package)
    return made


@pytest.fixture
def site(database: StorageSettings, keys: dict[str, str]) -> Iterator[Site]:
    """Return the applications."""
    assert keys
    made = Site(database)
    made.champions.refresh()
    yield made
    made.pool.close()


@pytest.fixture
def description(site: Site) -> dict[str, Any]:
    """Return the description as clients get it."""
    told: dict[str, Any] = site.ask("/api/v1/openapi.json").json()
    return told


def checked(description: dict[str, Any], path: str, method: str, answer: Any) -> None:
    """Hold an answer against what the description says of its status and type."""
    told = description["paths"][path][method]["responses"]
    assert str(answer.status_code) in told, (path, answer.status_code, answer.text)
    content = told[str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content, (path, kind)
    if kind.endswith("json"):
        schema = {**content[kind]["schema"], "components": description["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


def _examples(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in description["paths"].items():
        for operation in item.values():
            content = operation.get("requestBody", {}).get("content", {})
            told = content.get("application/json", {})
            for name, example in told.get("examples", {}).items():
                yield path, name, {"schema": told["schema"], "value": example["value"]}


def test_every_example_is_what_its_schema_says_and_is_answered_as_described(
    site: Site, description: dict[str, Any]
) -> None:
    """Examples are copied: they must be understood, if not of sensors that this fleet has."""
    found = list(_examples(description))
    for path, _, example in found:
        schema = {**example["schema"], "components": description["components"]}
        jsonschema.Draft202012Validator(schema).validate(example["value"])
        real = path.replace("{name}", "pump").replace("{version}", "2")
        checked(description, path, "post", site.ask(real, "POST", json=example["value"]))

    assert len(found) >= 7


def test_every_described_operation_is_there_and_answers_as_described(
    site: Site, description: dict[str, Any], keys: dict[str, str]
) -> None:
    """With a value for each parameter: none is 405, and each answer has a described shape."""
    values = {
        "machine_id": "pump-1",
        "machine_class": "pump",
        "name": "pump",
        "version": "2",
        "incident_id": "1",
        "message_id": "1",
        "sweep_id": "none",
        "label_id": "1",
        "webhook_id": "1",
        "window_id": "1",
    }
    for path, item in description["paths"].items():
        real = re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path)
        for method in item:
            answer = site.ask(real, method.upper(), headers=bearer(keys["owner"]), json={})
            assert answer.status_code != 405, path
            checked(description, path, method, answer)


def test_every_route_of_the_api_is_described(site: Site, description: dict[str, Any]) -> None:
    """What is not described cannot be relied upon; the description's own pages need none."""
    api = next(app for prefix, app in site.apps if prefix == "/api")
    application: Any = api._app  # type: ignore[attr-defined]
    inner = [
        (f"/api/v1{route.path}", route)
        for router in application.routes
        for route in getattr(getattr(router, "original_router", None), "routes", ())
    ]
    outer = [(f"/api{one.path}", one) for one in application.routes if hasattr(one, "path")]
    told = {
        (path.replace(":int}", "}"), method.lower())
        for path, route in inner + outer
        for method in getattr(route, "methods", ()) or ()
        if method != "HEAD" and path not in {"/api/v1/docs", "/api/v1/openapi.json"}
    }
    described = {
        (path, method)
        for path, item in description["paths"].items()
        for method in item
        if path.startswith("/api") and path != "/api/v1/predict"
    }

    assert told == described
    assert len(told) > 20


def test_real_scores_fit_the_description(site: Site, description: dict[str, Any]) -> None:
    """Predict in its three languages: JSON, Arrow and tensors."""
    values = readings(30, 1, ROWS).values
    window = [
        {
            "timestamp": f"2026-01-03T00:00:{second:02d}Z",
            "values": dict(zip(SENSORS, row.tolist(), strict=True)),
        }
        for second, row in enumerate(values)
    ]
    sink = pa.BufferOutputStream()
    table = pa.table({"machine_id": ["pump-1"]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    tensor = {"name": "sensors", "shape": [30, 4], "datatype": "FP64", "data": values.tolist()}
    predict, infer = "/api/v1/predict", "/v2/models/{name}/infer"
    bodies: list[dict[str, Any]] = [
        {"json": {"machine_id": "pump-1", "readings": window}},
        {"json": {"requests": [{"machine_class": "pump", "readings": window}]}},
        {"content": sink.getvalue().to_pybytes(), "headers": {"content-type": ARROW}},
        {
            "content": sink.getvalue().to_pybytes(),
            "headers": {"content-type": ARROW, "accept": ARROW},
        },
    ]
    answers = [(predict, site.ask(predict, "POST", **body)) for body in bodies]
    answers += [
        (infer, site.ask("/v2/models/pump/infer", "POST", json={"inputs": [tensor], **more}))
        for more in ({}, {"parameters": {"binary_data_output": True}})
    ]
    for path, answer in answers:
        assert answer.status_code == 200, answer.text
        checked(description, path, "post", answer)


class Counting:
    """Counts what a site answers, by status."""

    def __init__(self, site: Site) -> None:
        self._site, self.statuses = site, Counter[int]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note its status."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.statuses[message["status"]] += 1
            await send(message)

        await self._site(scope, receive, noting)


@pytest.mark.timeout(1800)
def test_schemathesis_finds_nothing(site: Site, keys: dict[str, str]) -> None:
    """Examples, edge cases, random requests right and wrong, and chains of them by links."""
    counting = Counting(site)
    wanted, seed = (20_000, 1) if _NIGHTLY else (300, 7)
    with listening(counting) as url:
        while counting.statuses.total() < wanted:
            options = ("--max-examples", str(_PORTION)) if _NIGHTLY else ("--max-examples", "2")
            schemathesis(url, keys["owner"], *options, "--seed", str(seed))
            seed += 1

    assert not [status for status in counting.statuses if status >= 500]
    assert {200, 202, 404, 422} <= counting.statuses.keys()
    print(f"schemathesis: {counting.statuses.total()} requests, {dict(counting.statuses)}")  # noqa: T201 - the figure
