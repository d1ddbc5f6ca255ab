"""Promotion and rollback: first in Postgres, which decides, then MLflow's aliases, which follow.

    1. one transaction: the version's package, that it was trained, that it was promoted or refused
    2. aliases `challenger`, `champion`, `previous`

A crash between the two leaves aliases behind; `follow` brings them up, and every promotion does.
"""

import logging
from dataclasses import dataclass

from domain.errors import ConflictError, ServiceUnavailableError
from storage import models
from storage.connect import Connection, session
from storage.settings import StorageSettings
from tuning.promotion import Gate, objection
from tuning.settings import TuningSettings
from tuning.tracking import Alias, Tracking

_log = logging.getLogger(__name__)

_ALIAS_WAIT_S = 10.0
"""A promotion is done when Postgres has it; MLflow is not worth a long wait."""


def promote(  # noqa: PLR0913 - who, what, why and where
    storage: StorageSettings,
    tuning: TuningSettings | None,
    machine_class: str,
    version: int,
    *,
    actor: str,
    reason: str,
    gate: Gate | None = None,
) -> str:
    """Make a version the champion; return what could not be done beside, or nothing.

    Args:
        storage: Where Postgres is.
        tuning: Where MLflow is; None leaves the aliases alone.
        machine_class: The class.
        version: The version.
        actor: Who wants it.
        reason: Why.
        gate: What its time in shadow must not speak against; None asks nobody.

    Raises:
        NotFoundError: There is no such class or version.
        ConflictError: It is the champion already, or its time in shadow speaks against it.
    """
    with session(storage) as on:
        from tuning.challenger import shadowed  # sklearn behind it: not for who only looks

        if gate is not None and (against := objection(shadowed(on, machine_class, version), gate)):
            raise ConflictError(f"{machine_class} {against}. --force promotes it all the same")
        models.promote(on, machine_class, version, actor=actor, reason=reason)
        line = models.champion_line(on, machine_class)
    return _follow_soon(tuning, machine_class, line)


def rollback(
    storage: StorageSettings,
    tuning: TuningSettings | None,
    machine_class: str,
    *,
    actor: str,
    reason: str,
) -> tuple[int, str]:
    """Return to the champion before; return its version and what could not be done beside.

    Raises:
        NotFoundError: There is no such class.
        NoChampionError: The class never had a champion.
        ConflictError: There was no champion before the present one.
    """
    with session(storage) as on:
        version = models.rollback(on, machine_class, actor=actor, reason=reason)
        line = models.champion_line(on, machine_class)
    return version, _follow_soon(tuning, machine_class, line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """An alias of MLflow that is not where Postgres says.

    Attributes:
        machine_class: The registered model.
        alias: Which one.
        present: Version it is at; None for nowhere.
        wanted: Version it should be at.
    """

    machine_class: str
    alias: Alias
    present: int | None
    wanted: int | None

    def __str__(self) -> str:
        return f"{self.alias} of {self.machine_class}: {self.present} → {self.wanted}"


def follow(tracking: Tracking, machine_class: str, line: list[int]) -> list[Behind]:
    """Bring MLflow's aliases to what Postgres says; return what was changed.

    Args:
        tracking: Open.
        machine_class: The registered model.
        line: `storage.models.champion_line`.

    Raises:
        ServiceUnavailableError: MLflow does not answer, or has no such version.
    """
    found = compare(tracking, machine_class, line)
    for one in found:
        tracking.alias(machine_class, one.alias, one.wanted)
    return found


def compare(tracking: Tracking, machine_class: str, line: list[int]) -> list[Behind]:
    """Return which aliases are not what Postgres says; changes nothing.

    Raises:
        ServiceUnavailableError: MLflow does not answer.
    """
    present = tracking.aliases(machine_class)
    wanted: dict[Alias, int | None] = {
        "champion": line[-1] if line else None,
        "previous": line[-2] if len(line) > 1 else None,
    }
    return [
        Behind(machine_class=machine_class, alias=alias, present=present.get(alias), wanted=version)
        for alias, version in wanted.items()
        if present.get(alias) != version
    ]


def behind(on: Connection, tracking: Tracking) -> list[Behind]:
    """Return the aliases of every class that are not what Postgres says; changes nothing.

    Raises:
        ServiceUnavailableError: MLflow does not answer.
    """
    return [one for name, line in _lines(on) for one in compare(tracking, name, line)]


def reconcile(on: Connection, tracking: Tracking) -> list[Behind]:
    """Bring the aliases of every class to what Postgres says; return what was changed.

    Raises:
        ServiceUnavailableError: MLflow does not answer.
    """
    return [one for name, line in _lines(on) for one in follow(tracking, name, line)]


def _lines(on: Connection) -> list[tuple[str, list[int]]]:
    return [(name, models.champion_line(on, name)) for name in sorted(models.versions(on))]


def _follow_soon(tuning: TuningSettings | None, machine_class: str, line: list[int]) -> str:
    if tuning is None:
        return ""
    tracking = Tracking(tuning.tracking_uri, tuning.artifact_root)
    try:
        tracking.open(_ALIAS_WAIT_S)
        follow(tracking, machine_class, line)
    except ServiceUnavailableError as error:
        _log.warning("aliases of %s are behind: %s", machine_class, error)
        return f"MLflow's aliases were not moved ({error}); the next promotion does it"
    return ""
