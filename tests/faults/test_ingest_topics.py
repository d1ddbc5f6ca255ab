"""The topic changes under the consumer: a gap, a topic made anew, more partitions."""

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined] # re-exported without `as`

from domain.errors import NotFoundError, OffsetsLostError
from ingestion.consume import Ingestion
from ingestion.gaps import accept_gaps
from ingestion.kafka import ensure_topic, find_topic, held
from tests.faults.case import MACHINES, Case
from tests.ingest_support import running, stored, until


def test_a_gap_in_kafka_is_told_and_never_skipped(case: Case) -> None:
    """Messages that retention took before they were stored are named, offset by offset."""
    case.publish(0, 100)
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        until(lambda: ingestion.totals.consumed == 100 * MACHINES)
    before = case.passed()
    case.publish(100, 100)
    _delete_records(case)

    with pytest.raises(OffsetsLostError, match="lost offsets"):
        Ingestion(case.kafka, case.storage).run()

    assert case.passed() == before
    gone = accept_gaps(case.kafka, case.storage)
    assert sum(one.lost for one in gone) == 100 * MACHINES
    assert accept_gaps(case.kafka, case.storage) == []
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(200, 10)
        until(lambda: ingestion.totals.stored == 10 * MACHINES)


def test_a_topic_made_anew_is_read_from_its_beginning(case: Case) -> None:
    """Under its old name and longer than it was: offsets of the old one are not taken for its."""
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(0, 200)
        case.reach(200 * MACHINES)
        admin = _admin(case)
        _result(admin.delete_topics([case.topic.name])[case.topic.name])
        until(lambda: _is_another(case))
        case.publish(200, 800)
        until(lambda: stored(case.storage) == 1000 * MACHINES, 90)

    assert ingestion.totals.faults >= 1
    assert case.passed() == 200 * MACHINES
    case.check(1000)


def test_partitions_added_while_it_runs_are_read_from_their_beginning(case: Case) -> None:
    """What was sent to a new partition before the consumer heard of it is stored as well."""
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(0, 100)
        case.reach(100 * MACHINES)
        more = NewPartitions(case.topic.name, 2 * case.kafka.partitions)
        admin = _admin(case)
        _result(admin.create_partitions([more])[case.topic.name])
        case.publish(100, 400)
        case.reach(500 * MACHINES)

    new = range(case.kafka.partitions, 2 * case.kafka.partitions)
    assert sum(held(case.kafka, partitions=new)[part].end for part in new) > 0
    assert ingestion.totals.duplicates == 0
    case.check(500)


def _is_another(case: Case) -> bool:
    # The consumer makes it anew as well; whoever comes first.
    try:
        return find_topic(case.kafka).id != case.topic.id
    except NotFoundError:
        return ensure_topic(case.kafka).id != case.topic.id


def _delete_records(case: Case) -> None:
    """Let Kafka drop everything it holds."""
    ends = {part: one.end for part, one in held(case.kafka).items()}
    # A client that is let go forgets what it was asked.
    admin = _admin(case)
    futures = admin.delete_records(
        [TopicPartition(case.kafka.topic, part, end) for part, end in ends.items()]
    )
    for future in futures.values():
        _result(future)


def _admin(case: Case) -> AdminClient:
    return AdminClient({"bootstrap.servers": case.kafka.bootstrap_servers})


def _result(future: Future[Any]) -> Any:
    return future.result(20)
