"""Try messages in quarantine again, after the sensor, the class or the rule was mended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from domain.wire import RawBatch
from storage import mappings, quarantine, scoring_queue
from storage.connect import Connection, connect, translated
from storage.mapped_intake import intake_for
from storage.merging import open_store
from storage.offsets import Topic
from storage.quarantine import Quarantined
from storage.readings import StoreBatch
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
        last_id: The last message that was tried, when there may be more behind it; None when all
            were.
    """

    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    last_id: int | None = None


def redrive(  # noqa: PLR0913 - which messages, and when
    settings: StorageSettings,
    numbers: Sequence[int] | None = None,
    *,
    now_us: int,
    reason: str | None = None,
    after_id: int = 0,
    most: int | None = None,
) -> Redriven:
    """Decode waiting messages again and store those that are readings now.

    A reading arrives once however often this runs or is interrupted: its key is its machine and
    instant, and the message is marked after it was stored. With the mark the scorer is told, for
    these readings do not pass Kafka a second time.

    Args:
        settings: Where the database is.
        numbers: Only these messages; None for all that wait.
        now_us: The present, microseconds UTC.
        reason: Only messages that broke this rule.
        after_id: Only messages with a larger number.
        most: Stop after this many; None for all.

    Raises:
        NotFoundError: There is no message of a given number; nothing was done.
    """
    connection = connect(settings, application="millwright redrive")
    try:
        with translated(), connection:
            for number in numbers or ():
                quarantine.show(connection, number)
        total = Redriven(last_id=after_id)
        left = most
        while left is None or left > 0:
            limit = _PAGE if left is None else min(_PAGE, left)
            with translated(), connection:
                page = quarantine.waiting(
                    connection, numbers, reason=reason, after_id=total.last_id or 0, limit=limit
                )
            for some in _by_topic(page):
                total = _plus(total, _again(settings, connection, some, now_us))
            left = None if left is None else left - len(page)
            if len(page) < limit:
                return replace(total, last_id=None)
        return total
    finally:
        connection.close()


def _by_topic(page: list[Quarantined]) -> list[list[Quarantined]]:
    topics = sorted({one.entry.topic for one in page})
    return [[one for one in page if one.entry.topic == topic] for topic in topics]


def _again(
    settings: StorageSettings, on: Connection, page: list[Quarantined], now_us: int
) -> Redriven:
    """Try messages of one topic, by its mapping if it has one."""
    topic = page[0].entry.topic
    with translated(), on:
        mapping = mappings.of(on, topic)
    with open_store(settings, mapping) as store:
        found = intake_for(mapping, topic)(on).sort(_raw(page), now_us=now_us)
        written = store.write(
            StoreBatch(
                group_id="redrive",
                topic=Topic(name="", id=""),
                readings=found.readings,
                quarantined=(),
                steps=(),
                origins=found.origins,
                entry=lambda one: page[one.index].entry,
            )
        )
    refused = {one.index: one for one in (*found.rejections, *written.refused)}
    with translated(), on:
        scoring_queue.mark(on, found.readings)
        quarantine.mark_redriven(on, [one.id for row, one in enumerate(page) if row not in refused])
        for row, why in refused.items():
            quarantine.blame(on, page[row].id, why.reason, why.detail)
    return Redriven(
        stored=written.stored,
        duplicates=written.duplicates,
        refused=len(refused),
        last_id=page[-1].id,
    )


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
        last_id=max(one.last_id or 0, other.last_id or 0),
    )
