"""Quarantine over HTTP: what could not be read, byte for byte, and another try at it."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.records import shallow
from domain.wire import RejectReason
from ray_app.serve import pages
from ray_app.serve.idempotency import Key, once
from ray_app.serve.params import Cursor, Limit, Number
from ray_app.serve.views import Page
from storage import quarantine
from storage.pool import Pool
from storage.redrive import redrive

_SHOWN = 4000
"""Characters of a value that are shown as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineView:
    """A message that is no reading; its raw bytes as text, undecodable ones replaced."""

    id: int
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: str | None
    value: str | None
    quarantined_at: datetime
    redriven_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinePage(Page[QuarantineView]):
    """Messages in quarantine, newest first."""

    items: Sequence[QuarantineView]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderView:
    """A header of a message; null where it has no value."""

    name: str
    value_base64: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedMessage(QuarantineView):
    """A message with its raw bytes; `value_bytes` is its length, and null means none at all."""

    place: str
    key_base64: str | None
    value_base64: str | None
    value_bytes: int | None
    headers: list[HeaderView]


class Filter(BaseModel):
    """Which waiting messages; without a reason all of them."""

    model_config = ConfigDict(extra="forbid")

    reason: RejectReason | None = None


class RedriveAsked(BaseModel):
    """Which messages to try again, oldest first: by `ids`, or by a `filter`."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Number] | None = Field(None, min_length=1, max_length=10_000)
    filter: Filter | None = None
    limit: int = Field(1000, ge=1, le=10_000, description="At most this many messages at once")
    after_id: int = Field(0, ge=0, le=2**63 - 1, description="`next_after_id` of the call before")

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give either ids or a filter; an empty filter is all that wait")
        return self


class RedriveDone(BaseModel):
    """What became of them: readings that are new, that were there already; messages refused anew.

    `next_after_id` goes on behind the last message that was tried, and is null when all were.
    """

    stored: int
    duplicates: int
    refused: int
    next_after_id: int | None


def quarantine_routes(pool: Pool) -> APIRouter:
    """Return what could not be read."""
    router = APIRouter(tags=["quarantine"])

    @router.get("/quarantine")
    def list_quarantine(
        reason: RejectReason | None = None, limit: Limit = 100, cursor: Cursor = ""
    ) -> QuarantinePage:
        """List messages that are no readings and were not re-driven, newest first."""
        before = pages.decode(cursor, tuple[int])[0] if cursor else None
        with pool.session() as on:
            found = quarantine.listed(on, reason=reason, before_id=before, limit=limit + 1)
        seen = [_view(one) for one in found]
        items, after = pages.cut(seen, limit, lambda last: [last.id])
        return QuarantinePage(items=items, next_cursor=after)

    @router.get("/quarantine/{message_id:int}")
    def get_quarantined(message_id: Number) -> QuarantinedMessage:
        """Show one message with its raw bytes and where they came from."""
        with pool.session() as on:
            return _message(quarantine.show(on, message_id))

    @router.post("/quarantine/redrive")
    def redrive_quarantine(
        asked: RedriveAsked, request: Request, idempotency_key: Key = None
    ) -> RedriveDone:
        """Try messages again, after the sensor, the class or the mapping was mended.

        A reading arrives once however often this is asked. Needs a key of an operator.
        """
        return once(
            pool,
            request,
            idempotency_key,
            asked,
            work=lambda: _redriven(pool, asked),
            shape=RedriveDone,
        )

    return router


def _redriven(pool: Pool, asked: RedriveAsked) -> RedriveDone:
    done = redrive(
        pool.settings(),
        asked.ids,
        now_us=time.time_ns() // 1000,
        reason=asked.filter.reason if asked.filter else None,
        after_id=asked.after_id,
        most=asked.limit,
    )
    return RedriveDone(
        stored=done.stored,
        duplicates=done.duplicates,
        refused=done.refused,
        next_after_id=done.last_id,
    )


def _view(one: quarantine.Quarantined) -> QuarantineView:
    entry = one.entry
    return QuarantineView(
        id=one.id,
        topic=entry.topic,
        partition=entry.partition,
        offset=entry.offset,
        reason=entry.reason,
        detail=entry.detail,
        key=_text(entry.key),
        value=_text(entry.value),
        quarantined_at=one.quarantined_at,
        redriven_at=one.redriven_at,
    )


def _message(one: quarantine.Quarantined) -> QuarantinedMessage:
    return QuarantinedMessage(
        **shallow(_view(one)),
        place=one.place,
        key_base64=_base64(one.entry.key),
        value_base64=_base64(one.entry.value),
        value_bytes=None if one.entry.value is None else len(one.entry.value),
        headers=[
            HeaderView(name=name, value_base64=_base64(value)) for name, value in one.entry.headers
        ],
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw[:_SHOWN].decode(errors="replace")


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()
