"""Messages that are no readings, among those that are: kept, told, and in nobody's way."""

import logging
from hashlib import md5
from pathlib import Path
from time import monotonic

from domain.wire import RejectReason as R
from ingestion.consume import Ingestion
from ingestion.kafka import KafkaSink
from storage import roster_store
from storage.connect import rows, session
from tests.faults.case import MACHINES, Case, Tally, times
from tests.faults.poison import KINDS
from tests.faults.services import Services
from tests.ingest_support import PUMP, running

_LOG = logging.getLogger(__name__)

LARGEST_BYTES = 11_000_000


def test_thirty_kinds_of_poison_stop_nothing(services: Services, tmp_path: Path) -> None:
    """Every good message is stored, every bad one kept once with its reason, nothing restarts."""
    copies, rounds = times(10, 100), 10
    each = 1000 * copies // MACHINES
    case = Case.make(services, tmp_path, config={"max.message.bytes": str(LARGEST_BYTES)})
    with session(case.storage) as on:
        # Of a machine that nobody knows yet, a wrong sensor is not what is wrong with it.
        roster_store.register_machines(on, {f"pump-{n}" for n in range(MACHINES)}, PUMP.name)
    for part in range(rounds):
        case.publish(part * each // rounds, each // rounds)
        _poison(case, copies // rounds)

    began = monotonic()
    with running(Ingestion(case.kafka, case.storage)) as ingestion:
        case.reach(each * MACHINES + copies * len(KINDS), 400)
    totals, wanted = ingestion.totals, copies * len(KINDS)
    _LOG.info("%d good, %d bad in %.1f s", each * MACHINES, wanted, monotonic() - began)

    assert (totals.stored, totals.quarantined, totals.faults) == (each * MACHINES, wanted, 0)
    assert case.tally(each) == Tally(quarantined=wanted)
    with session(case.storage) as on:
        kept = rows(on, "SELECT reason, md5(value), count(*) FROM quarantine GROUP BY 1, 2")
    assert {(reason, mark): count for reason, mark, count in kept} == {
        (reason, None if value is None else md5(value).hexdigest()): copies
        for value, reason, _ in KINDS.values()
    }


def _poison(case: Case, copies: int) -> None:
    """Publish every kind so many times, spread over the partitions."""
    kafka = case.with_properties(message_max_bytes=str(LARGEST_BYTES))
    with KafkaSink.open(kafka) as sink:
        for number in range(copies):
            for value, reason, headers in KINDS.values():
                # With a known machine's key it meets the scanner first, without one the arbiter.
                unnamed = number % 2 or reason in {R.BAD_NAME, R.UNKNOWN_MACHINE}
                key = None if unnamed else b"pump-1"
                sink.send(kafka.topic, key, [value], headers)  # type: ignore[list-item] # a tombstone
