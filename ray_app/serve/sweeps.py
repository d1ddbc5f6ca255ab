"""Sweeps over HTTP: those that were, and how to ask for one."""

import uuid
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ray_app.serve import pages
from ray_app.serve.idempotency import Key, once
from ray_app.serve.params import NAME, Cursor, Limit, holder
from ray_app.serve.views import SweepPage
from storage import sweep_history, sweeps
from storage.pool import Pool
from storage.sweep_history import SweepRow

type SweepId = Annotated[str, Path(pattern=r"^[0-9a-zA-Z_-]{1,64}$", description="Id of a sweep")]


class SweepAsked(BaseModel):
    """What to learn from; what is left out is as the platform's settings say."""

    model_config = ConfigDict(extra="forbid")

    machine_class: str = Field(pattern=NAME)
    trials: int | None = Field(None, ge=1, le=10_000, description="Configurations to try")
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    lookback_hours: float | None = Field(None, gt=0, le=24 * 365, description="Hours of history")


class SweepTaken(BaseModel):
    """A sweep that waits for its turn; `Location` is where it can be followed."""

    id: str
    machine_class: str
    state: Literal["queued"]


_TAKEN: Final[dict[str, Any]] = {
    "description": "It waits for its turn",
    "headers": {
        "Location": {"description": "Where it can be followed", "schema": {"type": "string"}}
    },
}


def sweep_routes(pool: Pool) -> APIRouter:
    """Return sweeps: those that were, and how to ask for one."""
    router = APIRouter(tags=["sweeps"])
    _reading(router, pool)
    _asking(router, pool)
    return router


def _reading(router: APIRouter, pool: Pool) -> None:
    """Add what only looks."""

    @router.get("/sweeps")
    def list_sweeps(limit: Limit = 50, cursor: Cursor = "") -> SweepPage:
        """List sweeps, newest first."""
        before = pages.decode(cursor, tuple[datetime, str]) if cursor else None
        with pool.session() as on:
            found = sweep_history.listed(on, before=before, limit=limit + 1)
        items, after = pages.cut(found, limit, lambda last: [last.started_at, last.id])
        return SweepPage(items=items, next_cursor=after)

    @router.get("/sweeps/{sweep_id}")
    def get_sweep(sweep_id: SweepId) -> SweepRow:
        """Show one sweep: whether it waits, how far it is, how it ended."""
        with pool.session() as on:
            return sweep_history.get(on, sweep_id)


def _asking(router: APIRouter, pool: Pool) -> None:
    """Add how a sweep is asked for, and taken back while it waits."""

    @router.post("/sweeps", status_code=202, responses={202: _TAKEN})
    def start_sweep(
        asked: SweepAsked, request: Request, response: Response, idempotency_key: Key = None
    ) -> SweepTaken:
        """Learn from the stored history; what passes the gate is promoted.

        The platform's retrainer takes it within a second or after the sweep that is under way.
        Needs a key of an operator.
        """
        wish = sweeps.Wish(
            sweep=uuid.uuid4().hex[:12], actor=holder(request).name, **asked.model_dump()
        )
        work = partial(_ask, pool, wish)
        taken = once(pool, request, idempotency_key, asked, work=work, shape=SweepTaken)
        response.headers["location"] = f"/api/v1/sweeps/{taken.id}"
        return taken

    @router.post("/sweeps/{sweep_id}/cancel")
    def cancel_sweep(sweep_id: SweepId, request: Request) -> SweepRow:
        """Take back a sweep that waits; one that is under way ends by itself.

        Needs a key of an operator.
        """
        with pool.session() as on:
            sweeps.cancel(on, sweep_id, holder(request).name)
            return sweep_history.get(on, sweep_id)


def _ask(pool: Pool, wish: sweeps.Wish) -> SweepTaken:
    with pool.session() as on:
        sweeps.ask(on, wish)
    return SweepTaken(id=wish.sweep, machine_class=wish.machine_class, state="queued")
