"""Try messages in quarantine again, after the sensor, the class or the rule was mended."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from domain.wire import RawBatch
from storage import quarantine
from storage.connect import Connection, connect, translated
from storage.intake import Intake
from storage.offsets import Topic
from storage.quarantine import Quarantined
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings

_PAGE = 500
"""Messages per transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What became of messages that were tried again.

    Attributes:
        stored: Readings that are new; a packed message brings several.
        duplicates: Readings that were there already.
        refused: Messages that are still no readings; they stay, with today's reason.
    """

    stored: int = 0
    duplicates: int = 0
    refused: int = 0


def redrive(
    settings: StorageSettings, numbers: Sequence[int] | None = None, *, now_us: int
) -> Redriven:
    """Decode waiting messages again and store those that are readings now.

    A reading arrives once however often this runs or is interrupted: its key is its machine and
    instant, and the message is marked after it was stored.

    Args:
        settings: Where the database is.
        numbers: Only these messages; None for all that wait.
        now_us: The present, microseconds UTC.

    Raises:
        NotFoundError: There is no message of a given number; nothing was done.
    """
    connection = connect(settings, application="millwright redrive")
    try:
        with translated(), connection:
            for number in numbers or ():
                quarantine.show(connection, number)
        with ReadingStore.open(settings) as store:
            intake = Intake(connection)
            total, after = Redriven(), 0
            while page := _page(connection, numbers, after):
                total = _plus(total, _again(connection, store, intake, page, now_us))
                after = page[-1].id
            return total
    finally:
        connection.close()


def _page(on: Connection, numbers: Sequence[int] | None, after: int) -> list[Quarantined]:
    with translated(), on:
        return quarantine.waiting(on, numbers, after_id=after, limit=_PAGE)


def _again(
    on: Connection, store: ReadingStore, intake: Intake, page: list[Quarantined], now_us: int
) -> Redriven:
    found = intake.sort(_raw(page), now_us=now_us)
    written = store.write(
        StoreBatch(
            group_id="redrive",
            topic=Topic(name="", id=""),
            readings=found.readings,
            quarantined=(),
            steps=(),
        )
    )
    refused = {one.index: one for one in found.rejections}
    with translated(), on:
        quarantine.mark_redriven(on, [one.id for row, one in enumerate(page) if row not in refused])
        for row, why in refused.items():
            quarantine.blame(on, page[row].id, why.reason, why.detail)
    return Redriven(stored=written.stored, duplicates=written.duplicates, refused=len(refused))


def _raw(page: list[Quarantined]) -> RawBatch:
    entries = [one.entry for one in page]
    return RawBatch(
        topic="quarantine",
        partitions=np.array([entry.partition for entry in entries], dtype=np.int32),
        offsets=np.array([entry.offset for entry in entries], dtype=np.int64),
        keys=[entry.key for entry in entries],
        values=[entry.value for entry in entries],
        headers=[[(name, value or b"") for name, value in entry.headers] for entry in entries],
    )


def _plus(one: Redriven, other: Redriven) -> Redriven:
    return Redriven(
        stored=one.stored + other.stored,
        duplicates=one.duplicates + other.duplicates,
        refused=one.refused + other.refused,
    )
