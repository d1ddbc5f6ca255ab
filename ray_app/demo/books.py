"""The books of the demonstration: what was sent against what is stored, by key."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psutil

from domain.accounting import Account, Alarm, Fault, settle
from domain.class_files import load_class
from domain.simulation import Fleet
from ray_app.demo.plan import DemoPlan, Injection
from ray_app.producer_plan import ProducerPlan
from storage.connect import Connection, rows
from storage.failures import listed
from storage.history import microseconds
from storage.incidents import incidents

type Keys = Mapping[str, npt.NDArray[np.int64]]
"""Machine → instants of its readings, microseconds UTC, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Readings sent against readings stored.

    Attributes:
        stored: Rows in the table.
        lost: Keys that were sent and are not stored.
        duplicated: Rows that were never sent, or are there twice.
    """

    stored: int
    lost: int
    duplicated: int


def sent(plan: ProducerPlan, failures: tuple[Injection, ...], until_us: int) -> Keys:
    """Return the keys that the producer sent before an instant.

    The same seed gives the same fleet, so this is reckoned apart from producer and stream.
    """
    fleet = Fleet.create(
        load_class(plan.machine_class),
        plan.machines,
        start_us=plan.start_us,
        num_sensors=plan.num_sensors,
        period_s=plan.period_s,
        seed=plan.seed,
    )
    for each in failures:
        fleet.inject(
            each.machine,
            each.mode,
            onset_us=each.onset_us,
            develop_s=each.develop_s,
            duration_s=each.duration_s,
        )
    chunks = fleet.advance(until_us)
    return {fleet.names[chunk.machine]: chunk.instants_us for chunk in chunks}


def stored(on: Connection, until_us: int) -> Keys:
    """Return the keys of every row before an instant, a key that is there twice being twice."""
    found = rows(
        on,
        "SELECT m.name, array_agg((extract(epoch FROM r.instant) * 1000000)::bigint "
        "ORDER BY r.instant) FROM readings AS r JOIN machines AS m ON m.key = r.machine_key "
        "WHERE r.instant < 'epoch'::timestamptz + %s * interval '1 microsecond' GROUP BY m.name",
        (until_us,),
    )
    return {name: np.array(instants, dtype=np.int64) for name, instants in found}


def balance(there: Keys, wanted: Keys) -> Balance:
    """Compare two sets of keys."""
    none = np.empty(0, dtype=np.int64)
    names = {*there, *wanted}
    common = {
        name: len(np.intersect1d(there.get(name, none), wanted.get(name, none))) for name in names
    }
    rows_there = sum(map(len, there.values()))
    rows_wanted = sum(map(len, wanted.values()))
    return Balance(
        stored=rows_there,
        lost=rows_wanted - sum(common.values()),
        duplicated=rows_there - sum(common.values()),
    )


def verdicts(on: Connection, plan: DemoPlan, *, live_us: int, until_us: int) -> Account:
    """Hold the incidents since the fleet is live against the recorded truth."""
    faults = [
        Fault(machine=one.machine, kind=one.kind, onset_us=one.onset_us, end_us=one.end_us)
        for one in listed(on, machines=plan.names, start_us=live_us)
    ]
    alarms = [
        Alarm(
            machine=one.machine,
            raised_us=microseconds(one.opened),
            cleared_us=None if one.closed is None else microseconds(one.closed),
        )
        for one in incidents(on, limit=10_000)
        if microseconds(one.opened) >= live_us
    ]
    return settle(
        faults,
        alarms,
        machines=plan.machines,
        watched_us=until_us - live_us,
        grace_us=round(plan.grace_s * 1e6),
    )


def resident_gib(pid: int | None = None) -> float:
    """Return the memory of a process and all that it started, shared pages counted once.

    Args:
        pid: The process; this one when None.
    """
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue  # it ended while we looked
    return total / 2**30
