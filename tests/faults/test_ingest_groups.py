"""Members that freeze, come, go, and do not know of each other; every reading is stored once."""

import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from time import monotonic

import psutil
import pytest
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from ingestion.consume import Ingestion
from ingestion.settings import KafkaSettings
from tests.faults.case import MACHINES, NIGHTLY, Case, times
from tests.faults.consumer_process import Consumer, FailPoint
from tests.ingest_support import running, until

_LOG = logging.getLogger(__name__)


def _is_frozen(consumer: Consumer) -> bool:
    return psutil.Process(consumer.process.pid).status() == psutil.STATUS_STOPPED


@pytest.mark.parametrize(
    "where", ["copy", "admit", "before", "after"] if NIGHTLY else ["copy", "admit"]
)
def test_a_frozen_consumer_holds_nobody_up_and_writes_nothing_stale(case: Case, where: str) -> None:
    """SIGSTOP for longer than the session timeout: the group goes on, the sleeper is refused.

    What it has locked in the database, rows of the offsets, keys of the readings or names of new
    machines, is given up.
    """
    if where != "copy":
        case.drop_key()
    case.publish(0, 1000)
    commit = 1 if where == "admit" else 2
    point = FailPoint(where=where, commit=commit, signal=signal.SIGSTOP)  # type: ignore[arg-type] # given above
    with ExitStack() as stack:
        # Whole batches: what was sent of one is more than the server keeps back before it inserts.
        whole = replace(case.kafka, batch_size=2000, commit_interval_ms=1000)
        sleeper = stack.enter_context(case.consumer(point, whole))
        until(lambda: _is_frozen(sleeper))
        assert case.passed() < 1000 * MACHINES
        began = monotonic()
        other = stack.enter_context(running(Ingestion(case.kafka, case.storage)))
        case.reach(1000 * MACHINES)
        _LOG.info("frozen %s: the rest stored %.1f s later", where, monotonic() - began)
        sleeper.send_signal(signal.SIGCONT)
        case.publish(1000, 500)
        case.reach(1500 * MACHINES)
        said = sleeper.drain()

    assert said.faults >= 1
    assert said.duplicates == other.totals.duplicates == 0
    case.check(1500)


@pytest.mark.parametrize("known", [True, False])
def test_the_same_group_deployed_twice_stores_once(case: Case, *, known: bool) -> None:
    """Two deployments of two share the work; or fight for it where Kafka knows two groups."""
    each = times(50_000, 200_000) // MACHINES
    case.drop_key()
    second = case.kafka if known else case.with_properties(group_id=f"{case.kafka.group_id}-b")
    with ExitStack() as stack:
        members = [
            stack.enter_context(case.consumer(kafka=kafka))
            for kafka in (case.kafka, case.kafka, second, second)
        ]
        case.publish(0, each)
        case.reach(each * MACHINES, 120)
        said = [member.drain() for member in members]

    refused = sum(one.faults for one in said)
    _LOG.info("two deployments, known to Kafka: %s; batches refused: %d", known, refused)
    case.check(each)
    assert sum(one.stored for one in said) == each * MACHINES
    assert known or refused


@pytest.mark.nightly
def test_members_that_come_and_go_cost_less_than_half_of_the_rate(case: Case) -> None:
    """Joins and leaves over a backlog, with nobody beside: half as fast at the least."""
    joins, each = times(2, 10), times(150_000, 1_200_000)
    case.drop_key()
    for first in range(0, each, 10_000):
        case.publish(first, 10_000)
    quick = case.with_properties(heartbeat_interval_ms="200")
    with case.consumer(kafka=quick) as stayer:
        steady = _rate(case, lambda: case.reach(case.passed() + each * MACHINES // 10))
        moved = _rate(case, lambda: _come_and_go(case, quick, joins))
        left = each * MACHINES - case.passed()
        case.reach(each * MACHINES, 300)
        said = stayer.drain()
    _LOG.info("%d moves: %.0f readings/s, steady %.0f, %d left", 2 * joins, moved, steady, left)

    assert left > 0, "the backlog ended before the moves did: the rate says nothing"
    assert moved > 0.5 * steady
    assert (said.faults, said.duplicates) == (0, 0)
    case.check(each)


def _rate(case: Case, work: Callable[[], None]) -> float:
    """Return readings per second that are stored while something goes on."""
    case.reach(case.passed() + 1)
    before, began = case.passed(), monotonic()
    work()
    return (case.passed() - before) / (monotonic() - began)


def _come_and_go(case: Case, kafka: KafkaSettings, joins: int) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for _ in range(joins):
        with case.consumer(kafka=kafka) as visitor:
            until(lambda: _members(admin, kafka.group_id) == 2)
            visitor.drain()
        until(lambda: _members(admin, kafka.group_id) == 1)


def _members(admin: AdminClient, group: str) -> int:
    """Return how many members share the partitions; 0 while they are about to."""
    found = admin.describe_consumer_groups([group])[group].result(10)
    return len(found.members) if found.state is ConsumerGroupState.STABLE else 0
