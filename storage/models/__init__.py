"""Model versions, what happened to them, and which one is in use."""

from storage.models.events import EventKind, ModelEvent, champion_at, history, newest_event
from storage.models.listing import ModelRow, listed
from storage.models.stored import StoredModel, Trained, add_version, get, latest, latest_version
from storage.models.succession import (
    challengers,
    champion,
    champion_line,
    champions,
    lineage,
    promote,
    refuse,
    rollback,
    versions,
)

__all__ = [
    "EventKind",
    "ModelEvent",
    "ModelRow",
    "StoredModel",
    "Trained",
    "add_version",
    "challengers",
    "champion",
    "champion_at",
    "champion_line",
    "champions",
    "get",
    "history",
    "latest",
    "latest_version",
    "lineage",
    "listed",
    "newest_event",
    "promote",
    "refuse",
    "rollback",
    "versions",
]
