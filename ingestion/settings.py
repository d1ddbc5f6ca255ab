"""Where Kafka is and how this platform uses it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach the broker, and the bounds of a batch.

    Attributes:
        bootstrap_servers: `host:port[,host:port…]`.
        topic: Topic of the readings.
        group_id: Consumer group of the ingestion.
        partitions: Partitions of a topic that this platform creates.
        batch_size: When quiet, commit after this many readings at the latest.
        commit_interval_ms: When quiet, milliseconds from arrival to commit at the most.
        max_batch: Under load a batch grows up to this many readings.
        properties: librdkafka properties that pass through; may hold secrets, never shown.
    """

    bootstrap_servers: str
    topic: str = "machine.sensor.readings"
    group_id: str = "sensor-consumer-group"
    partitions: int = 6
    batch_size: int = 100
    commit_interval_ms: int = 5000
    max_batch: int = 10_000
    properties: tuple[tuple[str, str], ...] = field(default=(), repr=False)
