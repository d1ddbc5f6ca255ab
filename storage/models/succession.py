"""Which version of a machine class is in use, and who came before it.

The champion of a machine class is the version of its last `promoted` or `rolled_back` event.
"""

from collections.abc import Iterable

from domain.errors import ConflictError, NoChampionError
from storage.connect import Connection, rows
from storage.models.events import append, hold
from storage.models.stored import COLUMNS, StoredModel, require, stored_model, verified


def champion(on: Connection, machine_class: str) -> StoredModel | None:
    """Return the champion of a class, its checksum verified; None before the first promotion.

    Raises:
        ModelRejectedError: The stored package does not match its checksum.
    """
    found = rows(on, _CHAMPIONS.format(where="WHERE machine_class = %s"), (machine_class,))
    return verified(stored_model(found[0])) if found else None


def champions(on: Connection) -> list[StoredModel]:
    """Return the champion of every class that has one, by class; see `champion`."""
    return [verified(stored_model(row)) for row in rows(on, _CHAMPIONS.format(where=""))]


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


def promote(on: Connection, machine_class: str, version: int, *, actor: str, reason: str) -> None:
    """Make a version the champion.

    Raises:
        NotFoundError: There is no such class or version.
        ConflictError: It is the champion already.
    """
    hold(on, machine_class)
    require(on, machine_class, version)
    if lineage(_champion_events(on, machine_class))[-1:] == [version]:
        raise ConflictError(f"{machine_class} version {version} is the champion already")
    append(on, machine_class, version, "promoted", actor, reason)


def refuse(on: Connection, machine_class: str, version: int, *, actor: str, reason: str) -> None:
    """Record that a version did not pass a gate or could not be loaded.

    Raises:
        NotFoundError: There is no such class or version.
    """
    hold(on, machine_class)
    require(on, machine_class, version)
    append(on, machine_class, version, "refused", actor, reason)


def rollback(on: Connection, machine_class: str, *, actor: str, reason: str) -> int:
    """Make the champion before the present one champion again; return its version.

    Rolling back twice goes back two champions; it does not return to the one that was left.

    Raises:
        NotFoundError: There is no such class.
        NoChampionError: The class never had a champion.
        ConflictError: There was no champion before the present one.
    """
    hold(on, machine_class)
    line = lineage(_champion_events(on, machine_class))
    if not line:
        raise NoChampionError(machine_class)
    if len(line) < 2:
        raise ConflictError(
            f"{machine_class} version {line[-1]} is the first champion; there is none before it"
        )
    append(on, machine_class, line[-2], "rolled_back", actor, reason)
    return line[-2]


def champion_line(on: Connection, machine_class: str) -> list[int]:
    """Return the versions a rollback would walk through, oldest first, the champion last."""
    return lineage(_champion_events(on, machine_class))


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


LAST_EVENTS = """
SELECT DISTINCT ON (machine_class) machine_class, version, at, actor, reason FROM model_events
WHERE event IN ('promoted', 'rolled_back') ORDER BY machine_class, id DESC
"""
_CHAMPIONS = (
    f"SELECT {COLUMNS} FROM models JOIN ({LAST_EVENTS}) AS champions "  # noqa: S608 - constants
    "USING (machine_class, version) {where} ORDER BY machine_class"
)
_VERSIONS = (
    f"SELECT machine_class, version, sha256 FROM models JOIN ({LAST_EVENTS}) AS champions "  # noqa: S608 - constants
    "USING (machine_class, version)"
)
_CHALLENGERS = (
    "SELECT DISTINCT ON (m.machine_class) m.machine_class, m.version, m.sha256 FROM models AS m "  # noqa: S608 - constants
    f"JOIN ({LAST_EVENTS}) AS c ON c.machine_class = m.machine_class AND c.version < m.version "
    "ORDER BY m.machine_class, m.version DESC"
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
