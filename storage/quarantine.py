"""Messages that are no readings, kept with reason, place and raw bytes until someone mends them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2 import Binary
from psycopg2.extras import Json, execute_values

from domain.errors import NotFoundError
from storage.connect import Connection, rows, translated

type Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message on its way into quarantine.

    Attributes:
        topic_id: UUID of its topic.
        topic: Name of its topic.
        partition: Where it lies in Kafka.
        offset: Where it lies in Kafka.
        reason: The rule it broke, one of a closed set.
        detail: The same in words a sensor's owner understands.
        key: Raw bytes.
        value: Raw bytes; None is a tombstone.
        headers: Names and raw bytes.
    """

    topic_id: str
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message in quarantine.

    Attributes:
        id: Its number, ascending by arrival.
        entry: The message and what is wrong with it.
        quarantined_at: When it came in, UTC.
        redriven_at: When it was stored after all, UTC; None while it was not.
    """

    id: int
    entry: Entry
    quarantined_at: datetime
    redriven_at: datetime | None

    @property
    def place(self) -> str:
        """Where the bytes are, as topic[partition]@offset."""
        return f"{self.entry.topic}[{self.entry.partition}]@{self.entry.offset}"


def add(on: Connection, entries: Sequence[Entry]) -> int:
    """Keep messages, each once however often it is delivered; return how many are new."""
    if not entries:
        return 0
    with translated(), on.cursor() as cursor:
        kept = execute_values(
            cursor,
            "INSERT INTO quarantine "
            '(topic_id, topic, partition, "offset", reason, detail, key, value, headers) '
            "VALUES %s ON CONFLICT DO NOTHING RETURNING 1",
            [_row(entry) for entry in entries],
            fetch=True,
        )
    return len(kept)


def listed(
    on: Connection,
    *,
    reason: str | None = None,
    open_only: bool = True,
    before_id: int | None = None,
    limit: int = 100,
) -> list[Quarantined]:
    """Return messages, newest first.

    Args:
        on: A session.
        reason: Only those that broke this rule.
        open_only: Leave out what was re-driven.
        before_id: Cursor: only messages with a smaller number.
        limit: At most this many.
    """
    found = rows(
        on,
        _SELECT + "WHERE (%(reason)s::text IS NULL OR reason = %(reason)s) "
        "AND (NOT %(open)s OR redriven_at IS NULL) "
        "AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s",
        {"reason": reason, "open": open_only, "before": before_id, "limit": limit},
    )
    return [_quarantined(row) for row in found]


def show(on: Connection, number: int) -> Quarantined:
    """Return one message.

    Raises:
        NotFoundError: There is none of that number.
    """
    found = rows(on, _SELECT + "WHERE id = %s", (number,))
    if not found:
        raise NotFoundError(
            "message in quarantine", str(number), "`millwright quarantine list` shows them"
        )
    return _quarantined(found[0])


def counts(on: Connection) -> dict[str, int]:
    """Return how many messages wait in quarantine, by reason."""
    return dict(
        rows(
            on,
            "SELECT reason, count(*) FROM quarantine WHERE redriven_at IS NULL "
            "GROUP BY reason ORDER BY reason",
        )
    )


def waiting(
    on: Connection,
    numbers: Sequence[int] | None,
    *,
    reason: str | None = None,
    after_id: int,
    limit: int,
) -> list[Quarantined]:
    """Return messages that were not re-driven, oldest first.

    Args:
        on: A session.
        numbers: Only these; None for all.
        reason: Only those that broke this rule.
        after_id: Only messages with a larger number.
        limit: At most this many.
    """
    found = rows(
        on,
        _SELECT + "WHERE redriven_at IS NULL AND id > %s "
        "AND (%s::bigint[] IS NULL OR id = ANY(%s::bigint[])) "
        "AND (%s::text IS NULL OR reason = %s) ORDER BY id LIMIT %s",
        (
            after_id,
            *([list(numbers) if numbers is not None else None] * 2),
            *([reason] * 2),
            limit,
        ),
    )
    return [_quarantined(row) for row in found]


def mark_redriven(on: Connection, numbers: Sequence[int]) -> None:
    """Say that messages were stored after all."""
    rows(
        on,
        "UPDATE quarantine SET redriven_at = clock_timestamp() WHERE id = ANY(%s::bigint[])",
        (list(numbers),),
    )


def blame(on: Connection, number: int, reason: str, detail: str) -> None:
    """Say anew what is wrong with a message that was tried again."""
    rows(
        on,
        "UPDATE quarantine SET reason = %s, detail = %s WHERE id = %s",
        (reason, _text(detail), number),
    )


_SELECT = (
    'SELECT id, topic_id, topic, partition, "offset", reason, detail, key, value, headers, '
    "quarantined_at, redriven_at FROM quarantine "
)


def _row(entry: Entry) -> tuple[Any, ...]:
    headers = [
        [_text(name), None if value is None else base64.b64encode(value).decode()]
        for name, value in entry.headers
    ]
    return (
        entry.topic_id,
        entry.topic,
        entry.partition,
        entry.offset,
        entry.reason,
        _text(entry.detail),
        None if entry.key is None else Binary(entry.key),
        None if entry.value is None else Binary(entry.value),
        Json(headers),
    )


def _quarantined(row: tuple[Any, ...]) -> Quarantined:
    number, topic_id, topic, partition, offset, reason, detail, key, value, headers, came, done = (
        row
    )
    return Quarantined(
        id=number,
        entry=Entry(
            topic_id=topic_id,
            topic=topic,
            partition=partition,
            offset=offset,
            reason=reason,
            detail=detail,
            key=None if key is None else bytes(key),
            value=None if value is None else bytes(value),
            headers=tuple(
                (name, None if coded is None else base64.b64decode(coded))
                for name, coded in headers
            ),
        ),
        quarantined_at=came,
        redriven_at=done,
    )


def _text(words: str) -> str:
    # What a poisonous message says of itself may hold what Postgres's text cannot: NUL and lone
    # surrogates. The raw bytes are kept beside it, so nothing is lost.
    return words.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
