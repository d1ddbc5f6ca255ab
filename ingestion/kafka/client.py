"""What every client shares: its configuration, and how its errors become ours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from domain.errors import BadInputError, PlatformError, ServiceUnavailableError
from ingestion.settings import KafkaSettings

REQUEST_TIMEOUT_S = 10.0
"""A broker that is up answers metadata in milliseconds; longer means that it is away."""

_HINT = "Check KAFKA_BOOTSTRAP_SERVERS and that the broker is running"

# What librdkafka writes about its connections is for a log file, not for a user's terminal.
_LOG = logging.getLogger("millwright.kafka")

_CONFIGURATION = frozenset({KafkaError._INVALID_ARG, KafkaError._CONFLICT})  # noqa: SLF001 - librdkafka's local codes are public constants with an underscore


_ONLY_CONSUMERS = (
    "auto.", "enable.auto.", "fetch.", "group.", "heartbeat.", "isolation.", "max.poll.",
    "partition.assignment.", "queued.", "session.",
)  # fmt: skip
_ONLY_PRODUCERS = (
    "acks", "batch.", "compression.", "delivery.", "enable.idempotence", "linger.", "message.send.",
    "partitioner", "queue.", "request.required.", "retries", "sticky.", "transactional.",
)  # fmt: skip
"""Properties by their beginning: librdkafka warns about those that the client at hand lacks."""


def configuration(settings: KafkaSettings, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return librdkafka properties: the address, our defaults, the user's properties over both.

    Args:
        settings: With the user's properties.
        defaults: Ours for one kind of client: one with a `group.id` consumes, one with
            `enable.idempotence` produces, any other asks.
    """
    foreign = (() if "group.id" in defaults else _ONLY_CONSUMERS) + (
        () if "enable.idempotence" in defaults else _ONLY_PRODUCERS
    )
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": "millwright",
        "logger": _LOG,
        # A broker that restarts is back within seconds; the default of 10 s would double that.
        "reconnect.backoff.max.ms": 1000,
        **defaults,
        **{name: value for name, value in settings.properties if not name.startswith(foreign)},
    }


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's exceptions into ours."""
    try:
        yield
    except KafkaException as error:
        raise translate(error.args[0]) from error


def translate(error: KafkaError) -> PlatformError:
    """Return our error for one of Kafka's, by its code."""
    if error.code() in _CONFIGURATION:
        return BadInputError(error.str(), "KAFKA_* settings")
    return ServiceUnavailableError("Kafka", f"{error.name()}: {error.str()}", _HINT)


def away(reason: str) -> ServiceUnavailableError:
    """Return the error for a broker that does not answer."""
    return ServiceUnavailableError("Kafka", reason, _HINT)
