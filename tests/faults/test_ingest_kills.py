"""Consumers are killed under load, wherever they are; every reading is stored once."""

import logging
import random
from time import monotonic

import pytest

from tests.faults.case import MACHINES, Case, times
from tests.faults.consumer_process import FailPoint

_LOG = logging.getLogger(__name__)

EACH = 200_000 // MACHINES


def test_consumers_killed_under_load_lose_and_double_nothing(case: Case) -> None:
    """Kill -9 in the middle of 200,000 readings, again and again: each is stored once."""
    case.drop_key()
    case.publish(0, EACH)
    kills = times(5, 10)
    for kill in range(1, kills + 1):
        with case.consumer() as consumer:
            case.reach(kill * 150_000 // kills)
            consumer.kill()
        assert case.passed() < 200_000

    with case.consumer() as consumer:
        case.reach(200_000)
        said = consumer.drain()

    assert said.duplicates == 0
    case.check(EACH)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_kill_beside_the_commit_loses_and_doubles_nothing(case: Case, where: str) -> None:
    """Right before COMMIT nothing of it is there, right after it all of it, heard of or not."""
    kills = times(10, 50)
    # One batch cannot hold more than a share of it: every kill finds work.
    each = max(times(30_000, 200_000), 5 * kills * case.kafka.max_batch) // MACHINES
    case.drop_key()
    case.publish(0, each)
    # A member of a static name takes over from its dead self without a pause.
    kafka = case.with_properties(group_instance_id="the one")
    draw, began = random.Random(where), monotonic()
    for _ in range(kills):
        point = FailPoint(where=where, commit=draw.randint(1, 4))  # type: ignore[arg-type] # given above
        with case.consumer(point, kafka) as consumer:
            assert consumer.died() == -9
    _LOG.info("%d kills %s COMMIT in %.0f s", kills, where, monotonic() - began)

    with case.consumer(kafka=kafka) as consumer:
        case.reach(each * MACHINES)
        said = consumer.drain()

    assert said.stored > 0
    case.check(each)
