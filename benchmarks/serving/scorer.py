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

_MACHINES = 50
_BATCH_ROWS = 5000
_BATCHES = 12
_START_US = 1_750_000_000_000_000


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

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Return nothing: the class has no risk model."""
        raise AssertionError((machine, before_us, step_us))


def _batches() -> list[ReadingBatch]:
    each = _BATCH_ROWS // _MACHINES
    keys = np.tile(np.arange(_MACHINES, dtype=np.int32), each)
    return [
        ReadingBatch(
            machine_class=model.CLASS,
            machine_keys=keys,
            instants_us=_START_US
            + np.repeat(np.arange(at * each, (at + 1) * each, dtype=np.int64), _MACHINES) * 500_000,
            values=model.rows(_BATCH_ROWS, at),
        )
        for at in range(_BATCHES)
    ]


def readings_per_s(package: Path, *, rounds: int) -> float:
    """Return the median over rounds; every round is a judge without memory."""
    one_thread()
    champion = model.champion(package)
    batches = _batches()
    machines = {
        key: Machine(key=key, name=f"machine-{key:03}", machine_class=model.CLASS.name)
        for key in range(_MACHINES)
    }
    found = []
    for _ in range(rounds):
        judge = Judge(_NoPast(), (), {})
        judge.judge(batches[0], machines, champion)
        began, busy = time.perf_counter(), time.process_time()
        scored = sum(judge.judge(one, machines, champion).scored for one in batches[1:])
        found.append(scored / (time.perf_counter() - began))
        # On a machine that others use as well this is what the scorer itself can be held to.
        alone = scored / (time.process_time() - busy)
        print(f"scorer: {found[-1]:,.0f} readings/s, {alone:,.0f} per second of CPU", flush=True)
        if scored != _BATCH_ROWS * (_BATCHES - 1):
            raise ValueError(f"only {scored} readings were scored")
    return statistics.median(found)
