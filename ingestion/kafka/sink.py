"""The way into Kafka: idempotent, acknowledged by all replicas, errors counted by report."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from domain.wire.raw import Headers
from ingestion.kafka.client import away, configuration, translate, translated
from ingestion.settings import KafkaSettings

_DEFAULTS: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    # Waits this long for a batch to fill: latency that nobody sees, for a quarter of the requests.
    "linger.ms": 20,
    "batch.size": 1 << 20,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 128 * 1024,
    # As Java's producer chooses it: a machine keeps its partition whoever produces for it.
    "partitioner": "murmur2_random",
    # A report for every message would cost a Python call each; those that fail are enough.
    "delivery.report.only.error": True,
}


class KafkaSink:
    """Sends messages; for one thread.

    Args:
        producer: A configured client.
        errors: Where its delivery reports put what failed.
    """

    def __init__(self, producer: Producer, errors: "_Errors") -> None:
        self._producer, self._errors = producer, errors
        self._queued = 0

    @classmethod
    @contextmanager
    def open(
        cls, settings: KafkaSettings, *, client_id: str = "millwright producer"
    ) -> Iterator[Self]:
        """Open a client; at the end wait until everything is delivered.

        Raises:
            ServiceUnavailableError: At the end messages were left that Kafka did not take.
        """
        errors = _Errors()
        with translated():
            producer = Producer(
                configuration(
                    settings, {**_DEFAULTS, "client.id": client_id, "on_delivery": errors.report}
                )
            )
        sink = cls(producer, errors)
        yield sink
        sink.flush()

    @property
    def failed(self) -> int:
        """Messages whose delivery report was an error, so far."""
        return self._errors.count

    @property
    def delivered(self) -> int:
        """Messages that Kafka acknowledged, so far."""
        return self._queued - len(self._producer) - self._errors.count

    def send(
        self,
        topic: str,
        key: bytes | None,
        values: Sequence[bytes],
        headers: Headers | None = None,
    ) -> None:
        """Queue messages of one key in order, each with the headers; waits while the queue is full.

        Raises:
            ServiceUnavailableError: The client can never send again: open a new one.
        """
        produce = self._producer.produce
        for value in values:
            try:
                if headers is None:
                    produce(topic, value, key)
                else:
                    produce(topic, value, key, headers=[*headers])
            except BufferError:
                self._send_when_free(topic, key, value, headers)
            except KafkaException as error:
                raise translate(error.args[0]) from error
        self._queued += len(values)
        self._producer.poll(0)
        self._errors.raise_if_fatal()

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until Kafka acknowledged everything.

        Raises:
            ServiceUnavailableError: It did not within the time.
        """
        left = self._producer.flush(timeout_s)
        if left:
            raise away(f"{left} messages were not acknowledged within {timeout_s:.0f} s")
        self._errors.raise_if_fatal()

    def _send_when_free(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Headers | None,
        patience_s: float = 60,
    ) -> None:
        deadline = monotonic() + patience_s
        while True:
            self._producer.poll(0.05)
            try:
                self._producer.produce(topic, value, key, headers=[*(headers or ())])
            except BufferError:
                if monotonic() > deadline:
                    raise away(f"its queue has been full for {patience_s:.0f} s") from None
            else:
                return


class _Errors:
    """What delivery reports said."""

    def __init__(self) -> None:
        self.count = 0
        self._fatal: KafkaError | None = None

    def report(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002 - the client's signature
        if error is not None:
            self.count += 1
            if error.fatal():
                self._fatal = error

    def raise_if_fatal(self) -> None:
        if self._fatal is not None:
            raise translate(self._fatal)
