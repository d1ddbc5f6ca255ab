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


def test_an_immediate_restart_of_postgres_is_waited_for(case: Case, services: Services) -> None:
    """The server loses all its sessions and its last commits: writing goes on within seconds."""
    restarts = times(2, 5)
    case.drop_key()
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        for restart in range(restarts):
            case.publish(restart * 2 * EACH, EACH)
            until(lambda start=restart: ingestion.totals.consumed > start * 2 * EACH * MACHINES)  # type: ignore[misc] # bound now
            began = monotonic()
            services.kill_postgres(signal.SIGQUIT)
            back = case.passed()
            case.publish((restart * 2 + 1) * EACH, EACH)
            case.reach(back + 1)
            took_s = monotonic() - began
            _LOG.info("writing again %.1f s after restart %d", took_s, restart + 1)
            assert took_s < WRITING_AGAIN_S
            case.reach((restart + 1) * 2 * EACH * MACHINES)

    assert ingestion.totals.faults >= restarts
    case.check(restarts * 2 * EACH)


def test_a_crash_of_postgres_is_waited_for(case: Case, services: Services) -> None:
    """The postmaster is killed with -9 under load: nothing is lost, nothing is quarantined."""
    case.drop_key()
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.publish(0, EACH)
        until(lambda: ingestion.totals.stored > EACH)
        services.kill_postgres()
        case.publish(EACH, EACH)
        case.reach(2 * EACH * MACHINES)

    assert ingestion.totals.faults >= 1
    case.check(2 * EACH)


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
