"""What many stored readings, a long run and a backlog change."""

import subprocess
import sys

from benchmarks.intake import workload
from benchmarks.intake.child import run
from benchmarks.intake.feeder import MOST_S
from benchmarks.intake.filling import fill
from benchmarks.intake.measured import task
from benchmarks.intake.ours import Filled, ingest_into, make_days
from benchmarks.intake.site import ROOT, Site, verify_count

SMALL = 1_000_000
SEGMENT = 500_000
"""Readings that are brought per measurement beside those that are stored already."""

ARRIVING = 50_000
"""Readings per second that keep arriving: what docs/benchmarks.md promises as the least."""

OUTAGE_S = 6.0
"""For so long nobody reads."""


class Scale:
    """The rate beside few and beside many stored readings, in the same partition of the table.

    Args:
        site: Where.
        large: Readings of the large table.
    """

    def __init__(self, site: Site, large: int) -> None:
        self._site, self._number = site, 0
        self._held = {"packed_small": SMALL, "packed_large": large}
        self._storages = {name: site.database() for name in self._held}
        for name, count in self._held.items():
            fill(self._storages[name], count, until_us=workload.START_US)

    def measure(self) -> dict[str, float | None]:
        """Bring the same new readings to both; return readings per second of each."""
        start_us = workload.START_US + self._number * workload.span_us(SEGMENT)
        topic = Filled.make(
            self._site, f"segment-{self._number}", SEGMENT, packed=True, start_us=start_us
        )
        self._number += 1
        rates: dict[str, float | None] = {}
        for name, storage in self._storages.items():
            found = ingest_into(storage, topic, before=self._held[name])
            self._held[name] += SEGMENT
            rates[name] = SEGMENT / found["seconds"]
        return rates


def memory_growth(site: Site, count: int) -> float:
    """Return by which share resident memory grew from a fifth of a long run to its end."""
    topic = Filled.make(site, "long", count, packed=True)
    with site.fresh() as storage:
        resident = ingest_into(storage, topic)["resident"]
    return float(resident[-1] / resident[1] - 1)


class Drain:
    """How a backlog drains while readings keep arriving.

    Args:
        site: Where.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._number = site, 0

    def measure(self) -> dict[str, float | None]:
        """Read nothing for a while, then until the backlog is gone; return both rates.

        Raises:
            RuntimeError: Whoever sends ended too early.
        """
        self._number += 1
        kafka = self._site.topic(f"steady-{self._number}")
        argv = [sys.executable, "-m", "benchmarks.intake.feeder"]
        argv += [self._site.kafka, kafka.topic, str(ARRIVING), str(OUTAGE_S)]
        with (
            self._site.fresh() as storage,
            subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            ) as feeder,
        ):
            make_days(storage, ARRIVING * MOST_S)
            if feeder.stdout is None or feeder.stdout.readline().strip() != "outage over":
                raise RuntimeError("the feeder ended")
            found = run("drain", task(kafka, storage, arriving=ARRIVING, patience_s=60))
            kept, _ = feeder.communicate("enough\n", timeout=60)
            verify_count(storage, found["in_all"])
        return {"drained": found["stored"] / found["seconds"], "arriving": float(kept)}
