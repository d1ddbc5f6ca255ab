"""Readings whose values come apart from each other: each is stored where it is missing, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import numpy.typing as npt

from domain.mapping import Mapping
from domain.mapping.gather import NOBODY, clash
from domain.wire import Rejection
from storage import offsets, quarantine, rollups, scoring_queue
from storage.connect import Connection, rows
from storage.history import instant, microseconds
from storage.readings import ReadingStore, StoreBatch, Written
from storage.settings import StorageSettings

_STAGE = (
    "CREATE TEMP TABLE IF NOT EXISTS parts "
    "(machine_key integer, instant timestamptz, values float8[]) ON COMMIT DELETE ROWS"
)
_COPY = "COPY pg_temp.parts (machine_key, instant, values) FROM STDIN BINARY"

# In the order of the key, here and below: two consumers that bring parts of the same readings wait
# for each other in a line and not in a circle.
_NEW = """
WITH new AS (
    INSERT INTO readings SELECT machine_key, instant, values FROM pg_temp.parts
    ORDER BY machine_key, instant ON CONFLICT DO NOTHING RETURNING machine_key, instant
)
DELETE FROM pg_temp.parts AS part USING new
WHERE part.machine_key = new.machine_key AND part.instant = new.instant
"""

# What is stored stands; a part fills what is missing. Arrays of a class that has gained sensors
# since are shorter, which `unnest` pads with nulls. The bounds leave out all other partitions.
_FILL = """
UPDATE readings AS old SET values = (
    SELECT array_agg(coalesce(nullif(was, 'NaN'), now, 'NaN') ORDER BY at)
    FROM unnest(old.values, part.values) WITH ORDINALITY AS cell (was, now, at)
)
FROM (SELECT * FROM pg_temp.parts ORDER BY machine_key, instant OFFSET 0) AS part
WHERE old.machine_key = part.machine_key AND old.instant = part.instant
AND old.instant >= %s AND old.instant <= %s
RETURNING old.machine_key, old.instant, old.values
"""

# A few look-ups by key; the planner knows nothing of a table that was filled a moment ago.
_BY_KEY = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; "
    "SET LOCAL enable_seqscan = off"
)


class MergingStore(ReadingStore):
    """Writes batches of which a reading may have been stored in part before; for one thread.

    All in one transaction, as in `ReadingStore`:

    1. Readings through a staging table; those whose machine and instant are new are inserted.
    2. Of the others, a value fills what is missing in the stored reading. A value that is there
       already changes nothing; one that differs from it goes to quarantine, and the stored stands.
    3. The minutes into the queue of the rollups, and the spans into that of the scorer, which
       reads these topics only as far as they are stored.
    4. Quarantined messages, then offsets, as ever.

    Whatever arrives in whatever order, late or twice, comes to the same rows as all at once, but
    for which of two contradicting values stands: the first.

    Args:
        connection: Of this store alone.
        hold_s: For so long parts of a reading may come; the scorer waits for them.
    """

    def __init__(self, connection: Connection, *, hold_s: float = 0.0) -> None:
        super().__init__(connection)
        self._hold_s = hold_s

    def _store(self, batch: StoreBatch, data: bytes) -> Written:
        """Write in one transaction; `duplicates` are those that were filled or there already."""
        count = sum(len(one) for one in batch.readings)
        with self.connection as on:
            stored, refused = self._merge(batch, data) if count else (0, ())
            rollups.mark(on, batch.readings)
            scoring_queue.mark(on, batch.readings, hold_s=self._hold_s)
            entries = tuple(map(batch.entry, refused)) if batch.entry else ()
            new = quarantine.add(on, batch.quarantined + entries)
            offsets.advance(on, batch.group_id, batch.topic, batch.steps)
        return Written(stored=stored, duplicates=count - stored, quarantined=new, refused=refused)

    def _merge(self, batch: StoreBatch, data: bytes) -> tuple[int, tuple[Rejection, ...]]:
        on = self.connection
        with on.cursor() as cursor:
            cursor.execute(_STAGE)
            cursor.copy_expert(_COPY, BytesIO(data), size=1 << 18)
            total = cursor.rowcount
            cursor.execute(_NEW)
            stored = cursor.rowcount
        if stored == total:
            return stored, ()
        edges = [
            instant(int(edge(one.instants_us)))
            for one in batch.readings
            if len(one)
            for edge in (np.min, np.max)
        ]
        rows(on, _BY_KEY)
        filled = rows(on, _FILL, (min(edges), max(edges)))
        there = {(key, microseconds(at)): values for key, at, values in filled}
        return stored, tuple(_contradicted(batch, there))


@contextmanager
def open_store(settings: StorageSettings, mapping: Mapping | None) -> Iterator[ReadingStore]:
    """Open the store that a topic's messages need, and close it at the end.

    Raises:
        ServiceUnavailableError: The server is away.
    """
    with ReadingStore.open(settings) as plain:
        yield plain if mapping is None else MergingStore(plain.connection, hold_s=mapping.hold_s)


def _contradicted(
    batch: StoreBatch, there: dict[tuple[int, int], list[float]]
) -> Iterator[Rejection]:
    """Yield the messages that gave a value where another one is stored, each once."""
    told: set[int] = set()
    for readings, origins in zip(batch.readings, batch.origins, strict=True):
        places = zip(readings.machine_keys.tolist(), readings.instants_us.tolist(), strict=True)
        for row, place in enumerate(places):
            if place not in there:
                continue
            odd = _odd(np.array(there[place]), readings.values[row], origins[row])
            names = readings.machine_class.sensor_names
            for index in sorted(set(odd.values()) - told):
                told.add(index)
                columns = [at for at, source in odd.items() if source == index]
                yield clash(index, place[1], [names[at] for at in columns])


def _odd(
    stored: npt.NDArray[np.float64], given: npt.NDArray[np.float64], origins: npt.NDArray[np.intp]
) -> dict[int, int]:
    """Return columns whose given value is not the stored one, each with its message."""
    differs = (origins != NOBODY) & (stored[: len(given)] != given)
    return {at: int(origins[at]) for at in np.flatnonzero(differs).tolist()}
