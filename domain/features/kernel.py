"""The recurrences over time, one reading after the other.

All arrays belong to `Plan` (what was learnt, read only) and `Memory` (what one machine's past
left, changed in place). Everything a row needs is in the memory, so any split of a history into
calls gives the same numbers.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from domain.features.kinds import LEVEL, SPREAD, TREND
from domain.jit import njit
from domain.readings import Instants, Matrix

type Counts = npt.NDArray[np.int64]

SLOT, FILLED, SEEN, LAST_US, REGIME = range(5)
"""Places in `Memory.clock`: the ring's next slot, rows in the window, rows ever, last instant, last
regime (-1 before the first row)."""

SPREAD_FLOOR = 0.05
"""Added to standard deviations before the logarithm, in healthy ones: a constant window is -3."""

REGIME_CLIP = 9.0
"""Squared distance one operating sensor may add, so that a broken one cannot move the regime."""


class Plan(NamedTuple):
    """What was learnt about a class, as the kernel reads it. S sensors, R regimes, T lags."""

    kinds: Counts  # (K,) feature kinds
    centres: Matrix  # (R, S) operating points, scaled by `operating`
    operating: Matrix  # (S,) 1 / range of an operating sensor, 0 for the others
    lags_s: Matrix  # (T,) time constants of the response; the first is 0, the regime itself
    response: Matrix  # (S, T * R) what the regimes' past adds to each sensor
    unit: Matrix  # (S,) healthy standard deviation over all regimes: the baseline's unit
    scale: Matrix  # (R, S) healthy standard deviation in a regime
    prior: Matrix  # (S,) pseudo-readings that the class's own level weighs in a new baseline
    wild: Matrix  # (S,) distance from the class beyond which a new machine teaches no baseline
    gate: Matrix  # (S,) window's mean that freezes the baseline
    rate_s: float  # time constant of the baseline
    recover_s: float  # calm that moves a frozen baseline
    gap_s: float  # a longer pause empties the window
    carry_s: float  # a missing sensor is judged by the rest of its window that long
    leak: float  # share of its rate at which a frozen baseline still follows


class Memory(NamedTuple):
    """One machine's past. W rows in the window, S sensors."""

    clock: Counts  # (5,) see SLOT...
    ring: Matrix  # (W, S) distances from the baseline, in the regime's deviations; NaN is missing
    sums: Matrix  # (2, S) of the ring's values and squares
    have: Counts  # (S,) values in the ring
    lagged: Matrix  # (T * R,) exponentially weighted regimes
    unseen_s: Matrix  # (S,) seconds since the sensor was measured
    base: Matrix  # (S,) baseline: distance from the class's level, in `Plan.unit`
    weight: Matrix  # (S,) readings that the baseline stands for
    settle: Matrix  # (3, S) a frozen baseline's candidate level, its largest deviation, its calm


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
            memory.lagged[place] = keep * memory.lagged[place] + (1 - keep) * (other == regime)
    memory.clock[REGIME] = regime


@njit
def begin_row(plan: Plan, memory: Memory, instant: int, row: Matrix) -> float:
    """Move clock and regime to the row; return seconds since the one before."""
    clock = memory.clock
    dt = max(0.0, (instant - clock[LAST_US]) / 1e6) if clock[SEEN] else 0.0
    if dt > plan.gap_s:
        clock[SLOT], clock[FILLED] = 0, 0
        memory.sums[:] = 0.0
        memory.have[:] = 0
    clock[LAST_US] = max(instant, clock[LAST_US]) if clock[SEEN] else instant
    clock[SEEN] += 1
    respond(plan, memory, nearest_regime(plan, row, clock[REGIME]), dt)
    return dt


@njit
def regime_rows(plan: Plan, memory: Memory, instants: Instants, values: Matrix) -> Matrix:
    """Return the regimes' weighted past of every row, shape (n, T * R); for fitting the response."""
    out = np.empty((len(instants), len(memory.lagged)))
    for index in range(len(instants)):
        begin_row(plan, memory, instants[index], values[index])
        out[index] = memory.lagged
    return out


@njit
def push(memory: Memory, row: Matrix) -> None:
    """Put a row into the window; what is missing (NaN) takes a place but counts for nothing."""
    clock, size = memory.clock, len(memory.ring)
    slot = clock[SLOT]
    for sensor in range(len(row)):
        if clock[FILLED] == size:
            add(memory, sensor, memory.ring[slot, sensor], -1)
        memory.ring[slot, sensor] = row[sensor]
        add(memory, sensor, row[sensor], 1)
    clock[FILLED] = min(clock[FILLED] + 1, size)
    clock[SLOT] = (slot + 1) % size
    if clock[SLOT] == 0:
        # Sums that only ever add and subtract gather rounding errors: count them anew.
        for sensor in range(len(row)):
            recount(memory, sensor, 0.0)


@njit
def recount(memory: Memory, sensor: int, shift: float) -> None:
    """Lower a sensor's window by `shift` and count it anew."""
    memory.sums[:, sensor] = 0.0
    memory.have[sensor] = 0
    for place in range(memory.clock[FILLED]):
        memory.ring[place, sensor] -= shift
        add(memory, sensor, memory.ring[place, sensor], 1)


@njit
def add(memory: Memory, sensor: int, value: float, sign: int) -> None:
    """Count one value of the window in (1) or out (-1)."""
    if not np.isnan(value):
        memory.sums[0, sensor] += sign * value
        memory.sums[1, sensor] += sign * value * value
        memory.have[sensor] += sign


@njit
def window_trend(memory: Memory, sensor: int) -> float:
    """Return the rise over the whole window of its least-squares line."""
    size, filled = len(memory.ring), memory.clock[FILLED]
    first, have = memory.clock[SLOT] - filled, memory.have[sensor]
    middle = 0.0
    for place in range(filled):
        if not np.isnan(memory.ring[(first + place) % size, sensor]):
            middle += place / have
    dot, norm = 0.0, 0.0
    for place in range(filled):
        value = memory.ring[(first + place) % size, sensor]
        if not np.isnan(value):
            dot += (place - middle) * value
            norm += (place - middle) ** 2
    return dot / norm * (filled - 1)


@njit
def window_range(memory: Memory, sensor: int) -> float:
    """Return the window's largest minus its smallest value."""
    low, high = np.inf, -np.inf
    for place in range(memory.clock[FILLED]):
        value = memory.ring[place, sensor]
        if not np.isnan(value):
            low, high = min(low, value), max(high, value)
    return high - low


@njit
def window_feature(memory: Memory, kind: int, sensor: int) -> float:
    """Return one feature of one sensor's window; NaN where too little of it was measured."""
    have = memory.have[sensor]
    if have == 0:
        return np.nan
    mean = memory.sums[0, sensor] / have
    if kind == LEVEL:
        return mean
    if have < max(3, memory.clock[FILLED] // 4):
        return np.nan
    if kind == TREND:
        return window_trend(memory, sensor)
    if kind == SPREAD:
        variance = max(0.0, memory.sums[1, sensor] / have - mean * mean)
        return np.log(np.sqrt(variance) + SPREAD_FLOOR)
    return np.log(window_range(memory, sensor) + SPREAD_FLOOR)


@njit
def follow(plan: Plan, memory: Memory, sensor: int, residual: float, dt: float) -> None:
    """Let the baseline follow the residual (in `Plan.unit`), unless the window looks anomalous."""
    mean = memory.sums[0, sensor] / memory.have[sensor]
    gain = -np.expm1(-dt / plan.rate_s)
    young = memory.weight[sensor] < len(memory.ring)
    if young and abs(residual) > plan.wild[sensor]:
        gain *= plan.leak
    elif not young and abs(mean) > plan.gate[sensor]:
        gain *= plan.leak
        wait_for_calm(plan, memory, sensor, mean, dt)
    else:
        memory.settle[0, sensor], memory.settle[1, sensor] = mean, 0.0
        memory.settle[2, sensor] = 0.0
        memory.weight[sensor] += 1.0
        gain = max(gain, 1.0 / (plan.prior[sensor] + memory.weight[sensor]))
    memory.base[sensor] += gain * (residual - memory.base[sensor])


@njit
def wait_for_calm(plan: Plan, memory: Memory, sensor: int, mean: float, dt: float) -> None:
    """Move a frozen baseline once the sensor came back part of the way and stays there."""
    candidate, peak, calm = memory.settle[:, sensor]
    candidate += -np.expm1(-3 * dt / plan.recover_s) * (mean - candidate)
    peak = max(peak, abs(mean))
    steady = abs(mean - candidate) < 0.5 * plan.gate[sensor] and abs(mean) < 0.5 * peak
    calm = calm + dt if steady else 0.0
    if calm > plan.recover_s:
        scale = plan.scale[memory.clock[REGIME], sensor] / plan.unit[sensor]
        memory.base[sensor] += mean * scale
        recount(memory, sensor, mean)
        candidate, peak, calm = 0.0, 0.0, 0.0
    memory.settle[0, sensor], memory.settle[1, sensor] = candidate, peak
    memory.settle[2, sensor] = calm


@njit
def measure(plan: Plan, memory: Memory, row: Matrix, dt: float, out: Matrix) -> None:
    """Fill `out` (3, S): expected in the sensor's unit, residual, and distance from the baseline."""
    regime = memory.clock[REGIME]
    for sensor in range(len(row)):
        level, unit = 0.0, plan.unit[sensor]
        for place in range(len(memory.lagged)):
            level += plan.response[sensor, place] * memory.lagged[place]
        out[0, sensor] = level + memory.base[sensor] * unit
        out[1, sensor] = (row[sensor] - level) / unit
        out[2, sensor] = (row[sensor] - out[0, sensor]) / plan.scale[regime, sensor]
        missing = np.isnan(row[sensor])
        memory.unseen_s[sensor] = memory.unseen_s[sensor] + dt if missing else 0.0


@njit
def feature_rows(
    plan: Plan,
    memory: Memory,
    instants: Instants,
    values: Matrix,
    features: Matrix,
    expected: Matrix,
    filled: Counts,
) -> None:
    """Fill (n, K * S) features (NaN: nothing to say), (n, S) expected and (n,) rows in the window."""
    sensors = values.shape[1]
    row = np.empty((3, sensors))
    for index in range(len(instants)):
        dt = begin_row(plan, memory, instants[index], values[index])
        measure(plan, memory, values[index], dt, row)
        expected[index] = row[0]
        push(memory, row[2])
        for sensor in range(sensors):
            if not np.isnan(row[1, sensor]):
                follow(plan, memory, sensor, row[1, sensor], dt)
            absent = memory.unseen_s[sensor] > plan.carry_s
            for kind in range(len(plan.kinds)):
                features[index, kind * sensors + sensor] = (
                    np.nan if absent else window_feature(memory, plan.kinds[kind], sensor)
                )
        filled[index] = memory.clock[FILLED]
