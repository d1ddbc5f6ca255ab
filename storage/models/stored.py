"""Model versions with their packages, as they are kept."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg2.extras import Json

from domain.errors import ModelRejectedError, NotFoundError
from storage.connect import Connection, rows
from storage.models.events import append, hold


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


def add_version(on: Connection, model: StoredModel, *, actor: str, reason: str) -> None:
    """Store a version and the event that it was trained.

    Raises:
        ConflictError: The version is there already, with whatever content.
        NotFoundError: The machine class is not registered.
        ModelRejectedError: The checksum does not match the package.
    """
    verified(model)
    hold(on, model.machine_class)
    rows(
        on,
        "INSERT INTO models (machine_class, version, run_id, sha256, package, metrics, params) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            *(model.machine_class, model.version, model.run_id, model.sha256, model.package),
            *(Json(dict(model.metrics)), Json(dict(model.params))),
        ),
    )
    append(on, model.machine_class, model.version, "trained", actor, reason)


def get(on: Connection, machine_class: str, version: int) -> StoredModel:
    """Return one version, its checksum verified.

    Raises:
        NotFoundError: There is no such version.
        ModelRejectedError: The stored package does not match its checksum.
    """
    found = rows(
        on,
        f"SELECT {COLUMNS} FROM models WHERE machine_class = %s AND version = %s",  # noqa: S608 - constant
        (machine_class, version),
    )
    if not found:
        raise _missing(machine_class, version)
    return verified(stored_model(found[0]))


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


COLUMNS = "machine_class, version, run_id, sha256, package, metrics, params, created_at"


def stored_model(row: tuple[Any, ...]) -> StoredModel:
    """Return a row of `COLUMNS` as a model."""
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


def verified(model: StoredModel) -> StoredModel:
    """Return the model.

    Raises:
        ModelRejectedError: Its package does not match its checksum.
    """
    found = hashlib.sha256(model.package).hexdigest()
    if found != model.sha256:
        raise ModelRejectedError(
            f"{model.machine_class} version {model.version}",
            f"its package has SHA-256 {found}, {model.sha256} was recorded",
        )
    return model


def require(on: Connection, machine_class: str, version: int) -> None:
    """Return if there is such a version.

    Raises:
        NotFoundError: There is none.
    """
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
