"""Readings that reach the scorer through Postgres: mapped and re-driven ones, a bite at a time."""

from collections.abc import Callable

import numpy as np

from domain.machines import Machine, MachineClass
from domain.readings import ReadingBatch
from ray_app.judged import Verdicts
from storage import history, roster_store, scoring_queue
from storage.connect import Connection
from storage.intake import Intake
from storage.scoring_queue import Waiting

_MACHINES = 32
_ROWS = 5_000
"""Per machine and bite: what is locked meanwhile is locked for a fraction of a second."""


def judge_waiting(
    on: Connection,
    intake: Intake,
    judge: Callable[[tuple[ReadingBatch, ...]], Verdicts],
) -> Verdicts | None:
    """Judge what waits in the queue, in the open transaction, which the caller commits.

    Each machine in the order of its instants. The rows of the queue are locked until the commit,
    and are taken away by it together with what was found: a crash leaves both as they were.

    Args:
        on: A session.
        intake: Whose roster knows the machines; brought up to date where it does not.
        judge: Scores readings.

    Returns:
        What was found; None if nothing waits.
    """
    waiting = scoring_queue.take(on, most=_MACHINES)
    if not waiting:
        return None
    if any(one.machine_key not in intake.roster.by_key for one in waiting):
        intake.roster = roster_store.load(on)
    batches = []
    for one in waiting:
        machine = intake.roster.by_key[one.machine_key]
        end_us = scoring_queue.bite_end(on, one, _ROWS)
        batches.append(_read(on, one, machine, intake.roster.class_of(machine), end_us))
        scoring_queue.judged(on, one.machine_key, end_us)
    return judge(tuple(batch for batch in batches if len(batch)))


def _read(
    on: Connection, one: Waiting, machine: Machine, machine_class: MachineClass, end_us: int
) -> ReadingBatch:
    (found,) = history.read_history(on, [machine.name], one.first_us, end_us + 1)
    # A sensor that the class gained a moment ago is not in this roster yet: it is not scored yet.
    values = found.values[:, : len(machine_class.sensors)]
    return ReadingBatch(
        machine_class=machine_class,
        machine_keys=np.full(len(found), machine.key, dtype=np.int32),
        instants_us=found.instants_us,
        values=np.ascontiguousarray(values),
    )
