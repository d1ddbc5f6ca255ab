"""The resources of `/api/v1`."""

from datetime import UTC, datetime

from fastapi import APIRouter

from domain.errors import NotFoundError
from ray_app.serve import pages, views
from ray_app.serve.params import Cursor, Limit, MachineId
from storage import fleet, movements
from storage.pool import Pool


def fleet_routes(pool: Pool) -> APIRouter:
    """Return machines."""
    router = APIRouter()

    @router.get("/machines", tags=["fleet"])
    def list_machines(limit: Limit = 100, cursor: Cursor = "") -> views.MachinePage:
        """List machines by name, each with its health."""
        after = pages.decode(cursor, tuple[str])[0] if cursor else ""
        with pool.session() as on:
            found = fleet.machines(on, after=after, limit=limit + 1)
        seen = [views.machine_view(row) for row in found]
        items, following = pages.cut(seen, limit, lambda last: [last.id])
        return views.MachinePage(items=items, next_cursor=following)

    @router.get("/machines/{machine_id}", tags=["fleet"])
    def get_machine(machine_id: MachineId) -> views.MachineView:
        """Show one machine."""
        with pool.session() as on:
            found = fleet.machines(on, name=machine_id, limit=1)
        if not found:
            raise no_machine(machine_id)
        return views.machine_view(found[0])

    @router.get("/machines/{machine_id}/movements", tags=["fleet"])
    def list_movements(
        machine_id: MachineId, limit: Limit = 100, cursor: Cursor = ""
    ) -> views.MovementPage:
        """List when a machine moved, newest first: from where to where, mostly which sensor."""
        before = pages.decode(cursor, tuple[datetime])[0] if cursor else None
        with pool.session() as on:
            found = movements.listed(on, machine_id, before=utc(before), limit=limit + 1)
            if not found and not fleet.machines(on, name=machine_id, limit=1):
                raise no_machine(machine_id)
        items, following = pages.cut(found, limit, lambda last: [last.began])
        return views.MovementPage(items=items, next_cursor=following)

    return router


def no_machine(name: str) -> NotFoundError:
    """Return the error for a machine that is not registered."""
    return NotFoundError("machine", name[:128], "GET /api/v1/machines lists them")


def utc(moment: datetime | None) -> datetime | None:
    """Return a time in UTC; one that names no zone is taken to be."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
