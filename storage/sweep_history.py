"""Sweeps as people see them: those that were, are under way or wait."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.errors import NotFoundError
from storage.connect import Connection, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One sweep.

    Attributes:
        id: Its name.
        machine_class: The class it trained for.
        state: queued, running, succeeded, failed or cancelled.
        trials: Trials finished so far.
        run_id: Parent run in MLflow.
        version: Version it registered.
        outcome: In words: promoted, refused and why, or the error.
        started_at: UTC; while it is queued, when it was asked for.
        ended_at: UTC; None until then.
        asked_by: Who asked for it over HTTP; None for others.
    """

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


_SWEEPS = (
    "SELECT id, machine_class, state, trials, run_id, version, outcome, started_at, ended_at, "
    "asked_by FROM sweeps "
)


def listed(
    on: Connection, *, before: tuple[datetime, str] | None = None, limit: int = 50
) -> tuple[SweepRow, ...]:
    """Return sweeps, newest first.

    Args:
        on: A session.
        before: When a sweep began, and its id: only those behind it.
        limit: At most this many.
    """
    at, sweep = before or (None, "")
    found = rows(
        on,
        _SWEEPS + "WHERE %(at)s::timestamptz IS NULL OR (started_at, id) < (%(at)s, %(id)s) "
        "ORDER BY started_at DESC, id DESC LIMIT %(limit)s",
        {"at": at, "id": sweep, "limit": limit},
    )
    return tuple(_row(row) for row in found)


def get(on: Connection, sweep_id: str) -> SweepRow:
    """Return one sweep.

    Raises:
        NotFoundError: There is none of this id.
    """
    found = rows(on, _SWEEPS + "WHERE id = %s", (sweep_id,))
    if not found:
        raise NotFoundError("sweep", sweep_id, "GET /api/v1/sweeps lists them")
    return _row(found[0])


def _row(row: Sequence[Any]) -> SweepRow:
    names = ("id", "machine_class", "state", "trials", "run_id", "version", "outcome")
    known = dict(zip(names, row, strict=False))
    return SweepRow(**known, started_at=row[7], ended_at=row[8], asked_by=row[9])
