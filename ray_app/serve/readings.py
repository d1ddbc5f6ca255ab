"""Stored readings of a machine over HTTP: one by one, or a period in so many points."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query

from ray_app.serve import pages
from ray_app.serve.params import Cursor, Limit, MachineId, Moment
from ray_app.serve.problems import FieldProblem, RefusedError
from ray_app.serve.routes import no_machine, utc
from ray_app.serve.views import Page
from storage import history, roster_store, trends
from storage.connect import Connection
from storage.history import Trend
from storage.pool import Pool

MOST_POINTS = 10_000

type From = Annotated[
    Moment | None, Query(alias="from", description="First instant, RFC 3339; UTC without a zone")
]
type To = Annotated[Moment | None, Query(alias="to", description="First instant after the period")]
type Points = Annotated[
    int | None,
    Query(
        ge=2,
        le=MOST_POINTS,
        description="The whole period, needs `from`, in at most so many items: readings where it "
        "holds so few, else minutes or longer steps with mean, lowest and highest value",
    ),
]

_END_US = 253_402_300_799_000_000
"""The end of the year 9999."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingView:
    """A stored reading, or what a step of the period sums up.

    A missing sensor is left out of `values`, which are means where `step_s` is more than 0; `low`
    and `high` are null where it is 0.
    """

    timestamp: datetime
    values: Mapping[str, float]
    low: Mapping[str, float] | None = None
    high: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPage(Page[ReadingView]):
    """Stored readings, newest first; `step_s` is what an item sums up, 0 for single readings."""

    items: Sequence[ReadingView]
    step_s: int


def reading_routes(pool: Pool) -> APIRouter:
    """Return a machine's stored readings."""
    router = APIRouter()

    @router.get("/machines/{machine_id}/readings", tags=["fleet"])
    def list_readings(  # noqa: PLR0913 - the parameters of the address
        machine_id: MachineId,
        *,
        from_: From = None,
        to: To = None,
        points: Points = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> ReadingPage:
        """List a machine's stored readings, newest first, or a period in at most `points`."""
        start_us, end_us = _period(from_, to)
        with pool.session() as on:
            names = _sensors(on, machine_id)
            if points is None:
                before_us = pages.decode(cursor, tuple[int])[0] if cursor else end_us
                period = (start_us, min(end_us, before_us))
                return _page(on, machine_id, names, period, limit)
            if from_ is None:
                raise _refused("points", "needs `from`")
            now_us = time.time_ns() // 1000
            end_us = end_us if to else max(start_us + 1, now_us)
            return _whole(trends.read(on, machine_id, start_us, end_us, points=points), names)

    return router


def _sensors(on: Connection, machine_id: str) -> tuple[str, ...]:
    roster = roster_store.load(on)
    machine = roster.machines.get(machine_id)
    if machine is None:
        raise no_machine(machine_id)
    return roster.class_of(machine).sensor_names


def _period(from_: datetime | None, to: datetime | None) -> tuple[int, int]:
    start, end = utc(from_), utc(to)
    if start and end and end <= start:
        raise _refused("to", "is not after `from`")
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (
        history.microseconds(max(start, epoch)) if start else 0,
        history.microseconds(max(end, epoch)) if end else _END_US,
    )


def _page(
    on: Connection, machine_id: str, names: tuple[str, ...], period: tuple[int, int], limit: int
) -> ReadingPage:
    found = history.read_history(on, [machine_id], *period, last=limit + 1)[0]
    rows = range(len(found) - 1, max(len(found) - 1 - limit, -1), -1)
    items = [
        ReadingView(
            timestamp=history.instant(int(found.instants_us[row])),
            values=_values(names, found.values[row]),
        )
        for row in rows
    ]
    more = len(found) > limit
    last = history.microseconds(items[-1].timestamp) if items else 0
    return ReadingPage(items=items, next_cursor=pages.encode([last]) if more else None, step_s=0)


def _whole(found: Trend, names: tuple[str, ...]) -> ReadingPage:
    items = [
        ReadingView(
            timestamp=history.instant(int(found.instants_us[row])),
            values=_values(names, found.mean[row]),
            low=_values(names, found.low[row]) if found.step_s else None,
            high=_values(names, found.high[row]) if found.step_s else None,
        )
        for row in range(len(found.instants_us) - 1, -1, -1)
    ]
    return ReadingPage(items=items, next_cursor=None, step_s=found.step_s)


def _values(names: tuple[str, ...], row: np.ndarray[Any, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in zip(names, row.tolist(), strict=False)
        if value == value  # noqa: PLR0124 - NaN is missing
    }


def _refused(field: str, what: str) -> RefusedError:
    problem = FieldProblem(detail=what, pointer=f"/{field}")
    return RefusedError(422, "Invalid request", f"{field} {what}", (problem,))
