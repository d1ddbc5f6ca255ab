"""The actor that brings readings from Kafka to Postgres."""

from domain.mapping import Mapping
from ingestion.consume import Ingestion
from ingestion.settings import KafkaSettings
from ray_app.metrics import process_metrics
from storage.settings import StorageSettings


class ConsumerActor:
    """Keeps one ingestion loop alive; decides nothing itself.

    A plain class: `ray_app.cluster` makes it an actor with two threads, so that `stop` is heard
    while `run` runs. Only settings cross into the process; clients are opened inside.

    Args:
        kafka: Where Kafka is, which topic and group.
        storage: Where Postgres is.
        worker: Name of this consumer, unique in the platform.
        mapping: How to read a topic of another shape; None reads the platform's own.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        storage: StorageSettings,
        worker: str,
        mapping: Mapping | None = None,
    ) -> None:
        self._ingestion = Ingestion(
            kafka, storage, worker=worker, metrics=process_metrics(), mapping=mapping
        )

    def run(self) -> int:
        """Ingest until stopped; return how many readings were new.

        Raises:
            OffsetsLostError: Kafka dropped messages before they were stored; the gap is named.
            PlatformError: Something that waiting does not mend.
        """
        return self._ingestion.run().stored

    def stop(self) -> None:
        """Let what is under way be stored, then end `run`."""
        self._ingestion.stop()
