"""Columns to acknowledged messages, against a bare loop that sends ready bytes."""

import time

from confluent_kafka import Producer

from benchmarks.intake import workload
from benchmarks.intake.site import Site
from ingestion.kafka import KafkaSink
from ingestion.publish import publish

_BARE = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    "linger.ms": 20,
    "batch.size": 1 << 20,
    "queue.buffering.max.messages": 200_000,
}
"""The same promises and the same size of batches as ours."""


class Producing:
    """Measures both ways with the same readings.

    Args:
        site: Where.
        count: Readings, one message each.
    """

    def __init__(self, site: Site, count: int) -> None:
        self._site, self._count, self._number = site, count, 0
        self._turns = list(workload.turns(count))
        self._pieces = [workload.piece(one) for one in self._turns]
        self._ready = [
            (workload.NAMES[one.machine].encode(), workload.json_messages(one))
            for one in self._turns
        ]

    def measure(self) -> dict[str, float | None]:
        """Return readings per second of both."""
        self._number += 1
        return {"produced": self._ours(), "produced_bare": self._bare()}

    def _ours(self) -> float:
        settings = self._site.topic(f"produced-{self._number}")
        began = time.perf_counter()
        with KafkaSink.open(settings) as sink:
            publish(self._pieces, sink, settings.topic)
        return self._count / (time.perf_counter() - began)

    def _bare(self) -> float:
        topic = self._site.topic(f"bare-{self._number}").topic
        began = time.perf_counter()
        producer = Producer(_BARE | {"bootstrap.servers": self._site.kafka})
        for key, values in self._ready:
            for value in values:
                while True:
                    try:
                        producer.produce(topic, value, key)
                    except BufferError:
                        producer.poll(0.05)
                    else:
                        break
            producer.poll(0)
        if left := producer.flush(60):
            raise TimeoutError(f"{left} messages were not acknowledged")
        return self._count / (time.perf_counter() - began)
