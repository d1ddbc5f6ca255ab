"""Incidents over HTTP, what may be done about them, and anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from domain.limits import Feedback
from domain.records import shallow
from ray_app.serve import pages, views
from ray_app.serve.params import HOLDER, TEXT, Cursor, Limit, Moment, Number, OfMachine
from ray_app.serve.routes import utc
from storage import anomalies, feedback, incidents
from storage.feedback import FeedbackDone
from storage.incidents import IncidentRow, Similar
from storage.pool import Pool


class Note(BaseModel):
    """What a person says when closing an incident."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=4000, pattern=TEXT)


class FeedbackGiven(Note):
    """What a person found: a true alarm, a false one, or maintenance."""

    feedback: Feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarIncidents:
    """Past incidents that look like one, the likest first."""

    items: Sequence[Similar]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMoved:
    """A factor on one sensor's part in this machine's scores; below 1 it is less sensitive."""

    sensor: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackView(IncidentRow):
    """An incident after feedback, and the limits of its machine before and after it."""

    limits: Sequence[LimitMoved]


def incident_routes(pool: Pool) -> APIRouter:
    """Return incidents with what may be done about them, and anomalies."""
    router = APIRouter(tags=["incidents"])
    _reading(router, pool)
    _acting(router, pool)
    _of_anomalies(router, pool)
    return router


def _reading(router: APIRouter, pool: Pool) -> None:
    """Add what only looks."""

    @router.get("/incidents")
    def list_incidents(
        machine_id: OfMachine = None,
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
        items, after = pages.cut(found, limit, lambda last: [last.id])
        return views.IncidentPage(items=items, next_cursor=after)

    @router.get("/incidents/{incident_id}")
    def get_incident(incident_id: Number) -> IncidentRow:
        """Show one incident with its evidence."""
        with pool.session() as on:
            return incidents.incident(on, incident_id)

    @router.get("/incidents/{incident_id}/similar")
    def similar_incidents(incident_id: Number) -> SimilarIncidents:
        """List past incidents of the class that look like this one, and what was found then."""
        with pool.session() as on:
            return SimilarIncidents(items=incidents.similar(on, incident_id))


def _acting(router: APIRouter, pool: Pool) -> None:
    """Add what a person does about one."""

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
    def give_feedback(incident_id: Number, given: FeedbackGiven, request: Request) -> FeedbackView:
        """Say what you found; the machine's limits follow at once. Needs a key of an operator."""
        with pool.session() as on:
            done = feedback.give(
                on,
                incident_id,
                given.feedback,
                who=request.scope[HOLDER].name,
                note=given.note,
            )
        return _view(done)


def _of_anomalies(router: APIRouter, pool: Pool) -> None:
    """Add single readings."""

    @router.get("/anomalies")
    def list_anomalies(
        machine_id: OfMachine = None,
        since: Moment | None = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> views.AnomalyPage:
        """List anomalous readings, newest first."""
        before = pages.decode(cursor, tuple[datetime, str, int]) if cursor else None
        with pool.session() as on:
            found = anomalies.listed(
                on, machine=machine_id, since=utc(since), before=before, limit=limit + 1
            )
        items, after = pages.cut(
            found, limit, lambda last: [last.instant, last.machine, last.model_version]
        )
        return views.AnomalyPage(items=items, next_cursor=after)


def _view(done: FeedbackDone) -> FeedbackView:
    return FeedbackView(
        **shallow(done.incident),
        limits=[
            LimitMoved(
                sensor=name, before=done.before.get(name, 1.0), after=done.after.get(name, 1.0)
            )
            for name in sorted(done.before.keys() | done.after.keys())
        ],
    )
