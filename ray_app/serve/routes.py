"""The resources of `/api/v1`."""

from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from domain.errors import NotFoundError
from ray_app.serve import pages, views
from storage import fleet, history, incidents, quarantine, roster_store
from storage.incidents import Feedback, IncidentRow
from storage.pool import Pool

type Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many items")]
type Cursor = Annotated[str, Query(max_length=1000, description="`next_cursor` of the page before")]
type Number = Annotated[int, Field(ge=1, le=2**63 - 1)]

HOLDER = "millwright.holder"
"""Where the middleware leaves the holder of the key that was presented."""


class Note(BaseModel):
    """What a person says when closing an incident."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=4000)


class FeedbackGiven(Note):
    """What a person found: a true alarm, a false one, or maintenance."""

    feedback: Feedback


def fleet_routes(pool: Pool) -> APIRouter:
    """Return machines, readings, models and sweeps."""
    router = APIRouter()

    @router.get("/machines", tags=["fleet"])
    def list_machines(limit: Limit = 100, cursor: Cursor = "") -> views.MachinePage:
        """List machines by name, each with its health."""
        after = pages.decode(cursor, tuple[str])[0] if cursor else ""
        with pool.session() as on:
            found = fleet.machines(on, after=after, limit=limit + 1)
        items = [views.machine_view(row) for row in found[:limit]]
        more = len(found) > limit
        return views.MachinePage(
            items=items, next_cursor=pages.encode([items[-1].id]) if more else None
        )

    @router.get("/machines/{machine_id}", tags=["fleet"])
    def get_machine(machine_id: str) -> views.MachineView:
        """Show one machine."""
        with pool.session() as on:
            found = fleet.machines(on, name=machine_id, limit=1)
        if not found:
            raise _no_machine(machine_id)
        return views.machine_view(found[0])

    @router.get("/machines/{machine_id}/readings", tags=["fleet"])
    def list_readings(
        machine_id: str, limit: Limit = 100, cursor: Cursor = ""
    ) -> views.ReadingPage:
        """List a machine's stored readings, newest first."""
        end_us = pages.decode(cursor, tuple[int])[0] if cursor else 2**62
        with pool.session() as on:
            roster = roster_store.load(on)
            machine = roster.machines.get(machine_id)
            if machine is None:
                raise _no_machine(machine_id)
            found = history.read_history(on, [machine_id], 0, end_us, last=limit + 1)[0]
        names = roster.class_of(machine).sensor_names
        rows = range(len(found) - 1, max(len(found) - 1 - limit, -1), -1)
        items = [
            views.ReadingView(
                timestamp=history.instant(int(found.instants_us[row])),
                values=_values(names, found.values[row]),
            )
            for row in rows
        ]
        more = len(found) > limit
        last = history.microseconds(items[-1].timestamp) if items else 0
        return views.ReadingPage(items=items, next_cursor=pages.encode([last]) if more else None)

    @router.get("/models", tags=["models"])
    def list_models(*, champions: bool = False) -> views.ModelPage:
        """List model versions with their label-free figures; `champion` marks those in use."""
        with pool.session() as on:
            found = fleet.models(on, champions_only=champions)
        return views.ModelPage(items=found, next_cursor=None)

    @router.get("/sweeps", tags=["models"])
    def list_sweeps(limit: Limit = 50) -> views.SweepPage:
        """List sweeps, newest first."""
        with pool.session() as on:
            return views.SweepPage(items=fleet.sweeps(on, limit=limit), next_cursor=None)

    return router


def incident_routes(pool: Pool) -> APIRouter:
    """Return incidents with what may be done about them, and anomalies."""
    router = APIRouter(tags=["incidents"])

    @router.get("/incidents")
    def list_incidents(
        machine_id: str | None = None,
        *,
        live: bool | None = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> views.IncidentPage:
        """List incidents, newest first; `live=true` leaves out closed ones."""
        before = pages.decode(cursor, tuple[int])[0] if cursor else None
        with pool.session() as on:
            found = incidents.incidents(
                on, machine=machine_id, live=live, before=before, limit=limit + 1
            )
        items, more = found[:limit], len(found) > limit
        return views.IncidentPage(
            items=items, next_cursor=pages.encode([items[-1].id]) if more else None
        )

    @router.get("/incidents/{incident_id}")
    def get_incident(incident_id: Number) -> IncidentRow:
        """Show one incident with its evidence."""
        with pool.session() as on:
            return incidents.incident(on, incident_id)

    @router.post("/incidents/{incident_id}/acknowledge")
    def acknowledge_incident(incident_id: Number, request: Request) -> IncidentRow:
        """Say that you look at it. Needs a key of an operator."""
        with pool.session() as on:
            return incidents.acknowledge(on, incident_id, request.scope[HOLDER].name)

    @router.post("/incidents/{incident_id}/close")
    def close_incident(incident_id: Number, given: Note, request: Request) -> IncidentRow:
        """End it. Needs a key of an operator."""
        with pool.session() as on:
            return incidents.close(on, incident_id, request.scope[HOLDER].name, given.note)

    @router.post("/incidents/{incident_id}/feedback")
    def give_feedback(incident_id: Number, given: FeedbackGiven) -> IncidentRow:
        """Say what you found. Needs a key of an operator."""
        with pool.session() as on:
            return incidents.give_feedback(on, incident_id, given.feedback, given.note)

    @router.get("/anomalies")
    def list_anomalies(
        machine_id: str | None = None,
        since: datetime | None = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> views.AnomalyPage:
        """List anomalous readings, newest first."""
        before = pages.decode(cursor, tuple[datetime, str, int]) if cursor else None
        with pool.session() as on:
            found = incidents.anomalies(
                on, machine=machine_id, since=_utc(since), before=before, limit=limit + 1
            )
        items, more = found[:limit], len(found) > limit
        last = items[-1] if items else None
        place = [last.instant, last.machine, last.model_version] if last and more else None
        return views.AnomalyPage(items=items, next_cursor=pages.encode(place) if place else None)

    return router


def quarantine_routes(pool: Pool) -> APIRouter:
    """Return what could not be read."""
    router = APIRouter(tags=["quarantine"])

    @router.get("/quarantine")
    def list_quarantine(
        reason: str | None = None, limit: Limit = 100, cursor: Cursor = ""
    ) -> views.QuarantinePage:
        """List messages that are no readings and were not re-driven, newest first."""
        before = pages.decode(cursor, tuple[int])[0] if cursor else None
        with pool.session() as on:
            found = quarantine.listed(on, reason=reason, before_id=before, limit=limit + 1)
        items, more = [_quarantined(one) for one in found[:limit]], len(found) > limit
        return views.QuarantinePage(
            items=items, next_cursor=pages.encode([items[-1].id]) if more else None
        )

    return router


def _no_machine(name: str) -> NotFoundError:
    return NotFoundError("machine", name[:128], "GET /api/v1/machines lists them")


def _values(names: tuple[str, ...], row: np.ndarray[Any, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in zip(names, row.tolist(), strict=False)
        if value == value  # noqa: PLR0124 - NaN is missing
    }


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _quarantined(one: quarantine.Quarantined) -> views.QuarantineView:
    entry = one.entry
    return views.QuarantineView(
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


def _text(raw: bytes | None, most: int = 4000) -> str | None:
    return None if raw is None else raw[:most].decode(errors="replace")
