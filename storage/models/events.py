"""What happened to model versions; only ever appended.

Every past answer can so be given again: what was champion at a time, by whom it was promoted and
why. Who writes events of a class holds its row's lock, so that two promotions at once become one
after the other.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from domain.errors import NotFoundError
from storage.connect import Connection, rows

type EventKind = Literal["trained", "refused", "promoted", "rolled_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEvent:
    """One thing that happened to a version.

    Attributes:
        machine_class: Its class.
        version: Its number.
        event: trained, refused, promoted or rolled_back (to this version).
        actor: Who did it.
        reason: Why, in one sentence.
        at: When.
        id: Its number; later events have higher ones.
    """

    machine_class: str
    version: int
    event: EventKind
    actor: str
    reason: str
    at: datetime
    id: int


def newest_event(on: Connection) -> int:
    """Return the number of the newest event of any class; 0 before the first."""
    return int(rows(on, "SELECT coalesce(max(id), 0) FROM model_events")[0][0])


def history(
    on: Connection,
    machine_class: str | None = None,
    *,
    before: int | None = None,
    limit: int = 1000,
) -> list[ModelEvent]:
    """Return what happened, newest first.

    Args:
        on: A session.
        machine_class: Of this class; of all by default.
        before: Only events with a lower number.
        limit: At most this many.
    """
    found = rows(
        on,
        f"SELECT {_EVENT} FROM model_events "  # noqa: S608 - constant
        "WHERE (%(name)s::text IS NULL OR machine_class = %(name)s) "
        "AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s",
        {"name": machine_class, "limit": limit, "before": before},
    )
    return [_event(row) for row in found]


def champion_at(on: Connection, machine_class: str, at: datetime) -> ModelEvent | None:
    """Return the event that made the champion of that time; None if there was none yet.

    Args:
        on: A session.
        machine_class: The class.
        at: A time with a zone.
    """
    found = rows(
        on,
        f"SELECT {_EVENT} FROM model_events "  # noqa: S608 - constant
        "WHERE machine_class = %s AND at <= %s AND event IN ('promoted', 'rolled_back') "
        "ORDER BY id DESC LIMIT 1",
        (machine_class, at),
    )
    return _event(found[0]) if found else None


_EVENT = "machine_class, version, event, actor, reason, at, id"


def _event(row: tuple[Any, ...]) -> ModelEvent:
    name, version, event, actor, reason, at, number = row
    return ModelEvent(
        machine_class=name,
        version=version,
        event=event,
        actor=actor,
        reason=reason,
        at=at,
        id=number,
    )


def hold(on: Connection, machine_class: str) -> None:
    """Keep others from writing events of a class until the transaction ends.

    Raises:
        NotFoundError: There is no such class.
    """
    if not rows(on, "SELECT FROM machine_classes WHERE name = %s FOR UPDATE", (machine_class,)):
        raise NotFoundError("machine class", machine_class, "`millwright model list` shows them")


def append(  # noqa: PLR0913, PLR0917 - the columns of an event
    on: Connection, machine_class: str, version: int, event: EventKind, actor: str, reason: str
) -> None:
    """Write an event; the caller holds the class."""
    rows(
        on,
        "INSERT INTO model_events (machine_class, version, event, actor, reason) "
        "VALUES (%s, %s, %s, %s, %s)",
        (machine_class, version, event, actor, reason),
    )
