"""Minutes summed up: `readings_1m`, exact whatever arrives late or twice.

The order of it, which nothing may change:

1. Whoever stores readings puts their minutes into `readings_1m_dirty` in the same transaction. The
   queue has no unique key on purpose: were a minute's row shared, one transaction could take it
   away while another relies on it, and the reading of the second would never be summed up.
2. `roll` takes rows of the queue and then, with a later snapshot, reads all readings of their
   minutes and replaces their rollups, in one transaction. A reading it does not see yet has a row
   in the queue that it does not see either.
3. Only one transaction at a time does so, held by an advisory lock: an older sum can never replace
   a newer one.

A sum is replaced only by one over at least as many values. So a minute whose readings retention
has dropped keeps what it was, even when one more reading of it arrives.
"""

from io import BytesIO

import numpy as np

from domain.minutes import summed_up
from domain.readings import Instants, Keys, Matrix, ReadingBatch
from storage import copy_format, rollup_format
from storage.connect import Connection, rows, translated
from storage.rollup_format import MINUTE_US, Sums

MOST = 2_000
"""Minutes per transaction: some 240,000 readings of machines that send two per second."""

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('millwright rollups'))"

_TAKE = """
CREATE TEMP TABLE IF NOT EXISTS rolled (machine_key integer, minute timestamptz)
    ON COMMIT DELETE ROWS;
WITH taken AS (
    DELETE FROM readings_1m_dirty
    WHERE id IN (SELECT id FROM readings_1m_dirty ORDER BY id LIMIT %s)
    RETURNING machine_key, minute
)
INSERT INTO rolled SELECT DISTINCT machine_key, minute FROM taken ORDER BY 1, 2
"""

# OFFSET 0 keeps the planner from reading whole partitions: a few look-ups by key instead. There is
# no order over all: sorting rows so wide took a third of the time, and they nearly always come as
# they are wanted (`_ordered`).
_READ = """
SELECT found.* FROM rolled JOIN machines ON key = rolled.machine_key AND machine_class = {name}
CROSS JOIN LATERAL (
    SELECT r.machine_key, r.instant, r.values FROM readings AS r
    WHERE r.machine_key = rolled.machine_key AND r.instant >= rolled.minute
    AND r.instant < rolled.minute + interval '1 minute' ORDER BY r.instant OFFSET 0
) AS found
"""

_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS sums (LIKE readings_1m) ON COMMIT DELETE ROWS
"""

_MERGE = """
INSERT INTO readings_1m AS old SELECT * FROM pg_temp.sums
ON CONFLICT (machine_key, minute) DO UPDATE SET count = excluded.count, mean = excluded.mean,
    min = excluded.min, max = excluded.max, last = excluded.last,
    last_instant = excluded.last_instant
WHERE (SELECT sum(n) FROM unnest(excluded.count) AS n)
    >= (SELECT sum(n) FROM unnest(old.count) AS n)
"""


def summed(keys: Keys, instants: Instants, values: Matrix) -> Sums:
    """Sum up readings by machine and minute.

    Args:
        keys: Shape (n,), n >= 1.
        instants: Shape (n,), ascending within a machine, whose readings stand together.
        values: Shape (n, sensors), finite or NaN.
    """
    minutes = instants // MINUTE_US * MINUTE_US
    news = np.flatnonzero((np.diff(keys) != 0) | (np.diff(minutes) != 0)) + 1
    begins = np.concatenate([np.zeros(1, np.intp), news])
    sheet = summed_up(begins, instants, values)
    return Sums(
        machine_keys=keys[begins],
        minutes_us=minutes[begins],
        count=sheet.counts,
        mean=sheet.mean,
        low=sheet.low,
        high=sheet.high,
        last=sheet.last,
        last_us=sheet.last_us,
    )


def mark(on: Connection, batches: tuple[ReadingBatch, ...]) -> None:
    """Queue the minutes of readings, in the transaction that stores them."""
    keys = np.concatenate([one.machine_keys for one in batches] or [np.empty(0, np.int32)])
    instants = np.concatenate([one.instants_us for one in batches] or [np.empty(0, np.int64)])
    if not len(keys):
        return
    # One number per machine and minute: minutes since 1970 stay below 2^31 until the year 6053.
    marks = np.unique((keys.astype(np.int64) << 32) | (instants // MINUTE_US))
    rows(
        on,
        "INSERT INTO readings_1m_dirty (machine_key, minute) "
        "SELECT key, to_timestamp(minute * 60) FROM unnest(%s::int[], %s::bigint[]) "
        "AS dirty (key, minute)",
        ((marks >> 32).tolist(), (marks & 0xFFFFFFFF).tolist()),
    )


def roll(on: Connection, *, most: int = MOST) -> int:
    """Bring up to so many queued minutes up to date, in the open transaction.

    Returns:
        How many rows of the queue were taken; 0 if it is empty or another process is at it.
    """
    if not rows(on, _LOCK)[0][0]:
        return 0
    with translated(), on.cursor() as cursor:
        cursor.execute(_TAKE, (most,))
        taken = cursor.rowcount
        cursor.execute(
            "SELECT DISTINCT c.name, jsonb_array_length(c.sensors) FROM pg_temp.rolled AS r "
            "JOIN machines AS m ON m.key = r.machine_key "
            "JOIN machine_classes AS c ON c.name = m.machine_class"
        )
        classes = cursor.fetchall()
    for name, width in classes:
        _roll_class(on, name, width)
    return int(taken)


def _roll_class(on: Connection, name: str, width: int) -> None:
    with translated(), on.cursor() as cursor:
        out = BytesIO()
        # COPY takes no parameters; `mogrify` writes the name as a literal.
        literal = cursor.mogrify("%s", (name,)).decode()
        cursor.copy_expert(f"COPY ({_READ.format(name=literal)}) TO STDOUT BINARY", out)
        keys, instants, values = _ordered(*copy_format.decode(out.getvalue(), width))
        if not len(keys):
            return
        cursor.execute(_STAGE)
        data = rollup_format.encode(summed(keys, instants, values))
        cursor.copy_expert("COPY pg_temp.sums FROM STDIN BINARY", BytesIO(data), size=1 << 18)
        cursor.execute(_MERGE)
        cursor.execute("TRUNCATE pg_temp.sums")


def _ordered(keys: Keys, instants: Instants, values: Matrix) -> tuple[Keys, Instants, Matrix]:
    """Return rows by machine and instant."""
    rising = (np.diff(keys) > 0) | ((np.diff(keys) == 0) & (np.diff(instants) > 0))
    if rising.all():
        return keys, instants, values
    order = np.lexsort((instants, keys))
    return keys[order], instants[order], values[order]
