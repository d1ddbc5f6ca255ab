"""What stays high for long is judged without the margin that a single reading is given.

A threshold has a margin, for a machine wanders further than its history shows. What wanders comes
back; a fault stays. So the machine's *excursions* are followed: readings in a row that score higher
than health did while it was learnt. Once an excursion has lasted for a window, which then holds
none of the readings it began with, and for as long as calm must last to be believed, it is judged
without the margin, as by the runs rules of control charts (Western Electric 1956). An excursion
that has fallen well below its own peak is on its way back to health, of which the window does not
know yet, and has its margin again.

The first readings after a change of regime are judged more mildly: sensors follow a load with lags
that the model knows only nearly, and health scores highest there. Were they judged by the same
threshold as the hours between, they would set it for those too.

A window sees late what begins and forgets late what is over; its newest third is too restless to be
asked at all times, but knows better where the whole of it is high. If the third is anomalous by
itself, the reading is. If it was clearly anomalous and has fallen below its own limit, the machine
is judged by that third until the window holds nothing older.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.features.state import Counts
from domain.hysteresis import STAY
from domain.jit import Addresses, Words, addresses_of, block_at, njit
from domain.readings import Flags, Vector

ROWS, PEAK, REGIME, SINCE, OVER = range(5)
"""Places in a machine's memory: its excursion's readings so far and largest score, the regime of
its last reading (-1 before the first) and how many readings it has been in it, and for how many
readings more the newest third of the window is believed, or `SEEN`."""

SEEN: Final = -1.0
"""The newest third has been anomalous by as much as its limit is below that, and not been below its
limit since: a faint fault, which it hardly sees, is not over whenever it sees it less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """When an excursion counts or is over, and how readings are judged after a change of regime.

    Attributes:
        rows: Readings that it lasts, of a window at least; >= 1.
        limit: Score from which on readings belong to it; in (0, 1], 1 changes no score.
        settling_rows: So many first readings after a change of regime are judged more mildly...
        settling: ...by this factor on their score; in (0, 1], 1 changes none.
        third: How many times further the health of the window's newest third goes than that of the
            whole window; 0 where no detector looks at the third alone.
    """

    rows: int
    limit: float
    settling_rows: int = 0
    settling: float = 1.0
    third: float = 0.0

    def judged(  # noqa: PLR0913, PLR0917 - columns of the same readings
        self,
        memories: Sequence[Words],
        ends: Counts,
        scores: Vector,
        ready: Flags,
        regimes: Counts,
        third: Vector | None = None,
    ) -> Vector:
        """Return scores, those of lasting excursions by their limit; advance the memories.

        Args:
            memories: Of m machines, as `new_memory` gives them; changed in place.
            ends: Shape (m,), row after the last one of each; ascending to n.
            scores: Shape (n,), one machine's after the other's; 1 is the threshold.
            ready: Shape (n,); a reading whose score is a guess ends an excursion.
            regimes: Shape (n,), regime of each.
            third: Shape (n,), what the newest third of each window scores by itself, asked of
                readings at or above the limit; None where nobody knows.
        """
        out = np.empty(len(scores))
        addresses = addresses_of(list(memories), len(new_memory()))
        _follow(
            addresses,
            ends,
            scores,
            ready,
            regimes,
            scores if third is None else third,
            self.rows,
            self.limit,
            self.settling_rows,
            self.settling,
            out,
        )
        return out


NEVER: Final = Lasting(rows=1, limit=1.0)
"""Changes no score: what models mean that were made before there was this."""


def settling(regimes: Counts, rows: int) -> Flags:
    """Return which readings are among the first `rows` after a change of regime, shape (n,).

    Args:
        regimes: Shape (n,), of one machine; before the first there was no other.
        rows: >= 0.
    """
    changes = np.flatnonzero(np.diff(regimes)) + 1
    last = np.full(len(regimes), -rows)
    last[changes] = changes
    near: Flags = np.arange(len(regimes)) - np.maximum.accumulate(last) < rows
    return near


def new_memory() -> Words:
    """Return the memory of a machine that is in no excursion."""
    return np.array([0.0, 0.0, -1.0, 0.0, 0.0])


@njit
def _has_changed(memory: Words, regime: int, settling_rows: int) -> bool:
    """Move to a reading of this regime; return whether the machine is still new to it."""
    if regime != memory[REGIME]:
        # Where a machine was before its first reading nobody knows.
        memory[SINCE] = settling_rows if memory[REGIME] < 0 else 0.0
        memory[REGIME] = regime
    if memory[SINCE] >= settling_rows:
        return False
    memory[SINCE] += 1.0
    return True


@njit
def _by_third(memory: Words, score: float, third: float, rows: int, limit: float) -> float:
    """Return the score of a high reading, the newest third's where that knows better."""
    if third * limit >= 1:
        memory[OVER] = SEEN
    elif memory[OVER] == SEEN and third < limit:
        memory[OVER] = rows
    if memory[OVER] > 0:
        memory[OVER] -= 1.0
        return min(score, third)
    return max(score, third) if third >= 1 else score


@njit
def _if_lasting(memory: Words, score: float, rows: int, limit: float) -> float:
    """Return the score of a reading of an excursion, without the margin where that has lasted."""
    memory[ROWS] += 1.0
    memory[PEAK] = max(memory[PEAK], score)
    lasts = memory[ROWS] >= rows and score >= STAY * memory[PEAK]
    return score / limit if lasts else score


@njit
def _follow(  # noqa: PLR0913, PLR0917 - compiled code takes its parts one by one
    addresses: Addresses,
    ends: Counts,
    scores: Vector,
    ready: Flags,
    regimes: Counts,
    third: Vector,
    rows: int,
    limit: float,
    settling_rows: int,
    settling: float,
    out: Vector,
) -> None:
    index = 0
    for at in range(len(addresses)):
        memory = block_at(addresses[at], 5)
        while index < ends[at]:
            mild = settling if _has_changed(memory, regimes[index], settling_rows) else 1.0
            score = mild * scores[index]
            if ready[index] and score >= limit:
                told = _if_lasting(memory, score, rows, limit)
                out[index] = _by_third(memory, told, mild * third[index], rows, limit)
            else:
                memory[ROWS], memory[PEAK], memory[OVER] = 0.0, 0.0, 0.0
                out[index] = score
            index += 1
