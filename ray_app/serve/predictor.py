"""`POST /api/v1/predict` as plain ASGI: ingress and model in one, nothing between them."""

import asyncio
import logging
import time

from observability.catalogue import PREDICT_LATENCY, PREDICT_REQUESTS
from observability.metric import Metrics
from ray_app.champions import Champions
from ray_app.serve.asgi import (
    ClientGoneError,
    Receive,
    Scope,
    Send,
    header,
    is_request,
    read_body,
    send_bytes,
    send_json,
    send_problem,
)
from ray_app.serve.guard import Guard
from ray_app.serve.problems import RefusedError
from ray_app.serve.scorer import Scorer
from ray_app.serve.windows import decode

_log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 5_000_000
"""Some 10,000 readings of 20 sensors; who has more sends several requests."""


ARROW = "application/vnd.apache.arrow.stream"


class PredictApp:
    """The application.

    Args:
        scorer: Answers.
        champions: Kept fresh while the application lives.
        guard: Decides who may ask.
        metrics: Told of every request.
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
        began = time.perf_counter()
        status = await self._respond(scope, receive, send)
        self._metrics.observe(PREDICT_LATENCY, time.perf_counter() - began)
        self._metrics.add(PREDICT_REQUESTS, status=f"{status // 100}xx")

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> int:
        try:
            await self._guard.admit(scope, writes=False)
            content_type = _check(scope)
            body = await read_body(scope, receive, BODY_LIMIT_BYTES)
            if content_type == ARROW:
                return await self._arrow(scope, body, send)
            request = decode(body)
            if self._scorer.is_quick(request):
                answer = self._scorer.answer(request)
            else:
                answer = await asyncio.to_thread(self._scorer.answer, request)
        except ClientGoneError:
            return 499
        except Exception as error:  # noqa: BLE001 - whatever it is becomes a problem, never a traceback
            status = await send_problem(scope, send, error)
            if status == 500:
                _log.exception("predict failed")
            return status
        await send_json(send, 200, answer)
        return 200

    async def _arrow(self, scope: Scope, body: bytes, send: Send) -> int:
        # Only who is asked in Arrow pays for its import.
        from ray_app.serve import arrow

        if ARROW in header(scope, b"accept"):
            raw = await asyncio.to_thread(arrow.scored, self._scorer, body)
            await send_bytes(send, raw, ARROW)
        else:
            await send_json(send, 200, await asyncio.to_thread(arrow.predicted, self._scorer, body))
        return 200


def _check(scope: Scope) -> str:
    below = str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).strip("/")
    if below:
        raise RefusedError(404, "Not found", f"there is nothing at {scope['path']}")
    if scope["method"] != "POST":
        raise RefusedError(
            405,
            "Method not allowed",
            f"{scope['method']} is not for predict; POST a JSON body",
            headers=(("allow", "POST"),),
        )
    content_type = header(scope, b"content-type").partition(";")[0].strip().lower()
    if content_type not in {"application/json", ARROW, ""}:
        raise RefusedError(
            415,
            "Unsupported media type",
            f"{content_type} is not understood; application/json and {ARROW} are",
        )
    return content_type
