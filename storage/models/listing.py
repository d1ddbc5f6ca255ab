"""Model versions as people see them, without their packages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.connect import Connection, rows
from storage.models.succession import LAST_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One registered model version, without its package.

    Attributes:
        machine_class: The class it judges.
        version: Its number in the registry.
        champion: Whether it is the one in use.
        run_id: MLflow run that made it.
        sha256: Checksum of its package.
        package_bytes: Size of its package.
        metrics: Label-free figures of the sweep.
        params: What the sweep chose.
        trained_at: When it was registered.
        promoted_at: When it became the champion; None when it is not.
        promoted_by: Who promoted it.
        reason: Why.
    """

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


_MODELS = f"""
SELECT m.machine_class, m.version, c.version IS NOT NULL, m.run_id, m.sha256,
       octet_length(m.package), m.metrics, m.params, m.created_at, c.at, c.actor, c.reason
FROM models m
LEFT JOIN ({LAST_EVENTS}) AS c ON c.machine_class = m.machine_class AND c.version = m.version
"""  # noqa: S608 - constants


def listed(
    on: Connection,
    *,
    champions_only: bool = False,
    after: tuple[str, int] | None = None,
    limit: int = 200,
) -> tuple[ModelRow, ...]:
    """Return registered versions, by class and newest first.

    Args:
        on: A session.
        champions_only: Only those in use.
        after: Class and version behind which to go on.
        limit: At most this many.
    """
    name, version = after or (None, 0)
    found = rows(
        on,
        _MODELS + "WHERE (NOT %(only)s OR c.version IS NOT NULL) AND (%(name)s::text IS NULL "
        "OR (m.machine_class, -m.version) > (%(name)s, %(below)s)) "
        "ORDER BY m.machine_class, m.version DESC LIMIT %(limit)s",
        {"only": champions_only, "name": name, "below": -version, "limit": limit},
    )
    return tuple(
        ModelRow(
            machine_class=row[0],
            version=row[1],
            champion=row[2],
            run_id=row[3],
            sha256=row[4],
            package_bytes=row[5],
            metrics=row[6],
            params=row[7],
            trained_at=row[8],
            promoted_at=row[9],
            promoted_by=row[10],
            reason=row[11],
        )
        for row in found
    )
