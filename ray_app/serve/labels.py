"""Labels over HTTP: what truly failed, when and how; and the failure modes learnt from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domain.risk.outlook import TypicalSensor
from ray_app.serve import pages
from ray_app.serve.idempotency import Key, marked, once_in
from ray_app.serve.params import TEXT, Cursor, Limit, Number, ZonedMoment
from ray_app.serve.views import Page
from storage import failures, risk_models
from storage.connect import Connection
from storage.failures import Label
from storage.history import instant, microseconds
from storage.pool import Pool

_MAX_NAME = 128

type Name = Annotated[
    str, StringConstraints(min_length=1, max_length=_MAX_NAME, pattern=r"^[^\x00-\x1f]+$")
]


class LabelFacts(BaseModel):
    """What happened to a machine.

    `onset` is the first sign, `failed` when the machine no longer did its work (by default its
    onset), `ended` when it worked again. A kind that begins with `sensor_` is a fault of a sensor.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Name = Field(description="Failure mode; `failure` where nobody knows which")
    onset: ZonedMoment
    failed: ZonedMoment | None = None
    ended: ZonedMoment | None = None
    severity: float = Field(1.0, gt=0, le=1000, allow_inf_nan=False)
    sensors: list[Name] = Field([], max_length=1000)
    note: str = Field("", max_length=4000, pattern=TEXT)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ended is not None and self.ended < self.onset:
            raise ValueError("ended is before onset")
        if self.failed is not None and not self.onset <= self.failed <= (self.ended or self.failed):
            raise ValueError("failed is not between onset and ended")
        return self


class LabelGiven(LabelFacts):
    """A label to record."""

    machine_id: Name
    source: Literal["operator", "file"] = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelView:
    """A label; `source` is simulator, operator, file or feedback."""

    id: int
    machine_id: str
    kind: str
    source: str
    onset: datetime
    failed: datetime | None
    ended: datetime | None
    severity: float
    sensors: list[str]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPage(Page[LabelView]):
    """Labels by number."""

    items: Sequence[LabelView]


class _Answer(BaseModel):
    label: LabelView


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureModeView:
    """A way in which machines of a class fail; `named_by` is labels or sensors."""

    machine_class: str
    name: str
    named_by: str
    count: int
    sensors: list[TypicalSensor]
    lead_time_s: float
    risk_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureModePage(Page[FailureModeView]):
    """Failure modes by class, the most frequent first."""

    items: Sequence[FailureModeView]


def label_routes(pool: Pool) -> APIRouter:
    """Return labels and failure modes."""
    router = APIRouter(tags=["labels"])
    _reading(router, pool)
    _writing(router, pool)
    return router


def _reading(router: APIRouter, pool: Pool) -> None:
    """Add what only looks."""

    @router.get("/labels")
    def list_labels(
        machine_id: Annotated[str | None, Query(max_length=_MAX_NAME)] = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> LabelPage:
        """List labels by number."""
        after = pages.decode(cursor, tuple[int])[0] if cursor else 0
        machines = None if machine_id is None else [machine_id.replace("\0", "")]
        with pool.session() as on:
            found = failures.listed(on, machines=machines, after=after, limit=limit + 1)
        seen = [view(one) for one in found]
        items, following = pages.cut(seen, limit, lambda last: [last.id])
        return LabelPage(items=items, next_cursor=following)

    @router.get("/failure-modes")
    def list_failure_modes(
        machine_class: Annotated[str | None, Query(max_length=_MAX_NAME)] = None,
    ) -> FailureModePage:
        """List the failure modes that were learnt from labels."""
        wanted = None if machine_class is None else machine_class.replace("\0", "")
        with pool.session() as on:
            found = risk_models.current(on, wanted)
        items = [_mode(one.machine_class, one.version, mode) for one in found for mode in one.modes]
        return FailureModePage(items=items, next_cursor=None)


def _writing(router: APIRouter, pool: Pool) -> None:
    """Add what people say of failures."""

    @router.post("/labels", status_code=201)
    def create_label(given: LabelGiven, request: Request, idempotency_key: Key = None) -> LabelView:
        """Record a failure; the same machine, source, kind and onset is the same label.

        Risk is learnt anew from it within minutes. Needs a key of an operator.
        """

        def work(on: Connection) -> str:
            made = failures.record(on, _label(given, given.machine_id, given.source))
            return _Answer(label=view(made)).model_dump_json()

        asked = marked(request, idempotency_key, given.model_dump_json())
        return _Answer.model_validate_json(once_in(pool, asked, work)).label

    @router.put("/labels/{label_id}")
    def correct_label(label_id: Number, given: LabelFacts) -> LabelView:
        """Correct what a label says. Needs a key of an operator."""
        with pool.session() as on:
            known = failures.get(on, label_id)
            label = _label(given, known.machine, known.source)
            return view(failures.correct(on, label_id, label))

    @router.delete("/labels/{label_id}", status_code=204)
    def delete_label(label_id: Number) -> Response:
        """Take a label back. Needs a key of an operator."""
        with pool.session() as on:
            failures.remove(on, label_id)
        return Response(status_code=204)


def view(label: Label) -> LabelView:
    """Return a label as the API shows it."""
    return LabelView(
        id=label.id,
        machine_id=label.machine,
        kind=label.kind,
        source=label.source,
        onset=instant(label.onset_us),
        failed=None if label.failed_us is None else instant(label.failed_us),
        ended=None if label.end_us is None else instant(label.end_us),
        severity=label.severity,
        sensors=list(label.sensors),
        note=label.note,
    )


def _label(given: LabelFacts, machine: str, source: str) -> Label:
    return Label(
        machine=machine,
        kind=given.kind,
        source=source,
        onset_us=microseconds(given.onset),
        end_us=None if given.ended is None else microseconds(given.ended),
        failed_us=None if given.failed is None else microseconds(given.failed),
        severity=given.severity,
        sensors=tuple(given.sensors),
        note=given.note,
    )


def _mode(machine_class: str, version: int, mode: Any) -> FailureModeView:
    return FailureModeView(
        machine_class=machine_class,
        name=mode["name"],
        named_by=mode["named_by"],
        count=mode["count"],
        sensors=[TypicalSensor(**each) for each in mode["sensors"]],
        lead_time_s=mode["lead_time_s"],
        risk_version=version,
    )
