"""What the pipeline does now: each worker refreshes its own row, the console reads them all."""

from dataclasses import dataclass
from datetime import datetime

from storage.connect import Connection, rows

_FRESH_S = 15.0
"""A worker that has not refreshed its row for this long does not count any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One worker's row.

    Attributes:
        worker: Its name, unique over the platform.
        stage: produce, consume or score.
        per_second: Readings per second of late.
        total: Readings since the worker started.
        lag: Messages it has not taken yet; None where that has no meaning.
        updated_at: When it said so, UTC.
    """

    worker: str
    stage: str
    per_second: float
    total: int
    lag: int | None
    updated_at: datetime


def report(  # noqa: PLR0913 - one argument per column
    on: Connection, *, worker: str, stage: str, per_second: float, total: int, lag: int | None
) -> None:
    """Refresh a worker's row."""
    rows(
        on,
        "INSERT INTO pipeline_rates (worker, stage, per_second, total, lag) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (worker) DO UPDATE SET stage = excluded.stage, "
        "per_second = excluded.per_second, total = excluded.total, lag = excluded.lag, "
        "updated_at = clock_timestamp()",
        (worker, stage, per_second, total, lag),
    )


def current(on: Connection, *, within_s: float = _FRESH_S) -> list[Rate]:
    """Return the workers that reported within the last seconds, by stage and name."""
    found = rows(
        on,
        "SELECT worker, stage, per_second, total, lag, updated_at FROM pipeline_rates "
        "WHERE updated_at > clock_timestamp() - make_interval(secs => %s) ORDER BY stage, worker",
        (within_s,),
    )
    return [
        Rate(worker=worker, stage=stage, per_second=rate, total=total, lag=lag, updated_at=at)
        for worker, stage, rate, total, lag, at in found
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRate:
    """What one stage of the pipeline does now, over all its workers.

    Attributes:
        stage: produce, consume or score.
        per_second: Readings per second.
        total: Readings since the workers started.
        lag: Messages not taken yet; None where that has no meaning.
        workers: How many workers reported within the last seconds.
    """

    stage: str
    per_second: float
    total: int
    lag: int | None
    workers: int


def by_stage(on: Connection) -> tuple[StageRate, ...]:
    """Return what each stage does now; a stage without a fresh worker is left out."""
    found = rows(
        on,
        "SELECT stage, sum(per_second), sum(total), sum(lag), count(*) FROM pipeline_rates"
        " WHERE updated_at > clock_timestamp() - make_interval(secs => %s)"
        " GROUP BY stage ORDER BY stage",
        (_FRESH_S,),
    )
    return tuple(
        StageRate(
            stage=stage,
            per_second=float(per_second),
            total=int(total),
            lag=None if lag is None else int(lag),
            workers=workers,
        )
        for stage, per_second, total, lag, workers in found
    )
