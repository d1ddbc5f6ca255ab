"""The client's messages as columns, and how far they move the partitions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from confluent_kafka import Message

from domain.wire import RawBatch
from storage.offsets import Advance


def steps_of(raw: RawBatch, before: Mapping[int, int]) -> tuple[Advance, ...]:
    """Return how far a batch moves each of its partitions from where they were before."""
    return tuple(
        Advance(
            partition=part,
            expected=before[part],
            next=int(raw.offsets[raw.partitions == part].max()) + 1,
        )
        for part in np.unique(raw.partitions).tolist()
    )


def columns_of(topic: str, messages: list[Message]) -> RawBatch:
    """Return what the client handed out as columns; none of it carries an error."""
    # The client's types allow text everywhere; what comes out of Kafka is bytes.
    taken: list[Any] = messages
    headers = [message.headers() for message in taken]
    return RawBatch(
        topic=topic,
        partitions=np.array([message.partition() for message in taken], np.int32),
        offsets=np.array([message.offset() for message in taken], np.int64),
        keys=[message.key() for message in taken],
        values=[message.value() for message in taken],
        headers=[_plain(one) for one in headers] if any(headers) else None,
    )


def _plain(headers: list[tuple[str, bytes | None]] | None) -> list[tuple[str, bytes]] | None:
    return None if headers is None else [(name, content or b"") for name, content in headers]
