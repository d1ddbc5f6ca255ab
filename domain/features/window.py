"""A sensor's window: running sums over a ring, and the features made of it."""

import numpy as np

from domain.features.kinds import HALF, LEVEL, RANGE, SIXTH, SLOW, SPREAD, THIRD, TREND
from domain.features.spectrum import band_deviation, recount_wave, turn_wave
from domain.features.state import FILLED, SLOT, Counts, Memory, Plan
from domain.jit import njit
from domain.readings import Matrix

SPREAD_FLOOR = 0.05
"""Added to standard deviations before the logarithm, in healthy ones: a constant window is -3."""


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
        if len(memory.waves):
            was, known = full and not np.isnan(old), not np.isnan(new)
            change = (new if known else 0.0) - (old if was else 0.0)
            turn_wave(memory, slot, sensor, change, int(known) - int(was))
        ring[slot, sensor] = new
    clock[FILLED] = min(clock[FILLED] + 1, size)
    clock[SLOT] = (slot + 1) % size
    if clock[SLOT] == 0:
        # Sums that only ever add and subtract gather rounding errors: count them anew.
        for sensor in range(len(row)):
            recount(ring[:, sensor], sums[:, sensor], have[sensor : sensor + 1])
            if len(memory.waves):
                recount_wave(memory, size, sensor)


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
def part_means(plan: Plan, memory: Memory, out: Matrix) -> None:
    """Fill the means of newest parts of the window, those of all lengths in one pass over it.

    Sensors lie side by side, so that one instruction adds several of them.

    Args:
        plan: Says which parts.
        memory: Read only.
        out: Shape (K * S,); NaN where all of a part is missing, other kinds are left as they are.
    """
    size, sensors, kinds = memory.clock[FILLED], len(memory.have), len(plan.kinds)
    total, have, rows = np.zeros(sensors), np.zeros(sensors), np.zeros(kinds, dtype=np.int64)
    for at in range(kinds):
        part = part_of(plan.kinds[at])
        rows[at] = min(-(-len(memory.ring) // part), size) if part else 0
    place = memory.clock[SLOT]
    for age in range(1, rows.max() + 1):
        # Not by remainder: a division per value was half of all features' time.
        place = place - 1 if place > 0 else size - 1
        row = memory.ring[place]
        for sensor in range(sensors):
            known = not np.isnan(row[sensor])
            total[sensor] += row[sensor] if known else 0.0
            have[sensor] += known
        for at in range(kinds):
            if rows[at] == age:
                out[at * sensors : (at + 1) * sensors] = total / have


@njit
def part_of(kind: int) -> int:
    """Return what part of the window a kind is the mean of; 0 if it is none, see `PARTS`."""
    if kind == HALF:
        return 2
    if kind == THIRD:
        return 3
    return 6 if kind == SIXTH else 0


@njit
def window_features(plan: Plan, memory: Memory, out: Matrix) -> None:
    """Fill one row (K * S,); NaN where too little of a sensor's window was measured."""
    ring, sums, have = memory.ring, memory.sums, memory.have
    filled, sensors = memory.clock[FILLED], len(memory.have)
    first = memory.clock[SLOT] if filled == len(ring) else 0
    part_means(plan, memory, out)
    for at in range(len(plan.kinds)):
        kind = plan.kinds[at]
        for sensor in range(sensors):
            mean, value = sums[0, sensor] / have[sensor], np.nan
            few = have[sensor] < max(3, filled // 4)
            if memory.unseen_s[sensor] > plan.carry_s or have[sensor] == 0:
                value = np.nan
            elif kind == LEVEL:
                value = mean
            elif part_of(kind):
                value = out[at * sensors + sensor]
            elif kind == TREND and not few:
                value = trend_of(ring[:filled, sensor], first)
            elif kind == SPREAD and not few:
                variance = max(0.0, sums[1, sensor] / have[sensor] - mean * mean)
                value = np.log(np.sqrt(variance) + SPREAD_FLOOR)
            elif kind >= SLOW and not few and len(memory.waves):
                value = np.log(band_deviation(memory, kind - SLOW, sensor, mean) + SPREAD_FLOOR)
            elif kind == RANGE and not few:
                value = np.log(range_of(ring[:filled, sensor]) + SPREAD_FLOOR)
            out[at * sensors + sensor] = value
