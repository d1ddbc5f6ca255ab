"""The application `console`: pages for people at `/`, and `/healthz`, `/readyz` for machines."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from domain.errors import PlatformError
from ray_app.console import care, machine, overview, readiness, words
from ray_app.serve.asgi import App, read_body
from ray_app.serve.context import ServeContext
from ray_app.serve.guard import COOKIE
from ray_app.serve.problems import RefusedError, problem_of
from storage.history import instant

_log = logging.getLogger(__name__)

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_FOLDER = Path(__file__).parent
_WEEK_S = 7 * 86_400
_FORM_LIMIT_BYTES = 4096
_FILTERS = (
    words.duration,
    words.since,
    words.clock,
    instant,
    words.time_of_day,
    words.number,
    words.percent,
    words.mark,
    words.plain,
    words.unit,
)


def build(context: ServeContext) -> App:
    """Return the application."""
    pages = Pages(context)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        context.champions.start()
        yield
        await asyncio.to_thread(context.champions.close)

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", pages.overview),
            Route("/parts/overview", pages.overview_parts),
            Route("/care", pages.care),
            Route("/parts/care", pages.care_parts),
            Route("/machines/{name}", pages.machine),
            Route("/parts/machines/{name}", pages.machine_parts),
            Route("/login", pages.login, methods=["GET", "POST"]),
            Route("/logout", pages.logout, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", pages.readyz),
            Route("/metrics-links", pages.metrics_links),
            Mount("/static", StaticFiles(directory=_FOLDER / "static")),
        ],
        exception_handlers={
            HTTPException: pages.refuse,
            PlatformError: pages.refuse,
            Exception: pages.refuse,
        },
    )


async def healthz(_request: Request) -> Response:
    """Say that this process answers; nothing else is asked."""
    return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})


class Pages:
    """The handlers.

    Args:
        context: What they stand on.
    """

    def __init__(self, context: ServeContext) -> None:
        self._context = context
        self._templates = Environment(
            loader=PackageLoader("ray_app.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for one in _FILTERS:
            self._templates.filters[one.__name__] = one

    async def overview(self, request: Request) -> Response:
        """Show the fleet."""
        return await self._page(request, "overview.html", self._overview)

    async def overview_parts(self, request: Request) -> Response:
        """Give the parts of the fleet's page that change."""
        return await self._page(request, "_overview.html", self._overview)

    async def care(self, request: Request) -> Response:
        """Show maintenance, challengers and webhooks."""
        return await self._page(request, "care.html", self._care)

    async def care_parts(self, request: Request) -> Response:
        """Give the parts of that page that change."""
        return await self._page(request, "_care.html", self._care)

    async def machine(self, request: Request) -> Response:
        """Show one machine."""
        return await self._page(request, "machine.html", self._reader(request))

    async def machine_parts(self, request: Request) -> Response:
        """Give the parts of a machine's page that change."""
        return await self._page(request, "_machine.html", self._reader(request))

    async def login(self, request: Request) -> Response:
        """Take a key for this browser."""
        wrong = False
        if request.method == "POST":
            body = await read_body(request.scope, request.receive, _FORM_LIMIT_BYTES)
            key = parse_qs(body.decode(errors="replace")).get("key", [""])[0].strip()
            if key and await self._context.guard.holder(key) is not None:
                answer = RedirectResponse("/", status_code=303, headers=SECURITY_HEADERS)
                answer.set_cookie(
                    COOKIE,
                    key,
                    max_age=_WEEK_S,
                    httponly=True,
                    samesite="strict",
                    secure=request.url.scheme == "https",
                )
                return answer
            wrong = True
        return self._html("login.html", status=401 if wrong else 200, wrong=wrong)

    async def logout(self, _request: Request) -> Response:
        """Forget this browser's key."""
        answer = RedirectResponse("/login", status_code=303, headers=SECURITY_HEADERS)
        answer.delete_cookie(COOKIE)
        return answer

    async def readyz(self, _request: Request) -> Response:
        """Say of each dependency whether it is ready; 503 when one that is required is not."""
        found = await asyncio.to_thread(
            readiness.checks, self._context.pool, self._context.champions
        )
        ready = all(one.ready for one in found if one.required)
        return JSONResponse(
            {
                "status": "ready" if ready else "not ready",
                "checks": {
                    one.name: {
                        "ready": one.ready,
                        "required": one.required,
                        "detail": one.detail,
                    }
                    for one in found
                },
            },
            status_code=200 if ready else 503,
            headers={"cache-control": "no-store"},
        )

    async def metrics_links(self, request: Request) -> Response:
        """Give the addresses of the dashboards that are known."""
        await self._context.guard.admit(request.scope, writes=False)
        return JSONResponse(self._links())

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Tell an error as a page."""
        if isinstance(error, HTTPException):
            error = RefusedError(error.status_code, str(error.detail), "There is no such page.")
        problem = problem_of(error, request.url.path)
        if problem.status == 500:
            _log.error("%s failed", request.url.path, exc_info=error)
        if problem.status == 401 and "/parts/" not in request.url.path:
            return RedirectResponse("/login", status_code=303, headers=SECURITY_HEADERS)
        return self._html("error.html", status=problem.status, problem=problem)

    async def _page(
        self, request: Request, template: str, read: Callable[[], dict[str, Any]]
    ) -> Response:
        holder = await self._context.guard.admit(request.scope, writes=False)
        found = await asyncio.to_thread(read)
        return self._html(template, **found, holder=holder)

    def _overview(self) -> dict[str, Any]:
        with self._context.pool.session() as on:
            return {"view": overview.read(on), "links": self._links()}

    def _care(self) -> dict[str, Any]:
        with self._context.pool.session() as on:
            return {"view": care.read(on), "links": self._links()}

    def _reader(self, request: Request) -> Callable[[], dict[str, Any]]:
        name = request.path_params["name"]
        asked = request.query_params.get("minutes", "")
        minutes = next((one for one in machine.PERIODS_MIN if str(one) == asked), None)

        def read() -> dict[str, Any]:
            with self._context.pool.session() as on:
                view = machine.read(
                    on, self._context.champions.known, name, minutes or machine.PERIODS_MIN[0]
                )
            return {"view": view, "periods": machine.PERIODS_MIN, "links": self._links()}

        return read

    def _links(self) -> dict[str, str]:
        running = self._context.running()
        known = {
            "Ray dashboard": running.dashboard if running else "",
            "MLflow": running.tracking_uri if running else "",
        }
        set_by = {
            "Ray dashboard": "RAY_DASHBOARD_URL",
            "MLflow": "MLFLOW_PUBLIC_URL",
            "Grafana": "GRAFANA_URL",
        }
        known |= {name: os.environ[var] for name, var in set_by.items() if os.environ.get(var)}
        return {name: url for name, url in known.items() if url.startswith(("http:", "https:"))}

    def _html(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        text = self._templates.get_template(template).render(
            required=self._context.guard.policy.reads, **values
        )
        return HTMLResponse(text, status_code=status, headers=SECURITY_HEADERS)
