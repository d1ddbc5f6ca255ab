"""How far a group is behind Kafka, and what Kafka dropped before it was stored."""

from dataclasses import dataclass

from ingestion.kafka import find_topic, held
from ingestion.settings import KafkaSettings
from storage import offsets
from storage.connect import session
from storage.settings import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a group stands in one partition.

    Attributes:
        partition: Its number.
        next: The offset that is stored as next; None before the first assignment.
        earliest: The first offset Kafka holds.
        end: The offset the next message will get.
    """

    partition: int
    next: int | None
    earliest: int
    end: int

    @property
    def lag(self) -> int:
        """Messages in Kafka that were not taken yet."""
        return self.end - max(self.earliest, self.next or 0)

    @property
    def lost(self) -> int:
        """Offsets that left Kafka before they were taken."""
        return 0 if self.next is None else max(0, self.earliest - self.next)


def standings(kafka: KafkaSettings, storage: StorageSettings) -> list[Standing]:
    """Return where the group of the settings stands, by partition.

    Raises:
        NotFoundError: There is no such topic.
        ServiceUnavailableError: Kafka or Postgres is away.
    """
    topic = find_topic(kafka)
    ranges = held(kafka)
    with session(storage) as on:
        stored = offsets.stored_positions(on, kafka.group_id, topic)
    return [
        Standing(partition=part, next=stored.get(part), earliest=one.earliest, end=one.end)
        for part, one in sorted(ranges.items())
    ]


def accept_gaps(kafka: KafkaSettings, storage: StorageSettings) -> list[Standing]:
    """Move a group over what Kafka dropped, since a person said that it may be lost.

    Returns:
        The partitions that were moved, as they stood before.

    Raises:
        NotFoundError: There is no such topic.
        ServiceUnavailableError: Kafka or Postgres is away.
    """
    topic = find_topic(kafka)
    gone = [one for one in standings(kafka, storage) if one.lost]
    with session(storage) as on:
        return [
            one
            for one in gone
            if offsets.accept_gap(on, kafka.group_id, topic, one.partition, one.earliest)
        ]
