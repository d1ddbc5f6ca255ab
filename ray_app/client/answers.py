"""What the API answers, as types; fields that a newer server adds are ignored.

Names are those of the OpenAPI's schemas, where each field is described; a test holds them together.
"""

from datetime import datetime
from typing import Any

import msgspec


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor's part in a score."""

    sensor: str
    share: float
    expected: float | None
    observed: float | None


class ModelUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What scored it."""

    name: str
    version: int


class SensorFaultSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor that was left out of the score."""

    sensor: str
    kind: str


class DataQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How sure a score is."""

    ready: bool
    rows: int
    context_rows: int
    missing: list[str]
    faults: list[SensorFaultSeen]
    note: str = ""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a window. `failure` is a mapping, for its fields depend on its `status`."""

    machine_id: str | None
    machine_class: str
    timestamp: datetime
    score: float
    threshold: float
    is_anomaly: bool
    contributions: list[Contribution]
    failure: dict[str, Any]
    model: ModelUsed
    data_quality: DataQuality
    scores: list[float]


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict per request, in order."""

    results: list[Prediction]


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    """A machine and what is known of it."""

    id: str
    machine_class: str
    health: str
    score: float | None
    threshold: float
    scored_at: datetime | None
    last_reading: datetime | None
    silent_s: float | None
    model_version: int | None
    root_sensor: str | None
    incidents: list[dict[str, Any]]
    conditions: list[dict[str, Any]]
    registered_at: datetime


class MachinePage(msgspec.Struct, frozen=True, kw_only=True):
    """Machines by name."""

    items: list[MachineView]
    next_cursor: str | None


class ReadingView(msgspec.Struct, frozen=True, kw_only=True):
    """A stored reading, or what a step of a period sums up."""

    timestamp: datetime
    values: dict[str, float]
    low: dict[str, float] | None = None
    high: dict[str, float] | None = None


class ReadingPage(msgspec.Struct, frozen=True, kw_only=True):
    """Stored readings, newest first."""

    items: list[ReadingView]
    step_s: int
    next_cursor: str | None


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor's part in a movement; levels are in its unit."""

    sensor: str
    share: float
    before: float | None
    after: float | None


class MovementRow(msgspec.Struct, frozen=True, kw_only=True):
    """When a machine moved, and what moved most."""

    machine: str
    began: datetime
    settled: datetime | None
    sensor: str
    peak_score: float
    sensors: list[Moved]
    model_version: int


class MovementPage(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's movements, newest first."""

    items: list[MovementRow]
    next_cursor: str | None


class TypicalSensor(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor that shows a failure mode."""

    sensor: str
    direction: str
    departure: float


class IncidentMode(msgspec.Struct, frozen=True, kw_only=True):
    """The failure mode that an incident was most like; `unknown` with the reason."""

    mode: str
    distance: float | None = None
    confidence: float = 0.0
    lead_time_s: float | None = None
    reason: str = ""
    sensors: list[TypicalSensor] = []
    as_of: str | None = None
    risk_version: int | None = None


class SensorDid(msgspec.Struct, frozen=True, kw_only=True):
    """What a sensor did in an incident of its own."""

    sensor: str
    condition: str
    since: datetime
    value: float | None
    words: str


class IncidentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An incident."""

    id: int
    machine: str
    kind: str
    state: str
    began: datetime
    opened: datetime
    last_seen: datetime
    closed: datetime | None
    peak_score: float
    anomalies: int
    root_sensor: str
    model_version: int
    acknowledged_by: str | None
    feedback: str | None
    note: str
    peaked: datetime | None
    failure_mode: IncidentMode
    faults: list[SensorDid]


class IncidentPage(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents, newest first."""

    items: list[IncidentRow]
    next_cursor: str | None


class MaintenanceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A window of maintenance, or the word that a machine was repaired."""

    id: int
    machine: str | None
    machine_class: str | None
    starts: datetime
    ends: datetime | None
    learn_anew: bool
    active: bool
    note: str
    created_by: str
    created_at: datetime


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model version."""

    machine_class: str
    version: int
    champion: bool
    run_id: str
    sha256: str
    package_bytes: int
    metrics: dict[str, Any]
    params: dict[str, Any]
    trained_at: datetime
    promoted_at: datetime | None
    promoted_by: str | None
    reason: str | None


class ModelPage(msgspec.Struct, frozen=True, kw_only=True):
    """Model versions by class, newest first."""

    items: list[ModelRow]
    next_cursor: str | None


class ModelEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a version."""

    id: int
    machine_class: str
    version: int
    event: str
    actor: str
    reason: str
    at: datetime


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to models, newest first."""

    items: list[ModelEvent]
    next_cursor: str | None


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """What scored a machine at an instant."""

    machine_id: str
    machine_class: str
    at: datetime
    version: int
    source: str
    champion_since: datetime | None


class ChampionNow(msgspec.Struct, frozen=True, kw_only=True):
    """The champion after a change."""

    machine_class: str
    version: int


class SweepTaken(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep that waits for its turn."""

    id: str
    machine_class: str
    state: str


class SweepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep."""

    id: str
    machine_class: str
    state: str
    trials: int
    run_id: str | None
    version: int | None
    outcome: str
    started_at: datetime
    ended_at: datetime | None
    asked_by: str | None


class SweepPage(msgspec.Struct, frozen=True, kw_only=True):
    """Sweeps, newest first."""

    items: list[SweepRow]
    next_cursor: str | None
