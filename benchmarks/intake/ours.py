"""Our own ingestion over topics that were filled before, and the ceilings beside it."""

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.intake import workload
from benchmarks.intake.child import run
from benchmarks.intake.measured import task
from benchmarks.intake.site import Site, machine_keys, verify_count
from ingestion.settings import KafkaSettings
from storage import partitions
from storage.connect import session
from storage.settings import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A topic with readings in it, which any number of groups may read.

    Attributes:
        kafka: Where it is.
        readings: How many there are.
        messages: In how many messages.
    """

    kafka: KafkaSettings
    readings: int
    messages: int

    @classmethod
    def make(
        cls, site: Site, name: str, count: int, *, packed: bool, start_us: int = workload.START_US
    ) -> Self:
        """Make a topic and publish the workload to it."""
        kafka = site.topic(name)
        messages = workload.publish(kafka, count, packed=packed, start_us=start_us)
        return cls(kafka=kafka, readings=count, messages=messages)

    def as_new_group(self) -> KafkaSettings:
        """Return how a consumer reads all of it that has never been here."""
        return replace(self.kafka, group_id=f"bench-{uuid.uuid4().hex[:8]}")


def ingest(site: Site, topic: Filled, *, how: str = "consume") -> float:
    """Bring a topic into a new database; return readings per second.

    Args:
        site: Where.
        topic: What.
        how: `consume`, `unsafe` (auto-commit) or `actor` (in a Ray actor).

    Raises:
        ValueError: Not every reading was stored exactly once.
    """
    with site.fresh() as storage:
        return topic.readings / float(ingest_into(storage, topic, how=how)["seconds"])


def busy_us(site: Site, topic: Filled, *, how: str = "consume") -> dict[str, float]:
    """Bring a topic into a new database; return what a reading costs, microseconds.

    Returns:
        Processor time by process, `consumer`, `kafka` and `postgres`, and `wall`: two cores have
        twice as much as that. The commit's services go on a little after the clock has stopped.
    """
    with site.fresh() as storage:
        make_days(storage, topic.readings)
        before = site.busy_s()
        found = run(how, task(topic.as_new_group(), storage, messages=topic.messages))
        after = site.busy_s()
        verify_count(storage, topic.readings)
    each = {name: after[name] - before[name] for name in after}
    each |= {"consumer": found["busy_s"], "wall": found["seconds"]}
    return {name: seconds / topic.readings * 1e6 for name, seconds in each.items()}


def ingest_into(
    storage: StorageSettings, topic: Filled, *, how: str = "consume", before: int = 0
) -> dict[str, Any]:
    """Bring a topic into a database that holds `before` readings already."""
    make_days(storage, topic.readings)
    found = run(how, task(topic.as_new_group(), storage, messages=topic.messages))
    verify_count(storage, before + topic.readings)
    return found


def decode_rate(messages: int) -> float:
    """Return JSON messages per second of the fastest decoder alone, on one core."""
    found = run("decode", {"messages": messages})
    return float(max(found.values()))


def copy_rate(site: Site, file: Path, count: int) -> float:
    """Return readings per second of psql's binary COPY from a file into our table."""
    with site.fresh() as storage:
        make_days(storage, count)
        seconds = site.psql_s(
            storage,
            f"\\copy readings (machine_key, instant, values) FROM '{file}' WITH (FORMAT binary)",
        )
        verify_count(storage, count)
        return count / seconds


def copy_file(site: Site, count: int) -> Path:
    """Write the workload as a file for COPY; machines have the same keys in every database."""
    path = site.folder / "readings.copy"
    with site.fresh() as storage:
        workload.write_copy_file(path, count, machine_keys(storage))
    return path


def make_days(storage: StorageSettings, count: int, start_us: int = workload.START_US) -> None:
    """Make the partitions of the workload; a running platform has them days ahead."""
    instants = np.arange(start_us, start_us + workload.span_us(count) + 1, partitions.DAY_US // 2)
    edges = np.append(instants, start_us + workload.span_us(count))
    with session(storage) as on:
        partitions.ensure(on, partitions.days_of(edges))
