"""The word that a machine was repaired, and its withdrawal, over HTTP."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ray_app.serve.idempotency import Key, marked, row_once
from ray_app.serve.params import HOLDER, TEXT, MachineId, Moment, Number
from ray_app.serve.routes import utc
from storage import maintenance
from storage.connect import Connection
from storage.maintenance import MaintenanceRow
from storage.pool import Pool

MAINTENANCE = TypeAdapter(MaintenanceRow)


class Repaired(BaseModel):
    """Since when a machine is repaired; now without `at`."""

    model_config = ConfigDict(extra="forbid")

    at: Moment | None = None
    note: str = Field("", max_length=4000, pattern=TEXT)


def repair_routes(router: APIRouter, pool: Pool) -> None:
    """Add the word that a machine was repaired, and its withdrawal."""

    @router.post("/machines/{machine_id}/repaired", tags=["maintenance"])
    def machine_repaired(
        machine_id: MachineId, asked: Repaired, request: Request, idempotency_key: Key = None
    ) -> MaintenanceRow:
        """Say that a machine was repaired: its healthy level is learnt anew from then on.

        Needs a key of an operator.
        """
        who = request.scope[HOLDER].name
        once = marked(request, idempotency_key, asked.model_dump_json())

        def work(on: Connection) -> MaintenanceRow:
            return maintenance.repaired(
                on, machine=machine_id, at=utc(asked.at), note=asked.note, who=who
            )

        return row_once(pool, once, MAINTENANCE, work)

    @router.post("/maintenance/{window_id}/keep-level", tags=["maintenance"])
    def keep_level(
        window_id: Number, request: Request, idempotency_key: Key = None
    ) -> MaintenanceRow:
        """Take back that a level is learnt anew. Needs a key of an operator."""
        once = marked(request, idempotency_key, "")
        return row_once(pool, once, MAINTENANCE, lambda on: maintenance.keep_level(on, window_id))
