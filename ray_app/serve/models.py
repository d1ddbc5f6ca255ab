"""Models over HTTP: which version judges, since when and why; promotion and rollback."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from domain.errors import NotFoundError
from ray_app.serve import pages
from ray_app.serve.idempotency import Key, once
from ray_app.serve.params import TEXT, At, ClassName, Cursor, Limit, MachineId, holder
from ray_app.serve.routes import no_machine, utc
from ray_app.serve.views import ModelPage, Page
from storage import anomalies, models, roster_store
from storage.connect import Connection
from storage.models import ModelEvent
from storage.pool import Pool

type Why = Annotated[str, Field(max_length=1000, pattern=TEXT, description="Kept in the history")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PromotionAsked(_Asked):
    """Which version is to become the champion, whatever the gate said of it."""

    version: int = Field(ge=1, le=2**31 - 1)
    reason: Why = "by hand"


class RollbackAsked(_Asked):
    """Why the champion before the present one is to come back."""

    reason: Why = "by hand"


class ChampionNow(BaseModel):
    """The champion after a change; it scores within a second.

    MLflow's aliases follow within seconds, or once MLflow is back.
    """

    machine_class: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage(Page[ModelEvent]):
    """What happened to models of a class, newest first."""

    items: Sequence[ModelEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What scored a machine at an instant.

    `source` is `verdict` where a stored verdict on a reading of that very instant names the
    version, and `history` where it was the champion of the machine's class at that time.
    """

    machine_id: str
    machine_class: str
    at: datetime
    version: int
    source: Literal["verdict", "history"]
    champion_since: datetime | None


def model_routes(pool: Pool) -> APIRouter:
    """Return models and what may be done about them."""
    router = APIRouter(tags=["models"])
    _listing(router, pool)
    _judging(router, pool)
    _changing(router, pool)
    return router


def _listing(router: APIRouter, pool: Pool) -> None:
    """Add versions and what happened to them."""

    @router.get("/models")
    def list_models(
        *, champions: bool = False, limit: Limit = 200, cursor: Cursor = ""
    ) -> ModelPage:
        """List model versions with their label-free figures; `champion` marks those in use."""
        after = pages.decode(cursor, tuple[str, int]) if cursor else None
        with pool.session() as on:
            found = models.listed(on, champions_only=champions, after=after, limit=limit + 1)
        items, following = pages.cut(found, limit, lambda last: [last.machine_class, last.version])
        return ModelPage(items=items, next_cursor=following)

    @router.get("/models/{machine_class}/history")
    def model_history(
        machine_class: ClassName, at: At = None, limit: Limit = 100, cursor: Cursor = ""
    ) -> EventPage:
        """List what happened to models of a class, newest first.

        With `at`, only the event that made the champion of that time.
        """
        before = pages.decode(cursor, tuple[int])[0] if cursor else None
        moment = utc(at)
        with pool.session() as on:
            _require(on, machine_class)
            if moment is not None:
                event = models.champion_at(on, machine_class, moment)
                return EventPage(items=[event] if event else [], next_cursor=None)
            found = models.history(on, machine_class, before=before, limit=limit + 1)
        items, after = pages.cut(found, limit, lambda last: [last.id])
        return EventPage(items=items, next_cursor=after)


def _judging(router: APIRouter, pool: Pool) -> None:
    """Add who judges a machine."""

    @router.get("/machines/{machine_id}/model")
    def judge_of_machine(machine_id: MachineId, at: At = None) -> Judge:
        """Say which version scored a machine at an instant: what scores it now without `at`."""
        with pool.session() as on:
            return _judge(on, machine_id, utc(at) or datetime.now(UTC))


def _changing(router: APIRouter, pool: Pool) -> None:
    """Add what changes the champion."""

    @router.post("/models/{machine_class}/promote")
    def promote_model(
        machine_class: ClassName,
        asked: PromotionAsked,
        request: Request,
        idempotency_key: Key = None,
    ) -> ChampionNow:
        """Make a version the champion. Needs a key of an owner."""
        work = partial(_promote, pool, machine_class, asked, holder(request, "owner").name)
        return once(pool, request, idempotency_key, asked, work=work, shape=ChampionNow)

    @router.post("/models/{machine_class}/rollback")
    def rollback_model(
        machine_class: ClassName,
        request: Request,
        asked: RollbackAsked | None = None,
        idempotency_key: Key = None,
    ) -> ChampionNow:
        """Return to the champion before the present one. Needs a key of an owner.

        Twice goes back two champions: give an Idempotency-Key where an answer may get lost.
        """
        given = asked or RollbackAsked()
        work = partial(_rollback, pool, machine_class, given, holder(request, "owner").name)
        return once(pool, request, idempotency_key, asked, work=work, shape=ChampionNow)


def _promote(pool: Pool, machine_class: str, asked: PromotionAsked, actor: str) -> ChampionNow:
    with pool.session() as on:
        models.promote(on, machine_class, asked.version, actor=actor, reason=asked.reason)
    return ChampionNow(machine_class=machine_class, version=asked.version)


def _rollback(pool: Pool, machine_class: str, asked: RollbackAsked, actor: str) -> ChampionNow:
    with pool.session() as on:
        version = models.rollback(on, machine_class, actor=actor, reason=asked.reason)
    return ChampionNow(machine_class=machine_class, version=version)


def _judge(on: Connection, name: str, at: datetime) -> Judge:
    machine = roster_store.load(on).machines.get(name)
    if machine is None:
        raise no_machine(name)
    recorded = anomalies.recorded_version(on, name, at)
    event = models.champion_at(on, machine.machine_class, at)
    if recorded is None and event is None:
        raise NotFoundError(
            "model of that time", name, f"{machine.machine_class} had no champion at {at}"
        )
    version = recorded if recorded is not None else event.version if event else 0
    return Judge(
        machine_id=name,
        machine_class=machine.machine_class,
        at=at,
        version=version,
        source="history" if recorded is None else "verdict",
        champion_since=event.at if event and event.version == version else None,
    )


def _require(on: Connection, machine_class: str) -> None:
    if machine_class not in roster_store.load(on).classes:
        raise NotFoundError("machine class", machine_class, "GET /api/v1/models lists them")
