"""Topics of other shapes: the settings that read them, and what a mapping would make of them."""

from dataclasses import dataclass, replace

import numpy as np

from domain.errors import BadInputError, NotFoundError
from domain.mapping import Gathered, Mapping, gather, translate
from domain.wire import RawBatch
from ingestion.kafka import find_topic, peek
from ingestion.settings import KafkaSettings
from storage.offsets import Topic


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """What the first messages of a topic would become; nothing was stored.

    Attributes:
        messages: As they are in Kafka.
        found: Their readings and refusals.
        ignored: Messages that the mapping leaves out.
    """

    messages: RawBatch
    found: Gathered
    ignored: int


def settings_for(kafka: KafkaSettings, mapping: Mapping, topic: str | None) -> KafkaSettings:
    """Return what `reading` returns, once the topic is there.

    Raises:
        BadInputError: No topic is named, or it is the platform's own.
        NotFoundError: There is none of that name; a foreign topic is never created.
    """
    found = reading(kafka, mapping, topic)
    find_foreign(found)
    return found


def find_foreign(kafka: KafkaSettings) -> Topic:
    """Return a topic that is its owner's to make.

    Raises:
        NotFoundError: There is none of that name.
        ServiceUnavailableError: Kafka is away.
    """
    try:
        return find_topic(kafka)
    except NotFoundError as error:
        hint = "A topic of yours is never created here: check its name"
        raise NotFoundError("Kafka topic", kafka.topic, hint) from error


def reading(kafka: KafkaSettings, mapping: Mapping, topic: str | None) -> KafkaSettings:
    """Return settings that read a foreign topic in a group of its own.

    A stream of single values is gathered for the mapping's wait before it is stored, so that the
    parts of a reading usually come together.

    Args:
        kafka: The platform's own.
        mapping: How the messages are read.
        topic: Its name; the mapping's by default.

    Raises:
        BadInputError: No topic is named, or it is the platform's own.
    """
    name = topic or mapping.topic
    if name is None:
        raise BadInputError(
            "no topic is named", "--topic", "Give it here or as `topic` in the file"
        )
    if name == kafka.topic:
        raise BadInputError(
            f"{name} is the platform's own topic, which is read without a mapping", "--topic"
        )
    found = replace(kafka, topic=name, group_id=f"{kafka.group_id}-{name}")
    if mapping.pivot is not None:
        wait_ms = max(1, round(mapping.pivot.wait_s * 1000))
        found = replace(found, batch_size=found.max_batch, commit_interval_ms=wait_ms)
    return found


def preview(kafka: KafkaSettings, mapping: Mapping, most: int, *, now_us: int) -> Preview:
    """Return what the first messages of a topic would become.

    Args:
        kafka: As `settings_for` returns them.
        mapping: How the messages are read.
        most: At most this many messages.
        now_us: The present, microseconds UTC.

    Raises:
        ServiceUnavailableError: Kafka is away.
    """
    messages = peek(kafka, most)
    # By partition and offset: shown in the order in which each was written.
    order = np.lexsort((messages.offsets, messages.partitions))
    messages = messages.take(order)
    read = translate(messages, mapping, now_us=now_us)
    return Preview(
        messages=messages, found=gather(read, mapping.sensor_names), ignored=read.ignored
    )
