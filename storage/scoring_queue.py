"""Readings that were stored without passing the scorer's topic, so that it hears of them.

One row per machine spans what waits, so the queue is never longer than the fleet. Whoever stores
readings widens the span in the same transaction; the scorer narrows it in the transaction that
holds the verdicts. Both lock the row, so neither can undo the other; those who store do so in the
order of machines, and the scorer waits for nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.readings import ReadingBatch
from storage.connect import Connection, rows
from storage.history import instant, microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Stored readings of a machine that nobody has judged yet.

    Attributes:
        machine_key: Whose.
        first_us: First instant, microseconds UTC.
        last_us: Last instant that is whole and may be judged.
    """

    machine_key: int
    first_us: int
    last_us: int


def mark(on: Connection, batches: Sequence[ReadingBatch], *, hold_s: float = 0.0) -> None:
    """Queue readings, in the transaction that stores them or says that they were stored.

    Args:
        on: A session.
        batches: The readings.
        hold_s: Parts of these readings may still come for so long.
    """
    keys = np.concatenate([one.machine_keys for one in batches] or [np.empty(0, np.int32)])
    instants = np.concatenate([one.instants_us for one in batches] or [np.empty(0, np.int64)])
    if not len(keys):
        return
    order = np.lexsort((instants, keys))
    keys, instants = keys[order], instants[order]
    begins = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    ends = np.append(begins[1:], len(keys)) - 1
    rows(
        on,
        "INSERT INTO to_score AS old (machine_key, first, last, hold_s) "
        "SELECT *, %s FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[]) "
        "ON CONFLICT (machine_key) DO UPDATE SET first = least(old.first, excluded.first), "
        "last = greatest(old.last, excluded.last), hold_s = excluded.hold_s, "
        "marked_at = clock_timestamp()",
        (
            hold_s,
            keys[begins].tolist(),
            [instant(int(at)) for at in instants[begins]],
            [instant(int(at)) for at in instants[ends]],
        ),
    )


_WHOLE_UNTIL = (
    "last - make_interval(secs => CASE WHEN marked_at < clock_timestamp() "
    "- make_interval(secs => hold_s) THEN 0 ELSE hold_s END)"
)
"""Once nothing has come for as long as parts may take, the last reading is whole as well."""


def take(on: Connection, *, most: int) -> list[Waiting]:
    """Lock what may be judged now, of at most so many machines, until the transaction ends.

    The last instants of a machine that still sends are left until their parts had time to come.
    A machine whose readings are being stored this moment is left for the next time.
    """
    found = rows(
        on,
        f"SELECT machine_key, first, {_WHOLE_UNTIL} FROM to_score WHERE {_WHOLE_UNTIL} >= first "  # noqa: S608 - our own text
        "ORDER BY first LIMIT %s FOR UPDATE SKIP LOCKED",
        (most,),
    )
    return [
        Waiting(machine_key=key, first_us=microseconds(first), last_us=microseconds(last))
        for key, first, last in found
    ]


def bite_end(on: Connection, one: Waiting, most: int) -> int:
    """Return the instant that ends the oldest `most` of the readings that wait."""
    found = rows(
        on,
        "SELECT instant FROM readings WHERE machine_key = %s AND instant >= %s AND instant <= %s "
        "ORDER BY instant OFFSET %s LIMIT 1",
        (one.machine_key, instant(one.first_us), instant(one.last_us), most - 1),
    )
    return microseconds(found[0][0]) if found else one.last_us


def judged(on: Connection, machine_key: int, until_us: int) -> None:
    """Say that everything of a machine up to and with an instant was judged."""
    rows(
        on,
        "DELETE FROM to_score WHERE machine_key = %s AND last <= %s",
        (machine_key, instant(until_us)),
    )
    rows(
        on,
        "UPDATE to_score SET first = %s WHERE machine_key = %s AND first <= %s",
        (instant(until_us + 1), machine_key, instant(until_us)),
    )
