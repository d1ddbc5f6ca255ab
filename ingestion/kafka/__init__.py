"""Kafka: nothing outside this package imports its client."""

from ingestion.kafka.admin import Held, ensure_topic, find_topic, held
from ingestion.kafka.messages import steps_of
from ingestion.kafka.peek import peek
from ingestion.kafka.sink import KafkaSink
from ingestion.kafka.source import KafkaSource, Messages, Positions

__all__ = [
    "Held",
    "KafkaSink",
    "KafkaSource",
    "Messages",
    "Positions",
    "ensure_topic",
    "find_topic",
    "held",
    "peek",
    "steps_of",
]
