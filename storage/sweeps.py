"""Sweeps: which are under way, and how the others ended."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg2.extras import Json

from domain.errors import ConflictError, NotFoundError, PlatformError
from storage.connect import Connection, connect, rows, translated
from storage.settings import StorageSettings

type EndState = Literal["succeeded", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """The sweeps of one machine class, as far as retraining asks.

    Attributes:
        running: One is under way, its process alive.
        today: How many began in the last 24 hours.
        since_end_s: Seconds since the last one ended; None if none did.
        last_began: When the last one began; None if none did.
    """

    running: bool
    today: int
    since_end_s: float | None
    last_began: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A sweep that was asked for.

    Attributes:
        sweep: Its id.
        machine_class: What to sweep.
        actor: Who asked.
        trials: Configurations to try; None for what the settings say, here and below.
        seed: Of sampler and replays.
        lookback_hours: Hours of history.
    """

    sweep: str
    machine_class: str
    actor: str
    trials: int | None = None
    seed: int | None = None
    lookback_hours: float | None = None


@contextmanager
def alone(settings: StorageSettings, machine_class: str) -> Iterator[None]:
    """Hold a machine class for one sweep; the server lets go by itself when the holder dies.

    Raises:
        ConflictError: Another sweep of this class is under way.
    """
    held = connect(settings, application="millwright sweep")
    try:
        with translated():
            held.autocommit = True
        if not rows(held, f"SELECT pg_try_advisory_lock({_LOCK})", (machine_class,))[0][0]:
            raise ConflictError(
                f"a sweep of {machine_class} is under way; `millwright sweep status` shows it"
            )
        try:
            yield
        finally:
            # A connection that was closed is noticed by the server in its own time, not at once.
            with suppress(PlatformError):
                rows(held, f"SELECT pg_advisory_unlock({_LOCK})", (machine_class,))
    finally:
        held.close()


def begin(on: Connection, sweep: str, machine_class: str) -> None:
    """Record that a sweep begins; one that died without a word is recorded as failed.

    Raises:
        ConflictError: It was asked for, and cancelled before it began.
    """
    rows(
        on,
        "UPDATE sweeps SET state = 'failed', outcome = 'its process ended before it did', "
        "ended_at = clock_timestamp() WHERE machine_class = %s AND state = 'running'",
        (machine_class,),
    )
    begun = rows(
        on,
        "INSERT INTO sweeps (id, machine_class, state) VALUES (%s, %s, 'running') "
        "ON CONFLICT (id) DO UPDATE SET state = 'running', started_at = clock_timestamp() "
        "WHERE sweeps.state = 'queued' RETURNING id",
        (sweep, machine_class),
    )
    if not begun:
        raise ConflictError(f"sweep {sweep} does not wait any more: it was cancelled or is done")


def ask(on: Connection, wish: Wish) -> None:
    """Let a sweep wait until somebody takes it.

    Raises:
        NotFoundError: There is no such class.
        ConflictError: A sweep of the class waits or is under way.
    """
    name = wish.machine_class
    # The row's lock makes two requests at once come one after the other.
    if not rows(on, "SELECT FROM machine_classes WHERE name = %s FOR UPDATE", (name,)):
        raise NotFoundError("machine class", name, "GET /api/v1/machines shows those in use")
    waits = rows(on, "SELECT id FROM sweeps WHERE machine_class = %s AND state = 'queued'", (name,))
    if waits or attempts(on, name).running:
        raise ConflictError(f"a sweep of {name} waits or is under way; GET /api/v1/sweeps shows it")
    given = {
        "trials": wish.trials,
        "seed": wish.seed,
        "lookback_hours": wish.lookback_hours,
    }
    rows(
        on,
        "INSERT INTO sweeps (id, machine_class, state, asked_by, wishes) "
        "VALUES (%s, %s, 'queued', %s, %s)",
        (wish.sweep, name, wish.actor, Json({k: v for k, v in given.items() if v is not None})),
    )


def waiting(on: Connection) -> list[Wish]:
    """Return the sweeps that wait, the oldest first."""
    found = rows(
        on,
        "SELECT id, machine_class, asked_by, wishes FROM sweeps WHERE state = 'queued' "
        "ORDER BY started_at, id",
    )
    wishes: list[Wish] = []
    for sweep, machine_class, actor, given in found:
        known: dict[str, Any] = given or {}
        wishes.append(Wish(sweep=sweep, machine_class=machine_class, actor=actor or "", **known))
    return wishes


def cancel(on: Connection, sweep: str, actor: str) -> None:
    """Take back a sweep that waits.

    Raises:
        NotFoundError: There is no such sweep.
        ConflictError: It does not wait: it is under way or done.
    """
    done = rows(
        on,
        "UPDATE sweeps SET state = 'cancelled', outcome = %s, ended_at = clock_timestamp() "
        "WHERE id = %s AND state = 'queued' RETURNING id",
        (f"cancelled by {actor}", sweep),
    )
    if done:
        return
    found = rows(on, "SELECT state FROM sweeps WHERE id = %s", (sweep,))
    if not found:
        raise NotFoundError("sweep", sweep, "GET /api/v1/sweeps lists them")
    raise ConflictError(f"sweep {sweep} is {found[0][0]}; only one that is queued can be cancelled")


def progress(on: Connection, sweep: str, trials: int, run_id: str | None) -> None:
    """Record how many trials have ended and, once it is known, MLflow's run."""
    rows(
        on,
        "UPDATE sweeps SET trials = %s, run_id = coalesce(%s, run_id) WHERE id = %s",
        (trials, run_id, sweep),
    )


def end(
    on: Connection, sweep: str, state: EndState, *, outcome: str, version: int | None = None
) -> None:
    """Record how a sweep ended."""
    rows(
        on,
        "UPDATE sweeps SET state = %s, outcome = %s, version = %s, ended_at = clock_timestamp() "
        "WHERE id = %s",
        (state, outcome, version, sweep),
    )


def attempts(on: Connection, machine_class: str) -> Attempts:
    """Return what is known of a class's sweeps."""
    # A running sweep holds its lock; a row without one is a sweep that died.
    running, today, since_end_s, last_began = rows(
        on,
        f"""
        SELECT EXISTS (
            SELECT FROM pg_locks, (SELECT {_LOCK} AS key) AS lock
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid::bigint = (key >> 32) & 4294967295 AND objid::bigint = key & 4294967295
        ),
        count(*) FILTER (WHERE started_at > clock_timestamp() - interval '24 hours'),
        extract(epoch FROM clock_timestamp() - max(ended_at)), max(started_at)
        FROM sweeps WHERE machine_class = %s
        """,  # noqa: S608 - the constant below
        (machine_class, machine_class),
    )[0]
    return Attempts(
        running=running,
        today=today,
        since_end_s=None if since_end_s is None else float(since_end_s),
        last_began=last_began,
    )


_LOCK = "hashtextextended('millwright sweep ' || %s, 0)"
