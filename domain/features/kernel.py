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
    cold: float  # readings until the past of a machine is known well enough to judge it
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
    """Return the regimes' weighted past of every row, shape (n, T * R)."""
    out = np.empty((len(instants), len(memory.lagged)))
    for index in range(len(instants)):
        begin_row(plan, memory, instants[index], values[index])
        out[index] = memory.lagged
    return out


@njit
def push(memory: Memory, row: Matrix) -> None:
    """Put a row into the window; what is missing (NaN) takes a place but counts for nothing."""
    clock, ring, sums, have = memory.clock, memory.ring, memory.sums, memory.have
    size, slot = len(ring), clock[SLOT]
    full = clock[FILLED] == size
    for sensor in range(len(row)):
        old, new = ring[slot, sensor], row[sensor]
        if full and not np.isnan(old):
            sums[0, sensor] -= old
            sums[1, sensor] -= old * old
            have[sensor] -= 1
        if not np.isnan(new):
            sums[0, sensor] += new
            sums[1, sensor] += new * new
            have[sensor] += 1
        ring[slot, sensor] = new
    clock[FILLED] = min(clock[FILLED] + 1, size)
    clock[SLOT] = (slot + 1) % size
    if clock[SLOT] == 0:
        # Sums that only ever add and subtract gather rounding errors: count them anew.
        for sensor in range(len(row)):
            recount(ring[:, sensor], sums[:, sensor], have[sensor : sensor + 1])


@njit
def recount(window: Matrix, sums: Matrix, have: Counts) -> None:
    """Count one sensor's window anew."""
    sums[:] = 0.0
    have[0] = 0
    for value in window:
        if not np.isnan(value):
            sums[0] += value
            sums[1] += value * value
            have[0] += 1


@njit
def trend_of(window: Matrix, first: int) -> float:
    """Return the rise over the whole window of its least-squares line.

    Args:
        window: Shape (filled,), a ring; NaN is missing, at least two are not.
        first: Place of its oldest value.
    """
    size, have, middle = len(window), 0, 0.0
    for place in range(size):
        if not np.isnan(window[(first + place) % size]):
            middle += place
            have += 1
    middle /= have
    dot, norm = 0.0, 0.0
    for place in range(size):
        value = window[(first + place) % size]
        if not np.isnan(value):
            dot += (place - middle) * value
            norm += (place - middle) ** 2
    return dot / norm * (size - 1)


@njit
def range_of(window: Matrix) -> float:
    """Return a window's largest minus its smallest value."""
    low, high = np.inf, -np.inf
    for value in window:
        if not np.isnan(value):
            low, high = min(low, value), max(high, value)
    return high - low


@njit
def window_features(plan: Plan, memory: Memory, out: Matrix) -> None:
    """Fill one row (K * S,); NaN where too little of a sensor's window was measured."""
    ring, sums, have = memory.ring, memory.sums, memory.have
    filled, sensors = memory.clock[FILLED], len(memory.have)
    first = memory.clock[SLOT] if filled == len(ring) else 0
    for at in range(len(plan.kinds)):
        kind = plan.kinds[at]
        for sensor in range(sensors):
            mean, value = sums[0, sensor] / have[sensor], np.nan
            few = have[sensor] < max(3, filled // 4)
            if memory.unseen_s[sensor] > plan.carry_s or have[sensor] == 0:
                value = np.nan
            elif kind == LEVEL:
                value = mean
            elif kind == TREND and not few:
                value = trend_of(ring[:filled, sensor], first)
            elif kind == SPREAD and not few:
                variance = max(0.0, sums[1, sensor] / have[sensor] - mean * mean)
                value = np.log(np.sqrt(variance) + SPREAD_FLOOR)
            elif not few:
                value = np.log(range_of(ring[:filled, sensor]) + SPREAD_FLOOR)
            out[at * sensors + sensor] = value


@njit
def follow(plan: Plan, memory: Memory, residuals: Matrix, dt: float) -> None:
    """Let the baselines follow the residuals (in `Plan.unit`) of sensors that look healthy."""
    gain, calm_gain = -np.expm1(-dt / plan.rate_s), -np.expm1(-3 * dt / plan.recover_s)
    for sensor in range(len(residuals)):
        if np.isnan(residuals[sensor]):
            continue
        mean = memory.sums[0, sensor] / memory.have[sensor]
        young = memory.weight[sensor] < plan.cold
        rate = plan.leak * gain
        if young and abs(residuals[sensor]) > plan.wild[sensor]:
            pass
        elif not young and abs(mean) > plan.gate[sensor]:
            wait(memory.settle[:, sensor], mean, plan.gate[sensor], dt, calm_gain)
            if memory.settle[2, sensor] > plan.recover_s:
                rebase(plan, memory, sensor, mean)
        else:
            memory.settle[0, sensor], memory.settle[1, sensor] = mean, 0.0
            memory.settle[2, sensor] = 0.0
            memory.weight[sensor] += 1.0
            # A cold baseline also carries the lags' unknown past: it forgets what it learnt early.
            known = min(memory.weight[sensor], 2.0 * len(memory.ring) if young else np.inf)
            rate = max(gain, 1.0 / (plan.prior[sensor] + known))
        memory.base[sensor] += rate * (residuals[sensor] - memory.base[sensor])


@njit
def wait(settle: Matrix, mean: float, gate: float, dt: float, gain: float) -> None:
    """Count how long a frozen sensor has come back part of the way and been steady."""
    settle[0] += gain * (mean - settle[0])
    settle[1] = max(settle[1], abs(mean))
    steady = abs(mean - settle[0]) < 0.5 * gate and abs(mean) < 0.5 * settle[1]
    settle[2] = settle[2] + dt if steady else 0.0


@njit
def rebase(plan: Plan, memory: Memory, sensor: int, mean: float) -> None:
    """Take the window's mean as the sensor's new healthy level."""
    regime = memory.clock[REGIME]
    memory.base[sensor] += mean * plan.scale[regime, sensor] / plan.unit[sensor]
    window = memory.ring[: memory.clock[FILLED], sensor]
    window -= mean
    recount(window, memory.sums[:, sensor], memory.have[sensor : sensor + 1])
    memory.settle[:, sensor] = 0.0


@njit
def measure(plan: Plan, memory: Memory, row: Matrix, dt: float, out: Matrix) -> None:
    """Fill (3, S): expected in the sensor's unit, residual, and distance from the baseline."""
    regime, lagged = memory.clock[REGIME], memory.lagged
    for sensor in range(len(row)):
        level, unit = 0.0, plan.unit[sensor]
        for place in range(len(lagged)):
            level += plan.response[sensor, place] * lagged[place]
        out[0, sensor] = level + memory.base[sensor] * unit
        out[1, sensor] = (row[sensor] - level) / unit
        out[2, sensor] = (row[sensor] - out[0, sensor]) / plan.scale[regime, sensor]
        missing = np.isnan(row[sensor])
        memory.unseen_s[sensor] = memory.unseen_s[sensor] + dt if missing else 0.0


@njit
def feature_rows(  # noqa: PLR0913, PLR0917 - compiled code takes arrays, and fills those it is given
    plan: Plan,
    memory: Memory,
    instants: Instants,
    values: Matrix,
    features: Matrix,
    expected: Matrix,
    filled: Counts,
) -> None:
    """Fill (n, K * S) features (NaN: nothing to say), (n, S) expected, (n,) rows in the window."""
    row = np.empty((3, values.shape[1]))
    for index in range(len(instants)):
        dt = begin_row(plan, memory, instants[index], values[index])
        measure(plan, memory, values[index], dt, row)
        expected[index] = row[0]
        push(memory, row[2])
        follow(plan, memory, row[1], dt)
        window_features(plan, memory, features[index])
        filled[index] = memory.clock[FILLED]
