"""Risk models beside the champions: versions, packages, modes. The highest version is in use."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import Json

from domain.errors import ModelRejectedError, NotFoundError
from storage.connect import Connection, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRow:
    """What is known of a class's risk model, without its package.

    Attributes:
        machine_class: Its class.
        version: Its number.
        sha256: Checksum of its package, hex.
        labels: Fingerprint of the labels it was learnt from.
        facts: Lives, failures, horizons.
        modes: Failure modes, as `domain.failure_modes.FailureMode`.
        trained_at: When it was stored.
    """

    machine_class: str
    version: int
    sha256: str
    labels: str
    facts: Mapping[str, Any]
    modes: Sequence[Mapping[str, Any]]
    trained_at: datetime


def add(  # noqa: PLR0913 - keyword-only, the columns
    on: Connection,
    machine_class: str,
    package: bytes,
    *,
    labels: str,
    facts: Mapping[str, Any],
    modes: Sequence[Mapping[str, Any]],
) -> int:
    """Store the next version of a class, which is in use from the commit on; return its number.

    Raises:
        NotFoundError: The machine class is not registered.
    """
    held = rows(on, "SELECT FROM machine_classes WHERE name = %s FOR UPDATE", (machine_class,))
    if not held:
        raise NotFoundError("machine class", machine_class, "`millwright model list` shows them")
    found = rows(
        on,
        "INSERT INTO risk_models (machine_class, version, sha256, package, labels, facts, modes) "
        "SELECT %(name)s, coalesce(max(version), 0) + 1, %(sha256)s, %(package)s, %(labels)s, "
        "%(facts)s, %(modes)s FROM risk_models WHERE machine_class = %(name)s RETURNING version",
        {
            "name": machine_class,
            "sha256": hashlib.sha256(package).hexdigest(),
            "package": package,
            "labels": labels,
            "facts": Json(dict(facts)),
            "modes": Json(list(modes)),
        },
    )
    return int(found[0][0])


def versions(on: Connection) -> dict[str, tuple[int, str]]:
    """Return machine class → version and checksum of the risk model in use."""
    found = rows(
        on,
        "SELECT DISTINCT ON (machine_class) machine_class, version, sha256 FROM risk_models "
        "ORDER BY machine_class, version DESC",
    )
    return {name: (version, sha256) for name, version, sha256 in found}


def package(on: Connection, machine_class: str, version: int) -> bytes:
    """Return a version's package, its checksum verified.

    Raises:
        NotFoundError: There is no such version.
        ModelRejectedError: It does not match its checksum.
    """
    found = rows(
        on,
        "SELECT package, sha256 FROM risk_models WHERE machine_class = %s AND version = %s",
        (machine_class, version),
    )
    label = f"risk of {machine_class} version {version}"
    if not found:
        raise NotFoundError("risk model", label, "`millwright risk train` makes one")
    blob, wanted = bytes(found[0][0]), found[0][1]
    if hashlib.sha256(blob).hexdigest() != wanted:
        raise ModelRejectedError(label, "its package does not match the checksum recorded")
    return blob


def current(on: Connection, machine_class: str | None = None) -> list[RiskRow]:
    """Return the risk model in use of one class, or of every class that has one, by class."""
    found = rows(
        on,
        "SELECT DISTINCT ON (machine_class) machine_class, version, sha256, labels, facts, modes, "
        "created_at FROM risk_models WHERE %(name)s::text IS NULL OR machine_class = %(name)s "
        "ORDER BY machine_class, version DESC",
        {"name": machine_class},
    )
    return [
        RiskRow(
            machine_class=name,
            version=version,
            sha256=sha256,
            labels=labels,
            facts=facts,
            modes=modes,
            trained_at=at,
        )
        for name, version, sha256, labels, facts, modes, at in found
    ]
