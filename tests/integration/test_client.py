"""The typed client against the description, and against real answers over a socket."""

import asyncio
import subprocess
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Union, get_args, get_origin

import httpx
import msgspec
import pytest

from ray_app.client import AsyncClient, Client, ProblemError, UnreachableError, answers, calls
from ray_app.client.call import Call
from ray_app.client.http import Patience
from storage import roster_store, verdicts
from storage.connect import session
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import LEVELS, SENSORS, START_US, Site, listening

NOW = datetime(2026, 1, 3, tzinfo=UTC)
VALUES = dict(zip(SENSORS, LEVELS, strict=True))
EVERY: tuple[Call[Any], ...] = (
    calls.predict(calls.stored("pump-1")),
    calls.predict(calls.reading("pump-1", NOW, VALUES)),
    calls.predict_many([calls.window([(NOW, VALUES)], machine_class="pump")]),
    calls.machines(limit=1),
    calls.machine("pump-1"),
    calls.readings("pump-1", limit=3),
    calls.readings("pump-1", since=datetime(2026, 1, 2, tzinfo=UTC), until=NOW, points=10),
    calls.movements("pump-1", limit=1),
    calls.judge("pump-1"),
    calls.incidents(live=True),
    calls.acknowledge(1),
    calls.close(1, "new bearing"),
    calls.feedback(1, "true"),
    calls.repaired("pump-1", NOW, "new seals"),
    calls.keep_level(1),
    calls.models(champions=True),
    calls.history("pump"),
    calls.rollback("pump"),
    calls.promote("pump", 2),
    calls.start_sweep("pump", trials=3),
    calls.sweeps(),
)


@pytest.fixture
def site(database: StorageSettings) -> Iterator[tuple[str, str]]:
    """Return the URL of the applications and a key of an owner; one incident is open."""
    keys = serve_support.fill(database)
    for version in (1, 2):
        serve_support.promote(database, version, serve_support.package(version))
    with session(database) as on:
        key = roster_store.load(on).machines["pump-1"].key
        verdicts.open_incident(
            on,
            verdicts.Incident(
                machine_key=key,
                kind="machine",
                began_us=START_US,
                opened_us=START_US,
                last_seen_us=START_US,
                peak_score=3.0,
                anomalies=7,
                root_sensor="vibration",
                model_version=1,
            ),
        )
    made = Site(database)
    made.champions.refresh()
    with listening(made) as url:
        yield url, keys["owner"]
    made.pool.close()


def test_every_call_decodes_a_real_answer_waiting_or_awaited(site: tuple[str, str]) -> None:
    """Each operation once, in an order in which it succeeds; then the reading ones awaited."""
    url, key = site
    with Client(url, key=key) as client:
        told = [(call, client.send(call)) for call in EVERY]
        swept = client.send(calls.sweep(client.send(calls.sweeps()).items[0].id))
        cancelled = client.send(calls.cancel_sweep(swept.id))

    assert all(isinstance(answer, call.answer) for call, answer in told)
    assert (swept.state, cancelled.state) == ("queued", "cancelled")
    assert told[0][1].model.version == 2

    async def awaited() -> list[Any]:
        async with AsyncClient(url) as client:
            return [await client.send(call) for call in EVERY if call.method == "GET"]

    assert asyncio.run(awaited())[0].items[0].id == "pump-1"


def test_every_call_is_an_operation_of_the_description(site: tuple[str, str]) -> None:
    """Method, path, and parameters; and every function of `calls` is tried above."""
    described = httpx.get(f"{site[0]}/api/v1/openapi.json").json()
    operations = {
        one["operationId"].partition("_v1_")[0]: (path, method, one)
        for path, item in described["paths"].items()
        for method, one in item.items()
    }
    every = (*EVERY, calls.sweep("one"), calls.cancel_sweep("one"))
    for call in every:
        path, method, one = operations[call.operation]
        assert call.method.lower() == method
        assert len(path.split("/")) == len(call.path.split("/"))
        assert all(
            told == given or told.startswith("{")
            for told, given in zip(path.split("/"), call.path.split("/"), strict=True)
        )
        assert call.query.keys() <= {given["name"] for given in one.get("parameters", ())}
    makers = {
        name
        for name, made in vars(calls).items()
        if isinstance(made, types.FunctionType)
        and made.__module__ == calls.__name__
        and not name.startswith("_")
    } - {"stored", "reading", "window"}
    assert len(makers) == len({call.operation for call in every}) + 1, "predict has two"


def test_types_of_answers_are_those_of_the_description(site: tuple[str, str]) -> None:
    """A field that is always there, never null, or of another kind is held against its schema."""
    described = httpx.get(f"{site[0]}/api/v1/openapi.json").json()["components"]["schemas"]
    ours = [
        one
        for one in vars(answers).values()
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    ]
    for one in ours:
        schema = described[one.__name__]
        for info in msgspec.structs.fields(one):
            assert info.encode_name in schema["properties"], (one.__name__, info.name)
            if info.required:
                assert info.encode_name in schema["required"], (one.__name__, info.name)
            told = _nullable(schema["properties"][info.encode_name])
            assert told == _takes_none(info.type), (one.__name__, info.name)

    assert len(ours) > 15


def _nullable(schema: dict[str, Any]) -> bool:
    kinds = [one.get("type") for one in schema.get("anyOf", [])]
    return "null" in kinds or "null" in (schema.get("type") or ())


def _takes_none(kind: Any) -> bool:
    return get_origin(kind) in {types.UnionType, Union} and type(None) in get_args(kind)


def test_a_refusal_is_raised_with_what_to_do(site: tuple[str, str]) -> None:
    """The problem's parts, for programs and for people."""
    with Client(site[0]) as client:
        with pytest.raises(ProblemError) as unknown:
            client.send(calls.machine("pump-9"))
        with pytest.raises(ProblemError) as wrong:
            client.send(calls.predict(calls.reading("pump-1", NOW, {"vibratoin": 1.0})))
        with pytest.raises(ProblemError) as keyless:
            client.send(calls.promote("pump", 1))

    assert (unknown.value.status, unknown.value.type) == (404, "urn:millwright:problem:not-found")
    assert wrong.value.errors[0]["pointer"] == "/readings/0/values/vibratoin"
    assert keyless.value.status == 401


class Scripted(httpx.BaseTransport):
    """Answers as it was told to, and remembers what was asked."""

    def __init__(self, *script: httpx.Response | Exception) -> None:
        self._script, self.asked = list(script), list[httpx.Request]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Give the next answer."""
        self.asked.append(request)
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _busy(after: str) -> httpx.Response:
    return httpx.Response(503, headers={"retry-after": after}, json={"title": "Busy"})


def _done() -> httpx.Response:
    return httpx.Response(200, json={"machine_class": "pump", "version": 1})


def test_it_comes_again_when_it_is_told_to() -> None:
    """After Retry-After and not before; a repeated write has the same Idempotency-Key."""
    script, slept = Scripted(_busy("3"), httpx.ReadError("gone"), _done()), list[float]()
    with Client("http://test", transport=script, sleep=slept.append) as client:
        told = client.send(calls.rollback("pump"))

    assert told.version == 1
    assert slept[0] == 3
    assert 0.5 <= slept[1] <= 1
    assert len({one.headers["idempotency-key"] for one in script.asked}) == 1


def test_it_gives_up_in_the_end_with_the_last_refusal() -> None:
    """A server that stays busy is told of; waits are bounded."""
    script, slept = Scripted(*[_busy("999")] * 3), list[float]()
    patience = Patience(tries=3, most_s=5)
    with (
        Client("http://test", transport=script, sleep=slept.append, patience=patience) as client,
        pytest.raises(ProblemError, match="503 Busy"),
    ):
        client.send(calls.machines())

    assert slept == [5, 5]


def test_what_is_not_safe_is_not_asked_twice_once_it_may_have_begun() -> None:
    """A connection that was refused may be tried again, one that broke off may not."""
    refused = Scripted(httpx.ConnectError("refused"), httpx.ReadError("gone"))
    with (
        Client("http://test", transport=refused, sleep=lambda _: None) as client,
        pytest.raises(UnreachableError, match="gone"),
    ):
        client.send(calls.close(1))

    assert len(refused.asked) == 2


def test_the_client_needs_nothing_of_the_platform() -> None:
    """Who only asks imports neither Ray nor drivers nor numpy."""
    code = (
        "import sys, ray_app.client; heavy = {'ray', 'numpy', 'psycopg2', 'fastapi', 'sklearn'};"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
