"""What the recurrences over time know.

`Plan` was learnt and is read only, `Memory` is one machine's past and is changed in place. Both
are named tuples of arrays, which compiled code reads directly.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from domain.jit import Words, njit
from domain.readings import Matrix

type Counts = npt.NDArray[np.int64]

SLOT, FILLED, SEEN, LAST_US, REGIME, LACKING = range(6)
"""Places in `Memory.clock`: the ring's next slot, rows in the window, rows ever, last instant, last
regime (-1 before the first row), rows that a level learnt anew still lacks."""

CANDIDATE, PEAK, CALM, HEALTHY = range(4)
"""Places in `Memory.settle`: the level that a frozen sensor may settle at and the largest
deviation so far (both as the window's mean), seconds of calm, and where the baseline last was
healthy for long (as the baseline)."""


class Plan(NamedTuple):
    """What was learnt about a class, as the kernel reads it. S sensors, R regimes, T lags."""

    kinds: Counts  # (K,) feature kinds
    centres: Matrix  # (R, S) operating points, scaled by `operating`
    operating: Matrix  # (S,) weight of an operating sensor, 0 for the others
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


class Shape(NamedTuple):
    """How large a memory is."""

    window_rows: int  # W
    sensors: int  # S
    lagged: int  # T * R
    waves: int  # frequencies of the window's spectrum that are kept up

    @property
    def words(self) -> int:
        """Return the size of the block."""
        per_sensor = self.window_rows + 4 * self.waves + 10
        return 6 + self.lagged + per_sensor * self.sensors


class Memory(NamedTuple):
    """One machine's past. W rows in the window, S sensors."""

    block: Words  # what all others are parts of

    clock: Counts  # (6,) see SLOT...
    ring: Matrix  # (W, S) distances from the baseline, in the regime's deviations; NaN is missing
    sums: Matrix  # (2, S) of the ring's values and squares
    have: Counts  # (S,) values in the ring
    lagged: Matrix  # (T * R,) exponentially weighted regimes
    unseen_s: Matrix  # (S,) seconds since the sensor was measured
    base: Matrix  # (S,) baseline: distance from the class's level, in `Plan.unit`
    weight: Matrix  # (S,) readings that the baseline stands for; below 0 it is learnt anew
    waves: npt.NDArray[np.float64]  # (W // 2, 4, S) the ring's spectrum; (0, 4, S) if not asked for
    settle: Matrix  # (4, S) what a frozen baseline waits for, see CANDIDATE...


def fresh_memory(shape: Shape, *, base: Matrix, known_rows: float = 0.0) -> Memory:
    """Return the memory of a machine before its first reading.

    Args:
        shape: Of the memory.
        base: Shape (S,), the baseline to begin with; copied.
        known_rows: Readings that it stands for.
    """
    memory = memory_over(np.zeros(shape.words), shape)
    memory.base[:], memory.weight[:], memory.settle[HEALTHY] = base, known_rows, base
    memory.clock[REGIME] = -1
    return memory


def copied(memory: Memory) -> Memory:
    """Return a memory that can be advanced without changing this one."""
    rows, sensors = memory.ring.shape
    shape = Shape(rows, sensors, len(memory.lagged), len(memory.waves))
    return memory_over(memory.block.copy(), shape)


@njit
def memory_over(block: Words, shape: Shape) -> Memory:
    """Return the memory that a block of `Shape.words` holds."""
    sensors, whole = shape.sensors, block.view(np.int64)
    ring = 6
    sums = ring + shape.window_rows * sensors
    have = sums + 2 * sensors
    unseen = have + sensors
    base = unseen + sensors
    weight = base + sensors
    settle = weight + sensors
    waves = settle + 4 * sensors
    lagged = waves + 4 * shape.waves * sensors
    return Memory(
        block,
        whole[:ring],
        block[ring:sums].reshape((shape.window_rows, sensors)),
        block[sums:have].reshape((2, sensors)),
        whole[have:unseen],
        block[lagged : lagged + shape.lagged],
        block[unseen:base],
        block[base:weight],
        block[weight:settle],
        block[waves:lagged].reshape((shape.waves, 4, sensors)),
        block[settle:waves].reshape((4, sensors)),
    )
