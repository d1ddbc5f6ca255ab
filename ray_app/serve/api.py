"""The application `api`: resources over Postgres, and the description of all of HTTP."""

import logging
from functools import cache, partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from domain.errors import PlatformError
from ray_app.serve import openapi
from ray_app.serve.asgi import (
    App,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    read_body,
    replayed,
    send_problem,
)
from ray_app.serve.care import care_routes
from ray_app.serve.context import ServeContext
from ray_app.serve.guard import Guard
from ray_app.serve.incidents import incident_routes
from ray_app.serve.labels import label_routes
from ray_app.serve.models import model_routes
from ray_app.serve.params import HOLDER
from ray_app.serve.problems import (
    CONTENT_TYPE,
    FieldProblem,
    RefusedError,
    encoded,
    headers_of,
    problem_of,
)
from ray_app.serve.quarantine import quarantine_routes
from ray_app.serve.readings import reading_routes
from ray_app.serve.routes import fleet_routes
from ray_app.serve.sweeps import sweep_routes

_log = logging.getLogger(__name__)
BODY_LIMIT_BYTES = 1_000_000
"""The largest that is sensible is a list of messages to be re-driven."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def build(context: ServeContext) -> App:
    """Return the application."""
    app = FastAPI(title="Millwright", docs_url=None, redoc_url=None, openapi_url=None)
    for router in (
        fleet_routes(context.pool),
        reading_routes(context.pool),
        incident_routes(context.pool),
        model_routes(context.pool),
        sweep_routes(context.pool),
        quarantine_routes(context.pool),
        care_routes(context.pool),
        label_routes(context.pool),
    ):
        app.include_router(router, prefix="/v1", responses=openapi.PROBLEMS)
    _describe(app)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(PlatformError, _refuse)
    app.add_exception_handler(Exception, _refuse)
    return _Guarded(app, context.guard)


class _Guarded:
    """Asks the guard before the application, and tells what nobody foresaw as a problem."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noticing(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            writes = scope["method"] not in _READS
            scope[HOLDER] = await self._guard.admit(scope, writes=writes)
            if writes:
                receive = replayed(await read_body(scope, receive, BODY_LIMIT_BYTES), receive)
            await self._app(scope, receive, noticing)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is becomes a problem
            if not isinstance(error, PlatformError):
                _log.exception("%s %s failed", scope["method"], scope["path"])
            if begun:
                return
            await send_problem(scope, send, error)


def _describe(app: FastAPI) -> None:
    # Made when it is first asked for: a replica answers sooner without it.
    app.state.described = described = cache(partial(openapi.describe, app))

    @app.get("/v1/openapi.json", include_in_schema=False)
    def schema() -> Response:
        return Response(openapi.as_json(described()), media_type="application/json")

    @app.get("/v1/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(openapi.as_page(described()), headers=openapi.PAGE_HEADERS)


async def _refuse(request: Request, error: Exception) -> Response:
    refusal = _as_ours(error, request)
    problem = problem_of(refusal, request.scope["path"])
    return Response(
        encoded(problem),
        status_code=problem.status,
        media_type=CONTENT_TYPE,
        headers=dict(headers_of(refusal)),
    )


def _as_ours(error: Exception, request: Request) -> Exception:
    if isinstance(error, RequestValidationError):
        places = tuple(
            FieldProblem(detail=str(one["msg"]), pointer="/" + "/".join(map(str, one["loc"][1:])))
            for one in error.errors()
        )
        first = places[0]
        return RefusedError(422, "Invalid request", f"{first.pointer}: {first.detail}", places)
    if isinstance(error, HTTPException):
        # A body that is no text is as wrong as one that is no JSON.
        status = 422 if error.status_code == 400 else error.status_code
        titles = {404: "Not found", 405: "Method not allowed", 422: "Invalid request"}
        headers = dict(error.headers or {})
        if status == 405:
            # Of all routes of the path; Starlette names the methods of the first alone.
            headers["allow"] = openapi.methods_of(request.app.state.described(), request.url.path)
        return RefusedError(
            status,
            titles.get(status, "Refused"),
            f"{error.detail}. GET /api/v1/docs shows what there is",
            headers=tuple(headers.items()),
        )
    return error
