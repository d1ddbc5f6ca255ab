"""Topics: made once, told apart by their id, and the offsets they hold."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined] # re-exported without `as`

from domain.errors import NotFoundError
from ingestion.kafka.client import REQUEST_TIMEOUT_S, away, configuration, translate, translated
from ingestion.settings import KafkaSettings
from storage.offsets import Topic

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call] # the client's gap
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the client's gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What Kafka holds of one partition: offsets from `earliest` up to but without `end`."""

    earliest: int
    end: int


def ensure_topic(
    settings: KafkaSettings, name: str | None = None, *, config: Mapping[str, str] | None = None
) -> Topic:
    """Create a topic unless it is there; an existing one is left as it is.

    Args:
        settings: Where Kafka is; its `partitions` count for a new topic.
        name: The topic of the readings by default.
        config: Properties of a new topic, such as `retention.ms`.

    Raises:
        ServiceUnavailableError: Kafka is away or does not allow it.
    """
    wanted = name or settings.topic
    # Replication as the broker's administrator chose it: -1 takes `default.replication.factor`.
    new = NewTopic(
        wanted,
        num_partitions=settings.partitions,
        replication_factor=-1,
        config=dict(config or {}),
    )
    with _admin(settings) as admin:
        future = admin.create_topics([new], request_timeout=REQUEST_TIMEOUT_S)[wanted]
        try:
            future.result(2 * REQUEST_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise translate(error.args[0]) from error
        return _awaited(admin, wanted)


def find_topic(settings: KafkaSettings, name: str | None = None) -> Topic:
    """Return a topic with the id Kafka gave it.

    Raises:
        NotFoundError: There is none of that name.
        ServiceUnavailableError: Kafka is away.
    """
    with _admin(settings) as admin:
        return _described(admin, name or settings.topic)[0]


def held(
    settings: KafkaSettings, name: str | None = None, partitions: Iterable[int] | None = None
) -> dict[int, Held]:
    """Return what Kafka holds of each partition of a topic, all of them by default.

    Raises:
        NotFoundError: There is no such topic.
        ServiceUnavailableError: Kafka is away.
    """
    wanted = name or settings.topic
    with _admin(settings) as admin:
        numbers = _described(admin, wanted)[1] if partitions is None else list(partitions)
        earliest = _offsets(admin, wanted, numbers, _EARLIEST)
        ends = _offsets(admin, wanted, numbers, _LATEST)
    return {number: Held(earliest=earliest[number], end=ends[number]) for number in numbers}


@contextmanager
def _admin(settings: KafkaSettings) -> Iterator[AdminClient]:
    with translated():
        try:
            yield AdminClient(configuration(settings, {}))
        except TimeoutError as error:
            raise away(f"{settings.bootstrap_servers} does not answer") from error


def _awaited(admin: AdminClient, name: str) -> Topic:
    # The controller says that a topic is made before the broker at hand has heard of it.
    deadline = monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return _described(admin, name)[0]
        except NotFoundError:
            if monotonic() > deadline:
                raise
            sleep(0.05)


def _described(admin: AdminClient, name: str) -> tuple[Topic, list[int]]:
    future = admin.describe_topics(TopicCollection([name]), request_timeout=REQUEST_TIMEOUT_S)
    try:
        found = _result(future[name])
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise NotFoundError("Kafka topic", name, "`millwright up` creates it") from error
        raise
    return Topic(name=name, id=str(found.topic_id)), [part.id for part in found.partitions]


def _offsets(
    admin: AdminClient, topic: str, partitions: list[int], spec: OffsetSpec
) -> dict[int, int]:
    if not partitions:
        return {}
    futures = admin.list_offsets(
        {TopicPartition(topic, number): spec for number in partitions},
        request_timeout=REQUEST_TIMEOUT_S,
    )
    return {part.partition: int(_result(future).offset) for part, future in futures.items()}


def _result(future: Future[Any]) -> Any:
    return future.result(2 * REQUEST_TIMEOUT_S)
