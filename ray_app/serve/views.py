"""What the API shows, and how it is made from what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.conditions import Condition
from domain.health import Evidence, Health, health_of
from domain.risk.outlook import Failure
from storage.anomalies import AnomalyRow
from storage.fleet import MachineRow
from storage.incidents import IncidentRow
from storage.models import ModelRow
from storage.movements import MovementRow
from storage.sweep_history import SweepRow


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIncident:
    """A live incident as a machine shows it."""

    id: int
    kind: str
    state: str
    began: datetime
    root_sensor: str
    peak_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorCondition:
    """What is wrong with a sensor now; an empty `sensor` means the machine as a whole.

    `condition` is stuck, dropout, out_of_range, unit_jump, gap, silent or clock_skew. Times are
    those of readings; for silent and clock_skew those of their arrival.
    """

    sensor: str
    condition: Condition
    since: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """A machine and what is known of it.

    `silent_s` counts since a reading of it last arrived, while it is silent; it is null while the
    machine speaks, and before anybody listened. `conditions` are apart from `incidents`.
    """

    id: str
    machine_class: str
    health: Health
    score: float | None
    threshold: float
    scored_at: datetime | None
    last_reading: datetime | None
    silent_s: float | None
    model_version: int | None
    root_sensor: str | None
    incidents: list[LiveIncident]
    conditions: list[SensorCondition]
    data_quality: dict[str, Any]
    failure: Failure
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Page[T]:
    """One page; `next_cursor` asks for the following one and is null on the last."""

    items: Sequence[T]
    next_cursor: str | None


# FastAPI names a generic's instances by itself, unreadably; these are what a client generates from.
@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePage(Page[MachineView]):
    """Machines by name."""

    items: Sequence[MachineView]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentPage(Page[IncidentRow]):
    """Incidents, newest first."""

    items: Sequence[IncidentRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyPage(Page[AnomalyRow]):
    """Anomalous readings, newest first."""

    items: Sequence[AnomalyRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementPage(Page[MovementRow]):
    """A machine's movements, newest first."""

    items: Sequence[MovementRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage(Page[ModelRow]):
    """Model versions by class, newest first."""

    items: Sequence[ModelRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPage(Page[SweepRow]):
    """Sweeps, newest first."""

    items: Sequence[SweepRow]


def machine_view(row: MachineRow) -> MachineView:
    """Return a machine as the API and the console show it."""
    now = datetime.now(UTC)
    live = [
        LiveIncident(**(one | {"began": datetime.fromisoformat(one["began"])}))
        for one in row.incidents
    ]
    conditions = [_condition(one) for one in row.conditions]
    silent = next((one for one in conditions if one.condition is Condition.SILENT), None)
    root = next((one.root_sensor for one in live if one.kind == "machine"), None)
    root = root or next((one.root_sensor for one in live), None)
    root = root or next((one.sensor for one in conditions if one.sensor), None)
    health = health_of(
        Evidence(
            score=row.score,
            silent=silent is not None or (row.last_reading is None and row.scored_at is None),
            incident_kinds=frozenset(one.kind for one in live),
        )
    )
    return MachineView(
        id=row.name,
        machine_class=row.machine_class,
        health=health,
        score=row.score,
        threshold=1.0,
        scored_at=row.scored_at,
        last_reading=row.last_reading,
        silent_s=None if silent is None else max(0.0, (now - silent.since).total_seconds()),
        model_version=row.model_version,
        root_sensor=root,
        incidents=live,
        conditions=conditions,
        data_quality=row.quality,
        failure=row.failure or Failure(),
        registered_at=row.registered_at,
    )


def _condition(stored: Mapping[str, Any]) -> SensorCondition:
    return SensorCondition(
        sensor=stored["sensor"],
        condition=Condition(stored["condition"]),
        since=datetime.fromisoformat(stored["since"]),
        last_seen=datetime.fromisoformat(stored["last_seen"]),
    )
