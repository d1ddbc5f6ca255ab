"""Model versions, what happened to them, and which one is in use.

The champion of a machine class is the version of its last `promoted` or `rolled_back` event.
Events are only ever appended, so that every past answer can be given again: what was champion at
a time, by whom it was promoted and why. Who writes events of a class holds its row's lock, so that
two promotions at once become one after the other.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg2.extras import Json

from domain.errors import ConflictError, ModelRejectedError, NoChampionError, NotFoundError
from storage.connect import Connection, rows

type EventKind = Literal["trained", "refused", "promoted", "rolled_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """One version with its package.

    Attributes:
        machine_class: The class it judges; also the name of the registered model.
        version: Number in the registry.
        run_id: MLflow's run that made it; empty if MLflow was away.
        sha256: Checksum of the package, hex.
        package: What `domain.pipeline.Pipeline.from_package` reads.
        metrics: Its label-free figures.
        params: Its hyperparameters and data period.
        created_at: When it was stored; None before that.
    """

    machine_class: str
    version: int
    run_id: str
    sha256: str
    package: bytes = field(repr=False)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    created_at: datetime | None = None


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


def add_version(on: Connection, model: StoredModel, *, actor: str, reason: str) -> None:
    """Store a version and the event that it was trained.

    Raises:
        ConflictError: The version is there already, with whatever content.
        NotFoundError: The machine class is not registered.
        ModelRejectedError: The checksum does not match the package.
    """
    _verified(model)
    _lock(on, model.machine_class)
    rows(
        on,
        "INSERT INTO models (machine_class, version, run_id, sha256, package, metrics, params) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            *(model.machine_class, model.version, model.run_id, model.sha256, model.package),
            *(Json(dict(model.metrics)), Json(dict(model.params))),
        ),
    )
    _append(on, model.machine_class, model.version, "trained", actor, reason)


def champion(on: Connection, machine_class: str) -> StoredModel | None:
    """Return the champion of a class, its checksum verified; None before the first promotion.

    Raises:
        ModelRejectedError: The stored package does not match its checksum.
    """
    found = rows(on, _CHAMPIONS.format(where="WHERE machine_class = %s"), (machine_class,))
    return _verified(_model(found[0])) if found else None


def champions(on: Connection) -> list[StoredModel]:
    """Return the champion of every class that has one, by class; see `champion`."""
    return [_verified(_model(row)) for row in rows(on, _CHAMPIONS.format(where=""))]


def versions(on: Connection) -> dict[str, tuple[int, str]]:
    """Return machine class → version and checksum of its champion, without the packages."""
    found = rows(on, _VERSIONS)
    return {name: (version, sha256) for name, version, sha256 in found}


def challengers(on: Connection) -> dict[str, tuple[int, str]]:
    """Return machine class → version and checksum of its challenger.

    It is the newest version that came after the champion's and is not in use: one that the gate
    refused, or that waits for a promotion. A class without a champion has none.
    """
    found = rows(on, _CHALLENGERS)
    return {name: (version, sha256) for name, version, sha256 in found}


def get(on: Connection, machine_class: str, version: int) -> StoredModel:
    """Return one version, its checksum verified.

    Raises:
        NotFoundError: There is no such version.
        ModelRejectedError: The stored package does not match its checksum.
    """
    found = rows(
        on,
        f"SELECT {_COLUMNS} FROM models WHERE machine_class = %s AND version = %s",  # noqa: S608 - constant
        (machine_class, version),
    )
    if not found:
        raise _missing(machine_class, version)
    return _verified(_model(found[0]))


def latest_version(on: Connection, machine_class: str) -> int:
    """Return the highest version number of a class; 0 if there is none."""
    return int(
        rows(
            on,
            "SELECT coalesce(max(version), 0) FROM models WHERE machine_class = %s",
            (machine_class,),
        )[0][0]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """When the newest version of a class was made, and from what.

    Attributes:
        version: Its number.
        at: When it was stored.
        params: Its hyperparameters and data period.
    """

    version: int
    at: datetime
    params: Mapping[str, Any]


def latest(on: Connection, machine_class: str) -> Trained | None:
    """Return what is known of the newest version, promoted or not; None if there is none."""
    found = rows(
        on,
        "SELECT version, created_at, params FROM models WHERE machine_class = %s "
        "ORDER BY version DESC LIMIT 1",
        (machine_class,),
    )
    if not found:
        return None
    version, at, params = found[0]
    return Trained(version=version, at=at, params=params)


def promote(on: Connection, machine_class: str, version: int, *, actor: str, reason: str) -> None:
    """Make a version the champion.

    Raises:
        NotFoundError: There is no such class or version.
        ConflictError: It is the champion already.
    """
    _lock(on, machine_class)
    _require(on, machine_class, version)
    if lineage(_champion_events(on, machine_class))[-1:] == [version]:
        raise ConflictError(f"{machine_class} version {version} is the champion already")
    _append(on, machine_class, version, "promoted", actor, reason)


def refuse(on: Connection, machine_class: str, version: int, *, actor: str, reason: str) -> None:
    """Record that a version did not pass a gate or could not be loaded.

    Raises:
        NotFoundError: There is no such class or version.
    """
    _lock(on, machine_class)
    _require(on, machine_class, version)
    _append(on, machine_class, version, "refused", actor, reason)


def rollback(on: Connection, machine_class: str, *, actor: str, reason: str) -> int:
    """Make the champion before the present one champion again; return its version.

    Rolling back twice goes back two champions; it does not return to the one that was left.

    Raises:
        NotFoundError: There is no such class.
        NoChampionError: The class never had a champion.
        ConflictError: There was no champion before the present one.
    """
    _lock(on, machine_class)
    line = lineage(_champion_events(on, machine_class))
    if not line:
        raise NoChampionError(machine_class)
    if len(line) < 2:
        raise ConflictError(
            f"{machine_class} version {line[-1]} is the first champion; there is none before it"
        )
    _append(on, machine_class, line[-2], "rolled_back", actor, reason)
    return line[-2]


def champion_line(on: Connection, machine_class: str) -> list[int]:
    """Return the versions a rollback would walk through, oldest first, the champion last."""
    return lineage(_champion_events(on, machine_class))


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


def recorded_version(on: Connection, machine: str, at: datetime) -> int | None:
    """Return the version that a stored verdict names for a machine's reading of this instant.

    None where none is kept: verdicts that were normal are, but for the newest, not stored.

    Args:
        on: A session.
        machine: Name of the machine.
        at: Instant of the reading, with a zone.
    """
    found = rows(
        on,
        "SELECT model_version FROM ("
        "SELECT model_version, detected_at AS told, machine_key, instant FROM anomalies UNION ALL "
        "SELECT model_version, updated_at, machine_key, instant FROM machine_states) AS verdicts "
        "WHERE instant = %s AND machine_key = (SELECT key FROM machines WHERE name = %s) "
        "ORDER BY told DESC LIMIT 1",
        (at, machine),
    )
    return int(found[0][0]) if found else None


def lineage(events: Iterable[tuple[str, int]]) -> list[int]:
    """Return the champions that rollbacks can still reach, the present one last.

    Args:
        events: Event and version, oldest first; others than promotions and rollbacks do not count.
    """
    line: list[int] = []
    for event, version in events:
        if event == "promoted":
            line.append(version)
        elif event == "rolled_back":
            while line and line[-1] != version:
                line.pop()
            line = line or [version]
    return line


_EVENT = "machine_class, version, event, actor, reason, at, id"
_COLUMNS = "machine_class, version, run_id, sha256, package, metrics, params, created_at"

_LAST_EVENTS = """
SELECT DISTINCT ON (machine_class) machine_class, version FROM model_events
WHERE event IN ('promoted', 'rolled_back') ORDER BY machine_class, id DESC
"""
_CHAMPIONS = (
    f"SELECT {_COLUMNS} FROM models JOIN ({_LAST_EVENTS}) AS champions "  # noqa: S608 - constants
    "USING (machine_class, version) {where} ORDER BY machine_class"
)
_VERSIONS = (
    f"SELECT machine_class, version, sha256 FROM models JOIN ({_LAST_EVENTS}) AS champions "  # noqa: S608 - constants
    "USING (machine_class, version)"
)

_CHALLENGERS = (
    "SELECT DISTINCT ON (m.machine_class) m.machine_class, m.version, m.sha256 FROM models AS m "  # noqa: S608 - constants
    f"JOIN ({_LAST_EVENTS}) AS c ON c.machine_class = m.machine_class AND c.version < m.version "
    "ORDER BY m.machine_class, m.version DESC"
)


def _model(row: tuple[Any, ...]) -> StoredModel:
    name, version, run_id, sha256, package, metrics, params, created_at = row
    return StoredModel(
        machine_class=name,
        version=version,
        run_id=run_id,
        sha256=sha256,
        package=bytes(package),
        metrics=metrics,
        params=params,
        created_at=created_at,
    )


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


def _verified(model: StoredModel) -> StoredModel:
    found = hashlib.sha256(model.package).hexdigest()
    if found != model.sha256:
        raise ModelRejectedError(
            f"{model.machine_class} version {model.version}",
            f"its package has SHA-256 {found}, {model.sha256} was recorded",
        )
    return model


def _lock(on: Connection, machine_class: str) -> None:
    if not rows(on, "SELECT FROM machine_classes WHERE name = %s FOR UPDATE", (machine_class,)):
        raise NotFoundError("machine class", machine_class, "`millwright model list` shows them")


def _require(on: Connection, machine_class: str, version: int) -> None:
    if not rows(
        on,
        "SELECT FROM models WHERE machine_class = %s AND version = %s",
        (machine_class, version),
    ):
        raise _missing(machine_class, version)


def _missing(machine_class: str, version: int) -> NotFoundError:
    return NotFoundError(
        "model", f"{machine_class} version {version}", "`millwright model list` shows them"
    )


def _append(  # noqa: PLR0913, PLR0917 - the columns of an event
    on: Connection, machine_class: str, version: int, event: EventKind, actor: str, reason: str
) -> None:
    rows(
        on,
        "INSERT INTO model_events (machine_class, version, event, actor, reason) "
        "VALUES (%s, %s, %s, %s, %s)",
        (machine_class, version, event, actor, reason),
    )


def _champion_events(on: Connection, machine_class: str) -> list[tuple[str, int]]:
    return [
        (event, version)
        for event, version in rows(
            on,
            "SELECT event, version FROM model_events WHERE machine_class = %s ORDER BY id",
            (machine_class,),
        )
    ]
