"""Maintenance, webhooks and challengers in shadow over HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from domain.webhooks import Format
from ray_app.courier import send_now
from ray_app.serve import pages
from ray_app.serve.idempotency import Key, marked, row_once
from ray_app.serve.params import HOLDER, TEXT, Cursor, Limit, Moment, Number, holder
from ray_app.serve.repairs import MAINTENANCE, repair_routes
from ray_app.serve.routes import utc
from ray_app.serve.views import Page
from storage import maintenance, shadow, webhooks
from storage.connect import Connection
from storage.maintenance import MaintenanceRow
from storage.pool import Pool
from storage.shadow import ShadowRow
from storage.webhooks import WebhookRow

type Name = Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT)]

_MAINTENANCE = TypeAdapter(MaintenanceRow)
_WEBHOOK = TypeAdapter(WebhookRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenancePage(Page[MaintenanceRow]):
    """Windows of maintenance, newest first."""

    items: Sequence[MaintenanceRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPage(Page[WebhookRow]):
    """Webhooks, oldest first."""

    items: Sequence[WebhookRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPage(Page[ShadowRow]):
    """Challengers beside champions, by class and newest first."""

    items: Sequence[ShadowRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTested:
    """What became of a test message; `error` is empty when the receiver took it."""

    delivered: bool
    error: str


class MaintenanceAsked(BaseModel):
    """A window of one machine or of a class; without `ends` it lasts until it is ended."""

    model_config = ConfigDict(extra="forbid")

    machine_id: Name | None = None
    machine_class: Name | None = None
    starts: Moment | None = None
    ends: Moment | None = None
    learn_anew: bool = Field(
        default=False,
        description="The machine was repaired: its level is learnt anew from `ends` on, which "
        "must have come.",
    )
    note: str = Field("", max_length=4000, pattern=TEXT)


class MaintenanceEnd(BaseModel):
    """How a window ends."""

    model_config = ConfigDict(extra="forbid")

    learn_anew: bool = Field(
        default=False, description="The machine was repaired: its level is learnt anew from now on."
    )


class WebhookAsked(BaseModel):
    """Where incidents are told; the secret signs and is never shown again."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=2000, pattern=TEXT)
    format: Format = Format.JSON
    secret: SecretStr = SecretStr("")


def care_routes(pool: Pool) -> APIRouter:
    """Return maintenance, webhooks and shadow."""
    router = APIRouter()
    _maintenance_routes(router, pool)
    repair_routes(router, pool)
    _webhook_routes(router, pool)

    @router.get("/models/shadow", tags=["models"])
    def list_shadow() -> ShadowPage:
        """List what challengers made of the live stream beside their champions."""
        with pool.session() as on:
            return ShadowPage(items=shadow.listed(on), next_cursor=None)

    return router


def _maintenance_routes(router: APIRouter, pool: Pool) -> None:
    @router.get("/maintenance", tags=["maintenance"])
    def list_maintenance(
        *, active: bool | None = None, limit: Limit = 100, cursor: Cursor = ""
    ) -> MaintenancePage:
        """List windows, newest first; `active=true` leaves those that are on now."""
        before = pages.decode(cursor, tuple[int])[0] if cursor else None
        with pool.session() as on:
            found = maintenance.listed(on, active=active, before=before, limit=limit + 1)
        items, after = pages.cut(found, limit, lambda last: [last.id])
        return MaintenancePage(items=items, next_cursor=after)

    @router.post("/maintenance", tags=["maintenance"])
    def add_maintenance(
        asked: MaintenanceAsked, request: Request, idempotency_key: Key = None
    ) -> MaintenanceRow:
        """Enter a window: within it no incident opens and nothing is learnt.

        Needs a key of an operator.
        """
        who = request.scope[HOLDER].name
        once = marked(request, idempotency_key, asked.model_dump_json())

        def work(on: Connection) -> MaintenanceRow:
            return maintenance.add(
                on,
                machine=asked.machine_id,
                machine_class=asked.machine_class,
                starts=utc(asked.starts),
                ends=utc(asked.ends),
                learn_anew=asked.learn_anew,
                note=asked.note,
                who=who,
            )

        return row_once(pool, once, MAINTENANCE, work)

    @router.post("/maintenance/{window_id}/end", tags=["maintenance"])
    def end_maintenance(
        window_id: Number,
        request: Request,
        asked: MaintenanceEnd | None = None,
        idempotency_key: Key = None,
    ) -> MaintenanceRow:
        """End a window now. Needs a key of an operator."""
        anew = asked is not None and asked.learn_anew
        once = marked(request, idempotency_key, "learn anew" if anew else "")
        return row_once(
            pool, once, MAINTENANCE, lambda on: maintenance.end(on, window_id, learn_anew=anew)
        )


def _webhook_routes(router: APIRouter, pool: Pool) -> None:
    @router.get("/webhooks", tags=["webhooks"])
    def list_webhooks() -> WebhookPage:
        """List webhooks and how their deliveries fare; never their secrets."""
        with pool.session() as on:
            return WebhookPage(items=webhooks.every(on), next_cursor=None)

    @router.post("/webhooks", tags=["webhooks"])
    def add_webhook(
        asked: WebhookAsked, request: Request, idempotency_key: Key = None
    ) -> WebhookRow:
        """Register where incidents are told. Needs a key of an owner."""
        who, secret = holder(request, "owner").name, asked.secret.get_secret_value()
        # The secret is part of the request that a key stands for; only a hash of it is kept.
        body = asked.model_dump_json(exclude={"secret"})
        once = marked(request, idempotency_key, f"{body} {secret}")
        return row_once(
            pool,
            once,
            _WEBHOOK,
            lambda on: webhooks.add(on, asked.url, asked.format, secret, who=who),
        )

    @router.delete("/webhooks/{webhook_id}", tags=["webhooks"])
    def remove_webhook(webhook_id: Number, request: Request) -> WebhookRow:
        """Forget a webhook and what waits for it. Needs a key of an owner."""
        holder(request, "owner")
        with pool.session() as on:
            known = webhooks.show(on, webhook_id)
            webhooks.remove(on, webhook_id)
        return known

    @router.post("/webhooks/{webhook_id}/test", tags=["webhooks"])
    def test_webhook(webhook_id: Number, request: Request) -> WebhookTested:
        """Send a test message now and say what came of it. Needs a key of an owner."""
        holder(request, "owner")
        with pool.session() as on:
            sample = webhooks.sample(on, webhook_id)
        error = send_now(sample)
        return WebhookTested(delivered=not error, error=error)

    @router.post("/webhooks/{webhook_id}/retry", tags=["webhooks"])
    def retry_webhook(webhook_id: Number, request: Request) -> WebhookRow:
        """Let messages that were given up be tried again. Needs a key of an owner."""
        holder(request, "owner")
        with pool.session() as on:
            webhooks.revive(on, webhook_id)
            return webhooks.show(on, webhook_id)
