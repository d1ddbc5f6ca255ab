"""Postgres and Kafka are killed under load and waited for; every reading is stored once."""

import logging
import signal
from time import monotonic

from ingestion.consume import Ingestion
from tests.faults.case import MACHINES, Case, times
from tests.faults.services import Services
from tests.ingest_support import running, until

_LOG = logging.getLogger(__name__)

WRITING_AGAIN_S = 10.0
"""From the server's death to the first commit after it, its start included."""

EACH = 2_000
"""Readings of each machine that are on their way at a death."""


def test_a_death_of_postgres_is_waited_for(case: Case, services: Services) -> None:
    """Its sessions and its last commits are gone; nothing is lost, nothing is quarantined.

    After an immediate restart it is written to again within seconds. A postmaster that was killed
    leaves sessions behind, which have to notice before the next one may start.
    """
    deaths = [signal.SIGQUIT] * times(1, 5) + [signal.SIGKILL]
    case.drop_key()
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        for number, death in enumerate(deaths):
            case.publish(number * 2 * EACH, EACH)
            until(lambda start=number: ingestion.totals.consumed > start * 2 * EACH * MACHINES)  # type: ignore[misc] # bound now
            began = monotonic()
            services.kill_postgres(death)
            back = case.passed()
            case.publish((number * 2 + 1) * EACH, EACH)
            case.reach(back + 1)
            took_s = monotonic() - began
            _LOG.info("writing again %.1f s after %s", took_s, death.name)
            assert took_s < WRITING_AGAIN_S or death is signal.SIGKILL
            case.reach((number + 1) * 2 * EACH * MACHINES)

    assert ingestion.totals.faults >= len(deaths)
    case.check(len(deaths) * 2 * EACH)


def test_a_crash_of_the_broker_is_waited_for(case: Case, services: Services) -> None:
    """The broker is killed with -9 under load: reading goes on, nothing is quarantined."""
    kills = times(1, 5)
    case.drop_key()
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        for kill in range(kills):
            case.publish(kill * 2 * EACH, EACH)
            until(lambda start=kill: ingestion.totals.consumed > start * 2 * EACH * MACHINES)  # type: ignore[misc] # bound now
            began = monotonic()
            services.kill_kafka()
            case.publish((kill * 2 + 1) * EACH, EACH)
            case.reach((kill + 1) * 2 * EACH * MACHINES, 90)
            _LOG.info("all stored %.1f s after kill %d", monotonic() - began, kill + 1)

    case.check(kills * 2 * EACH)
