"""SIGTERM: what is under way is stored, and the process is gone within seconds."""

import logging
from time import monotonic

from tests.faults.case import MACHINES, Case, times

_LOG = logging.getLogger(__name__)

EACH = 200_000 // MACHINES


def test_a_consumer_that_is_asked_to_end_drains_and_exits_with_0(case: Case) -> None:
    """Under full load, one after the other: none takes 20 s, and each begins where one ended."""
    case.drop_key()
    case.publish(0, EACH)
    drains, said, slowest_s = times(3, 10), [], 0.0
    for drain in range(1, drains + 1):
        with case.consumer() as consumer:
            case.reach(drain * 150_000 // drains)
            began = monotonic()
            said.append(consumer.drain(within_s=20))
            slowest_s = max(slowest_s, monotonic() - began)
    with case.consumer() as consumer:
        case.reach(EACH * MACHINES)
        said.append(consumer.drain(within_s=20))
    _LOG.info("%d drains, the slowest %.1f s", drains, slowest_s)

    assert sum(one.stored for one in said) == EACH * MACHINES
    assert sum(one.faults for one in said) == 0
    case.check(EACH)
