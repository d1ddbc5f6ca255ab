"""The Open Inference Protocol, version 2, at `/v2`: for clients that know no other scorer's API.

Plain ASGI over the same champions and the same pipeline as predict. Errors are what the protocol
wants, `{"error": …}`, not problem details.
"""

import asyncio
import logging
import time
from functools import partial
from importlib.metadata import version

import msgspec

from domain.errors import NotFoundError
from domain.readings import History
from observability.catalogue import PREDICT_LATENCY, PREDICT_REQUESTS
from observability.metric import Metrics
from ray_app.champions import Champions, await_refresh
from ray_app.known import Champion
from ray_app.serve import tensor_outputs, tensors
from ray_app.serve.asgi import (
    ClientGoneError,
    Receive,
    Scope,
    Send,
    header,
    is_request,
    read_body,
    send_json,
)
from ray_app.serve.guard import Guard
from ray_app.serve.inference_schema import (
    InferenceError,
    InferenceRequest,
    InferenceResponse,
    Live,
    ModelMetadata,
    Ready,
    ServerMetadata,
)
from ray_app.serve.predictor import BODY_LIMIT_BYTES
from ray_app.serve.problems import RefusedError, headers_of, problem_of
from ray_app.serve.scorer import Scorer
from ray_app.serve.verdict import THRESHOLD, scored

_log = logging.getLogger(__name__)

LENGTH = b"inference-header-content-length"
"""Header of the binary extension: where the JSON ends and the bytes of tensors begin."""


class InferenceApp:
    """The application.

    Args:
        scorer: Knows machines and their stored readings.
        champions: Kept fresh while the application lives.
        guard: Decides who may ask; health is open to all.
        metrics: Told of every inference.
    """

    def __init__(
        self, scorer: Scorer, champions: Champions, guard: Guard, metrics: Metrics
    ) -> None:
        self._scorer, self._champions = scorer, champions
        self._guard, self._metrics = guard, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or go through the lifespan."""
        live = self._champions
        if not await is_request(scope, receive, send, live.start, live.close):
            return
        try:
            await self._respond(scope, receive, send)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is becomes the protocol's error
            problem = problem_of(error, str(scope["path"]))
            if problem.status == 500:
                _log.exception("%s failed", scope["path"])
            told = InferenceError(error=problem.detail)
            await send_json(send, problem.status, told, headers=headers_of(error))

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        parts = tuple(part for part in path.split("/") if part)
        _check_method(scope, parts)
        if parts == ("health", "live"):
            await send_json(send, 200, Live(live=True))
            return
        if parts == ("health", "ready"):
            ready = bool(self._champions.known.champions)
            await send_json(send, 200 if ready else 503, Ready(ready=ready))
            return
        await self._guard.admit(scope, writes=False)
        match parts:
            case ():
                await send_json(send, 200, _server())
            case ("models", name, *rest):
                await self._model(name, tuple(rest), scope, receive, send)
            case _:
                raise _nothing(scope)

    async def _model(
        self, name: str, rest: tuple[str, ...], scope: Scope, receive: Receive, send: Send
    ) -> None:
        wanted = None
        if rest[:1] == ("versions",) and len(rest) > 1:
            wanted, rest = rest[1], rest[2:]
        if rest not in {(), ("ready",), ("infer",)}:
            raise _nothing(scope)
        champion = await asyncio.to_thread(self._champion, name, wanted)
        match rest:
            case ():
                await send_json(send, 200, _metadata(champion))
            case ("ready",):
                await send_json(send, 200, Ready(ready=True, name=name))
            case _:
                await self._infer(champion, scope, receive, send)

    def _champion(self, name: str, wanted: str | None) -> Champion:
        known = await_refresh(self._champions, lambda one: name in one.champions)
        if name not in known.champions and name not in known.roster.classes:
            names = ", ".join(sorted(known.champions)) or "none yet"
            raise NotFoundError("model", name[:128], f"Ready are: {names}")
        found = known.champion(name)
        if wanted is not None and wanted != str(found.version):
            raise NotFoundError(
                "version in use", wanted[:40], f"{name} is served by version {found.version}"
            )
        return found

    async def _infer(self, champion: Champion, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), "5xx"
        try:
            body = await read_body(scope, receive, BODY_LIMIT_BYTES)
            length = header(scope, LENGTH)
            if length and not (length.isascii() and length.isdigit() and len(length) < 12):
                raise tensors.refused(f"{LENGTH.decode()} is {length[:40]!r}; a number is wanted")
            job = partial(self._scored, champion, body, int(length) if length else None)
            answer, tail = await asyncio.to_thread(job)
            await _send(send, answer, tail)
            status = "2xx"
        except RefusedError:
            status = "4xx"
            raise
        finally:
            self._metrics.observe(PREDICT_LATENCY, time.perf_counter() - began)
            self._metrics.add(PREDICT_REQUESTS, status=status)

    def _scored(
        self, champion: Champion, body: bytes, json_bytes: int | None
    ) -> tuple[InferenceResponse, bytes]:
        request, tail = tensors.decode(body, json_bytes)
        pipeline = champion.pipeline
        window = tensors.window(request, tail, pipeline.machine_class)
        machine = self._machine(request, champion)
        given = History(machine=machine or "", instants_us=window.instants_us, values=window.values)
        past = self._scorer.past(champion, given, dated=window.dated)[0]
        scores, before = scored(champion, given, past, self._scorer.own(champion, given))
        told, raw = tensor_outputs.outputs(request, scores, skip=before, threshold=THRESHOLD)
        answer = InferenceResponse(
            model_name=champion.machine_class,
            model_version=str(champion.version),
            outputs=told,
            id=request.id,
        )
        return answer, raw

    def _machine(self, request: InferenceRequest, champion: Champion) -> str | None:
        name = request.parameters.get("machine_id")
        if name is None:
            return None
        if not isinstance(name, str):
            raise tensors.refused("machine_id must be the name of a machine")
        known = await_refresh(self._champions, lambda one: name in one.roster.machines)
        machine = known.roster.machines.get(name)
        if machine is None:
            raise NotFoundError("machine", name[:128], "GET /api/v1/machines lists them")
        if machine.machine_class != champion.machine_class:
            raise tensors.refused(
                f"{name} is a {machine.machine_class}; this is the model of "
                f"{champion.machine_class}"
            )
        return name


async def _send(send: Send, answer: InferenceResponse, tail: bytes) -> None:
    if not tail:
        await send_json(send, 200, answer)
        return
    told = msgspec.json.encode(answer)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(len(told) + len(tail)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (LENGTH, str(len(told)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told + tail})


def _metadata(champion: Champion) -> ModelMetadata:
    inputs, outputs = tensor_outputs.described(champion.pipeline.machine_class)
    return ModelMetadata(
        name=champion.machine_class,
        versions=[str(champion.version)],
        platform="millwright_pipeline",
        inputs=inputs,
        outputs=outputs,
    )


def _server() -> ServerMetadata:
    return ServerMetadata(
        name="millwright", version=version("millwright"), extensions=["binary_tensor_data"]
    )


def _check_method(scope: Scope, parts: tuple[str, ...]) -> None:
    wanted = "POST" if parts[-1:] == ("infer",) and len(parts) > 2 else "GET"
    if scope["method"] != wanted:
        raise RefusedError(
            405,
            "Method not allowed",
            f"{scope['method']} is not for {scope['path']}; {wanted} is",
            headers=(("allow", wanted),),
        )


def _nothing(scope: Scope) -> RefusedError:
    return RefusedError(404, "Not found", f"there is nothing at {scope['path']}")
