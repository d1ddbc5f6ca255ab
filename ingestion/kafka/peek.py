"""A look at what a topic holds, without a group and without leaving a trace."""

from time import monotonic
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from domain.wire import RawBatch
from ingestion.kafka.admin import held
from ingestion.kafka.client import away, configuration, translate, translated
from ingestion.kafka.messages import columns_of
from ingestion.settings import KafkaSettings

# A consumer must name a group; nothing is joined or committed by assigning partitions by hand.
_DEFAULTS: dict[str, Any] = {
    "group.id": "millwright-peek",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "enable.partition.eof": False,
    "fetch.wait.max.ms": 50,
}


def peek(settings: KafkaSettings, most: int, *, timeout_s: float = 20.0) -> RawBatch:
    """Return the oldest messages that a topic holds, fewer where there are not so many.

    Args:
        settings: Where Kafka is, and which topic.
        most: At most this many, of all partitions as they come.
        timeout_s: Give up after so long.

    Raises:
        NotFoundError: There is no such topic.
        ServiceUnavailableError: Kafka is away or too slow.
    """
    ranges = held(settings)
    # Transactions leave marks that take an offset and are no message: the end is a place, not a
    # count, so what counts is where the reader stands.
    ends = {part: one.end for part, one in ranges.items() if one.end > one.earliest}
    taken: list[Any] = []
    deadline = monotonic() + timeout_s
    with translated():
        consumer = Consumer(configuration(settings, _DEFAULTS))
        try:
            consumer.assign(
                [TopicPartition(settings.topic, part, ranges[part].earliest) for part in ends]
            )
            while len(taken) < most and not _at_end(consumer, settings.topic, ends):
                taken += _good(consumer.consume(most - len(taken), 0.2))
                if monotonic() > deadline:
                    raise away(f"{settings.topic} was not read within {timeout_s:.0f} s")
        finally:
            consumer.close()
    return columns_of(settings.topic, taken)


def _at_end(consumer: Consumer, topic: str, ends: dict[int, int]) -> bool:
    places = consumer.position([TopicPartition(topic, part) for part in ends])
    return all(place.offset >= ends[place.partition] for place in places)


def _good(messages: list[Any]) -> list[Any]:
    for message in messages:
        if message.error() is not None:
            raise translate(message.error())
    return messages
