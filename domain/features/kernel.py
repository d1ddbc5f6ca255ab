"""The recurrences over time, one reading after the other.

Everything a row needs is in the memory, so any split of a history into calls gives the same
numbers.
"""

import numpy as np

from domain.features.spectrum import recount_wave
from domain.features.state import (
    CALM,
    CANDIDATE,
    FILLED,
    HEALTHY,
    LACKING,
    LAST_US,
    PEAK,
    REGIME,
    SEEN,
    SLOT,
    Counts,
    Memory,
    Plan,
    Shape,
    memory_over,
)
from domain.features.window import push, recount, window_features
from domain.jit import Addresses, block_at, njit
from domain.readings import Flags, Instants, Matrix

ANCHOR = 12.0
"""The last healthy level follows the baseline so many times slower than that the residual."""

RENEWAL = 2
"""Windows of readings after which a level that is learnt anew is known."""

REGIME_CLIP = 9.0
"""Squared distance one operating sensor may add, so that a broken one cannot move the regime."""


@njit
def nearest_regime(plan: Plan, row: Matrix, previous: int) -> int:
    """Return the operating point nearest to the row; without any operating sensor the last one."""
    best, best_distance, known = max(previous, 0), np.inf, False
    for sensor in range(len(row)):
        known |= plan.operating[sensor] > 0 and not np.isnan(row[sensor])
    if not known:
        return best
    for regime in range(len(plan.centres)):
        distance = 0.0
        for sensor in range(len(row)):
            if plan.operating[sensor] > 0 and not np.isnan(row[sensor]):
                gap = row[sensor] * plan.operating[sensor] - plan.centres[regime, sensor]
                distance += min(gap * gap, REGIME_CLIP)
        if distance < best_distance:
            best, best_distance = regime, distance
    return best


@njit
def respond(plan: Plan, memory: Memory, regime: int, dt: float) -> None:
    """Let the weighted past of the regimes follow the present one."""
    regimes = len(plan.centres)
    first = memory.clock[REGIME] < 0
    for lag in range(len(plan.lags_s)):
        keep = 0.0 if first or plan.lags_s[lag] <= 0 else np.exp(-dt / plan.lags_s[lag])
        for other in range(regimes):
            place = lag * regimes + other
            if first and plan.lags_s[lag] > 0 and not np.isnan(plan.past[place]):
                memory.lagged[place] = plan.past[place]
            else:
                memory.lagged[place] = keep * memory.lagged[place] + (1 - keep) * (other == regime)
    memory.clock[REGIME] = regime


@njit
def empty(memory: Memory) -> None:
    """Empty the window."""
    memory.clock[SLOT], memory.clock[FILLED] = 0, 0
    memory.sums[:] = 0.0
    memory.waves[:] = 0.0
    memory.have[:] = 0


@njit
def renew(memory: Memory) -> None:
    """Let the baselines be learnt anew; the regimes' past is of the machine's work and stays."""
    empty(memory)
    memory.clock[LACKING] = RENEWAL * len(memory.ring)
    memory.weight[:] = -memory.clock[LACKING]


@njit
def begin_row(plan: Plan, memory: Memory, instant: int, row: Matrix) -> float:
    """Move clock and regime to the row; return seconds since the one before."""
    clock = memory.clock
    dt = max(0.0, (instant - clock[LAST_US]) / 1e6) if clock[SEEN] else 0.0
    if dt > plan.gap_s:
        empty(memory)
    clock[LAST_US] = max(instant, clock[LAST_US]) if clock[SEEN] else instant
    clock[SEEN] += 1
    respond(plan, memory, nearest_regime(plan, row, clock[REGIME]), dt)
    return dt


@njit
def regime_rows(plan: Plan, memory: Memory, instants: Instants, values: Matrix) -> Matrix:
    """Return the regimes' weighted past of every row, shape (n, T * R)."""
    out = np.empty((len(instants), len(memory.lagged)))
    for index in range(len(instants)):
        begin_row(plan, memory, instants[index], values[index])
        out[index] = memory.lagged
    return out


@njit
def follow(plan: Plan, memory: Memory, residuals: Matrix, dt: float) -> None:
    """Let the baselines follow the residuals (in `Plan.unit`) of sensors that look healthy."""
    gain, calm_gain = -np.expm1(-dt / plan.rate_s), -np.expm1(-3 * dt / plan.recover_s)
    quick = 0.5 / len(memory.ring)
    for sensor in range(len(residuals)):
        if np.isnan(residuals[sensor]):
            continue
        if memory.weight[sensor] < 0:
            relearn(plan, memory, sensor, residuals[sensor])
            continue
        mean, settle = memory.sums[0, sensor] / memory.have[sensor], memory.settle[:, sensor]
        young = memory.weight[sensor] < plan.cold
        rate = plan.leak * gain
        if young and abs(residuals[sensor]) > plan.wild[sensor]:
            pass
        elif not young and memory.clock[SEEN] < plan.cold and abs(mean) > plan.gate[sensor]:
            # A known machine whose past is not known yet: what it shows may be that past.
            rate = 0.0
        elif not young and abs(mean) > plan.gate[sensor]:
            if returns(plan, memory, sensor, mean):
                rate = quick
            else:
                wait(settle, mean, plan.gate[sensor], dt, calm_gain)
                if settle[CALM] > plan.recover_s:
                    rebase(plan, memory, sensor, mean)
        else:
            settle[CANDIDATE], settle[PEAK], settle[CALM] = mean, 0.0, 0.0
            memory.weight[sensor] += 1.0
            # A cold baseline also carries the lags' unknown past: it forgets what it learnt early.
            rate = max(gain, 1.0 / (plan.prior[sensor] + memory.weight[sensor]))
            rate = max(rate, quick) if young else rate
            anchor_rate = 1.0 if young else gain / ANCHOR
            settle[HEALTHY] += anchor_rate * (memory.base[sensor] - settle[HEALTHY])
        memory.base[sensor] += rate * (residuals[sensor] - memory.base[sensor])


@njit
def relearn(plan: Plan, memory: Memory, sensor: int, residual: float) -> None:
    """Take what a sensor shows after a repair for its level, however far from before that is.

    The mean of what it showed, of which the beginning is forgotten: a temperature takes minutes to
    settle. Neither the class nor the gate has a say, for somebody said that the machine is well.
    """
    rows = RENEWAL * len(memory.ring)
    memory.weight[sensor] += 1.0
    rate = max(1.0 / (rows + memory.weight[sensor]), 0.5 / len(memory.ring))
    memory.base[sensor] += rate * (residual - memory.base[sensor])
    memory.settle[:, sensor] = 0.0
    memory.settle[HEALTHY, sensor] = memory.base[sensor]
    if memory.weight[sensor] >= 0:
        memory.weight[sensor] = max(float(rows), plan.cold)


@njit
def returns(plan: Plan, memory: Memory, sensor: int, mean: float) -> bool:
    """Tell whether a sensor leaves its baseline for where it was healthy before.

    A temperature cools for minutes after a fault; its baseline may have moved half-way.
    """
    scale = plan.scale[memory.clock[REGIME], sensor] / plan.unit[sensor]
    back = (memory.settle[HEALTHY, sensor] - memory.base[sensor]) / scale
    homeward: bool = mean * back > 0 and abs(mean) <= abs(back) + plan.gate[sensor]
    return homeward


@njit
def wait(settle: Matrix, mean: float, gate: float, dt: float, gain: float) -> None:
    """Count how long a frozen sensor has come back part of the way and been steady."""
    settle[CANDIDATE] += gain * (mean - settle[CANDIDATE])
    settle[PEAK] = max(settle[PEAK], abs(mean))
    steady = abs(mean - settle[CANDIDATE]) < 0.5 * gate and abs(mean) < 0.5 * settle[PEAK]
    settle[CALM] = settle[CALM] + dt if steady else 0.0


@njit
def rebase(plan: Plan, memory: Memory, sensor: int, mean: float) -> None:
    """Take the window's mean as the sensor's new healthy level."""
    regime = memory.clock[REGIME]
    memory.base[sensor] += mean * plan.scale[regime, sensor] / plan.unit[sensor]
    window = memory.ring[: memory.clock[FILLED], sensor]
    window -= mean
    recount(window, memory.sums[:, sensor], memory.have[sensor : sensor + 1])
    if len(memory.waves):
        recount_wave(memory, memory.clock[FILLED], sensor)
    memory.settle[:HEALTHY, sensor] = 0.0


@njit
def measure(plan: Plan, memory: Memory, row: Matrix, dt: float, out: Matrix) -> None:
    """Fill (3, S): expected in the sensor's unit, residual, and distance from the baseline."""
    regime, lagged = memory.clock[REGIME], memory.lagged
    for sensor in range(len(row)):
        level, unit = 0.0, plan.unit[sensor]
        for place in range(len(lagged)):
            level += plan.response[sensor, place] * lagged[place]
        out[1, sensor] = (row[sensor] - level) / unit
        if memory.weight[sensor] == -RENEWAL * len(memory.ring) and not np.isnan(row[sensor]):
            # The first value after a repair: nothing is measured from the level before it.
            memory.base[sensor] = out[1, sensor]
        out[0, sensor] = level + memory.base[sensor] * unit
        out[2, sensor] = (row[sensor] - out[0, sensor]) / plan.scale[regime, sensor]
        missing = np.isnan(row[sensor])
        memory.unseen_s[sensor] = memory.unseen_s[sensor] + dt if missing else 0.0


@njit
def feature_rows(  # noqa: PLR0913, PLR0917 - compiled code takes arrays, and fills those it is given
    plan: Plan,
    addresses: Addresses,
    shape: Shape,
    words: int,
    ends: Counts,
    instants: Instants,
    values: Matrix,
    anew: Flags,
    features: Matrix,
    expected: Matrix,
    counts: Counts,
) -> None:
    """Go through the rows of machines, one machine after the other.

    Args:
        plan: What was learnt.
        addresses: Of the machines' memories, which are changed in place.
        shape: Of each of them.
        words: The size of each of them.
        ends: Row after the last one of each machine; its first one is the end of the one before.
        instants: Shape (n,).
        values: Shape (n, S).
        anew: Shape (n,), readings from which on baselines are learnt anew.
        features: Shape (n, K * S), filled; NaN where there is nothing to say.
        expected: Shape (n, S), filled.
        counts: Shape (3, n), filled: rows in the window, rows ever before this one (less than
            `Plan.cold` by what a level that is learnt anew lacks), and regimes.
    """
    row, index = np.empty((3, values.shape[1])), 0
    for at in range(len(addresses)):
        memory = memory_over(block_at(addresses[at], words), shape)
        while index < ends[at]:
            if anew[index]:
                renew(memory)
            counts[1, index] = memory.clock[SEEN]
            if memory.clock[LACKING]:
                counts[1, index] = min(counts[1, index], int(plan.cold) - memory.clock[LACKING])
                memory.clock[LACKING] -= 1
            dt = begin_row(plan, memory, instants[index], values[index])
            measure(plan, memory, values[index], dt, row)
            expected[index] = row[0]
            push(memory, row[2])
            follow(plan, memory, row[1], dt)
            window_features(plan, memory, features[index])
            counts[0, index] = memory.clock[FILLED]
            counts[2, index] = memory.clock[REGIME]
            index += 1
