"""What the recurrences over time know.

`Plan` was learnt and is read only, `Memory` is one machine's past and is changed in place. Both
are named tuples of arrays, which compiled code reads directly.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix

type Counts = npt.NDArray[np.int64]

SLOT, FILLED, SEEN, LAST_US, REGIME = range(5)
"""Places in `Memory.clock`: the ring's next slot, rows in the window, rows ever, last instant, last
regime (-1 before the first row)."""

CANDIDATE, PEAK, CALM, HEALTHY = range(4)
"""Places in `Memory.settle`: the level that a frozen sensor may settle at and the largest
deviation so far (both as the window's mean), seconds of calm, and where the baseline last was
healthy for long (as the baseline)."""


class Plan(NamedTuple):
    """What was learnt about a class, as the kernel reads it. S sensors, R regimes, T lags."""

    kinds: Counts  # (K,) feature kinds
    centres: Matrix  # (R, S) operating points, scaled by `operating`
    operating: Matrix  # (S,) 1 / range of an operating sensor, 0 for the others
    lags_s: Matrix  # (T,) time constants of the response; the first is 0, the regime itself
    response: Matrix  # (S, T * R) what the regimes' past adds to each sensor
    past: Matrix  # (T * R,) the regimes' usual past, which a machine begins with; NaN: not known
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
    waves: npt.NDArray[np.float64]  # (W // 2, 4, S) the ring's spectrum; (0, 4, S) if not asked for
    settle: Matrix  # (4, S) what a frozen baseline waits for, see CANDIDATE...


def fresh_memory(
    *, window_rows: int, lagged: int, base: Matrix, known_rows: float = 0.0, waves: int = 0
) -> Memory:
    """Return the memory of a machine before its first reading.

    Args:
        window_rows: W.
        lagged: T * R.
        base: Shape (S,), the baseline to begin with; copied.
        known_rows: Readings that it stands for.
        waves: Frequencies of the window's spectrum that are kept up.
    """
    sensors = len(base)
    memory = Memory(
        clock=np.zeros(5, dtype=np.int64),
        ring=np.zeros((window_rows, sensors)),
        sums=np.zeros((2, sensors)),
        have=np.zeros(sensors, dtype=np.int64),
        lagged=np.zeros(lagged),
        unseen_s=np.zeros(sensors),
        base=base.copy(),
        weight=np.full(sensors, known_rows),
        waves=np.zeros((waves, 4, sensors)),
        settle=np.zeros((4, sensors)),
    )
    memory.settle[HEALTHY] = base
    memory.clock[REGIME] = -1
    return memory
