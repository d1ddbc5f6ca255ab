"""Fills a database with readings that are there before a measurement begins."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np

from benchmarks.intake import workload
from benchmarks.intake.site import machine_keys
from domain.readings import ReadingBatch
from storage import copy_format, partitions
from storage.connect import connect, translated
from storage.settings import StorageSettings

_CHUNK = 2_000
"""Instants per COPY: 100,000 readings."""

_COPY = "COPY readings (machine_key, instant, values) FROM STDIN BINARY"


def fill(storage: StorageSettings, count: int, *, until_us: int) -> None:
    """Store readings of all machines, as they would have arrived, up to an instant.

    Args:
        storage: Where to.
        count: Readings in all; a multiple of `workload.MACHINES`.
        until_us: The instant after the last one.
    """
    on = connect(storage)
    try:
        days: partitions.Days = set()
        for batch in _batches(count, until_us, machine_keys(storage)):
            needed = set(partitions.days_of(batch.instants_us)) - days
            with translated(), on, on.cursor() as cursor:
                if needed:
                    partitions.ensure(on, needed)
                    days |= needed
                cursor.copy_expert(_COPY, BytesIO(copy_format.encode([batch])), size=1 << 18)
        with translated(), on, on.cursor() as cursor:
            cursor.execute("ANALYZE readings")
    finally:
        on.close()


def _batches(count: int, until_us: int, keys: dict[str, int]) -> Iterator[ReadingBatch]:
    generator, machines = np.random.default_rng(7), np.array(list(keys.values()), np.int32)
    begin_us, each = until_us - workload.span_us(count), count // len(machines)
    for at in range(0, each, _CHUNK):
        size = min(_CHUNK, each - at)
        instants = begin_us + (at + np.arange(size)) * workload.PERIOD_US
        # Machines side by side at each instant: so they arrive, and so they lie on disk.
        yield ReadingBatch(
            machine_class=workload.CLASS,
            machine_keys=np.tile(machines, size),
            instants_us=np.repeat(instants, len(machines)),
            values=np.round(generator.normal(50, 5, (size * len(machines), workload.SENSORS)), 3),
        )
