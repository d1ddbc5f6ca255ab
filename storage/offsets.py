"""How far a consumer group has come, kept beside what it wrote, so that both move as one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from domain.errors import PartitionLostError
from storage.connect import Connection, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as Kafka knows it.

    Attributes:
        name: Its name.
        id: Its UUID: a topic made anew under the old name is another one.
    """

    name: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One step of one partition.

    Attributes:
        partition: Its number.
        expected: The offset that was next before this step.
        next: The offset that is next after it.
    """

    partition: int
    expected: int
    next: int


def positions(
    on: Connection, group_id: str, topic: Topic, start: Mapping[int, int]
) -> dict[int, int]:
    """Return the next offset of each partition; one that has none begins where `start` says.

    Args:
        on: A session.
        group_id: Consumer group.
        topic: Whose partitions.
        start: Partition to the offset a new group begins at.
    """
    rows(
        on,
        "INSERT INTO consumer_offsets (group_id, topic_id, topic, partition, next) "
        "SELECT %s, %s, %s, * FROM unnest(%s::integer[], %s::bigint[]) ON CONFLICT DO NOTHING",
        (group_id, topic.id, topic.name, list(start), list(start.values())),
    )
    stored = stored_positions(on, group_id, topic)
    return {partition: stored[partition] for partition in start}


def stored_positions(on: Connection, group_id: str, topic: Topic) -> dict[int, int]:
    """Return the next offset of every partition the group has ever had."""
    found = rows(
        on,
        "SELECT partition, next FROM consumer_offsets WHERE group_id = %s AND topic_id = %s",
        (group_id, topic.id),
    )
    return dict(found)


# Locked in the order of partitions first. What another consumer has moved meanwhile is looked at
# again as it is now (READ COMMITTED), and then has another `next` than the expected one.
_ADVANCE = """
WITH steps AS (
    SELECT * FROM unnest(%(partitions)s::integer[], %(expected)s::bigint[], %(next)s::bigint[])
        AS step (partition, expected, next)
), held AS MATERIALIZED (
    SELECT partition FROM consumer_offsets
    WHERE group_id = %(group)s AND topic_id = %(topic)s AND partition = ANY (%(partitions)s)
    ORDER BY partition FOR UPDATE
)
UPDATE consumer_offsets AS mine SET next = steps.next, updated_at = clock_timestamp()
FROM steps JOIN held USING (partition)
WHERE mine.group_id = %(group)s AND mine.topic_id = %(topic)s
    AND mine.partition = steps.partition AND mine.next = steps.expected
RETURNING mine.partition
"""


def advance(on: Connection, group_id: str, topic: Topic, steps: Iterable[Advance]) -> None:
    """Move partitions on, each only from where this consumer believed it to be.

    Args:
        on: The session that also wrote what lies between the offsets.
        group_id: Consumer group.
        topic: Whose partitions.
        steps: At most one per partition; taken in the order of partitions, so that two consumers
            never wait for each other in a circle.

    Raises:
        PartitionLostError: Another consumer moved one of them; roll back and rejoin.
    """
    ordered = sorted(steps, key=lambda one: one.partition)
    moved = rows(
        on,
        _ADVANCE,
        {
            "group": group_id,
            "topic": topic.id,
            "partitions": [step.partition for step in ordered],
            "expected": [step.expected for step in ordered],
            "next": [step.next for step in ordered],
        },
    )
    done = {partition for (partition,) in moved}
    for step in ordered:
        if step.partition not in done:
            raise PartitionLostError(topic.name, step.partition, step.expected)


def accept_gap(on: Connection, group_id: str, topic: Topic, partition: int, earliest: int) -> bool:
    """Skip messages that Kafka no longer holds; return whether the partition was moved on."""
    moved = rows(
        on,
        "UPDATE consumer_offsets SET next = %s, updated_at = clock_timestamp() "
        "WHERE group_id = %s AND topic_id = %s AND partition = %s AND next < %s RETURNING 1",
        (earliest, group_id, topic.id, partition, earliest),
    )
    return bool(moved)
