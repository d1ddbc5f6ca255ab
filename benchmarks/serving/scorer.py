"""How many readings a second one stream scorer judges, without Kafka and Postgres around it."""

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.serving import model
from domain.machines import Machine
from domain.readings import History, ReadingBatch
from ray_app.compute import one_thread
from ray_app.judge import Judge

MACHINES, EACH = 50, 100
"""Machines of a batch, and readings of each."""

SPARSE_MACHINES, SPARSE_EACH = 1000, 1
"""The same of a large fleet that is kept up with."""

_BATCHES = 12
_START_US = 1_750_100_000_000_000
"""Long after what was learnt from: of readings of that time nothing is told."""


class _NoPast:
    """A fleet of machines that nobody has stored a reading of."""

    def first_us(self, machine: str) -> None:
        """Return that there is none."""

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return nothing."""
        del instant_us, rows
        return History(
            machine=machine,
            instants_us=np.empty(0, dtype=np.int64),
            values=np.empty((0, model.SENSORS)),
        )

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return no readings."""
        del from_us
        return self.before(machine, before_us, rows)

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Return nothing: the class has no risk model."""
        raise AssertionError((machine, before_us, step_us))


def _batches(machines: int, each: int) -> list[ReadingBatch]:
    rows = machines * each
    return [
        ReadingBatch(
            machine_class=model.CLASS,
            machine_keys=np.tile(np.arange(machines, dtype=np.int32), each),
            instants_us=_START_US
            + np.repeat(np.arange(at * each, (at + 1) * each, dtype=np.int64), machines) * 500_000,
            values=model.rows(rows, at),
        )
        for at in range(_BATCHES)
    ]


def readings_per_s(package: Path, machines: int, each: int, *, rounds: int) -> float:
    """Return the median over rounds; every round is a judge without memory.

    Args:
        package: The model.
        machines: In each batch.
        each: Readings of each of them in a batch.
        rounds: How often.
    """
    one_thread()
    champion = model.champion(package)
    batches = _batches(machines, each)
    known = {
        key: Machine(key=key, name=f"machine-{key:03}", machine_class=model.CLASS.name)
        for key in range(machines)
    }
    found = []
    for _ in range(rounds):
        judge = Judge(_NoPast(), (), {})
        judge.judge(batches[0], known, champion)
        began, busy = time.perf_counter(), time.process_time()
        scored = sum(judge.judge(one, known, champion).scored for one in batches[1:])
        found.append(scored / (time.perf_counter() - began))
        # On a machine that others use as well this is what the scorer itself can be held to.
        alone = scored / (time.process_time() - busy)
        print(
            f"scorer, {machines} machines × {each}: {found[-1]:,.0f} readings/s, "
            f"{alone:,.0f} per second of CPU",
            flush=True,
        )
        if scored != machines * each * (_BATCHES - 1):
            raise ValueError(f"only {scored} readings were scored")
    return statistics.median(found)
