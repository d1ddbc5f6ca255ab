"""What stays high for long is judged without the margin that a single reading is given.

A threshold has a margin, for a machine wanders further than its history shows. What wanders comes
back; a fault stays. So the machine's *excursions* are followed: readings in a row that score higher
than health did while it was learnt. Once an excursion has lasted for a window, which then holds
none of the readings it began with, and for as long as calm must last to be believed, it is judged
without the margin, as by the runs rules of control charts (Western Electric 1956). An excursion
that has fallen well below its own peak is on its way back to health, of which the window does not
know yet, and has its margin again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.features.state import Counts
from domain.hysteresis import STAY
from domain.jit import Addresses, Words, addresses_of, block_at, njit
from domain.readings import Flags, Vector

ROWS, PEAK = range(2)
"""Places in an excursion's memory: its readings so far, and its largest score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """When an excursion counts.

    Attributes:
        rows: Readings that it lasts; >= 1.
        limit: Score from which on readings belong to it; in (0, 1], 1 changes no score.
    """

    rows: int
    limit: float

    def judged(
        self, memories: Sequence[Words], ends: Counts, scores: Vector, ready: Flags
    ) -> Vector:
        """Return scores, those of lasting excursions by their limit; advance the memories.

        Args:
            memories: Of m machines, as `new_memory` gives them; changed in place.
            ends: Shape (m,), row after the last one of each; ascending to n.
            scores: Shape (n,), one machine's after the other's; 1 is the threshold.
            ready: Shape (n,); a reading whose score is a guess ends an excursion.
        """
        out = np.empty(len(scores))
        addresses = addresses_of(list(memories), len(new_memory()))
        _follow(addresses, ends, scores, ready, self.rows, self.limit, out)
        return out


NEVER: Final = Lasting(rows=1, limit=1.0)
"""Changes no score: what models mean that were made before there was this."""


def new_memory() -> Words:
    """Return the memory of a machine that is in no excursion."""
    return np.zeros(2)


@njit
def _follow(  # noqa: PLR0913, PLR0917 - compiled code takes its parts one by one
    addresses: Addresses,
    ends: Counts,
    scores: Vector,
    ready: Flags,
    rows: int,
    limit: float,
    out: Vector,
) -> None:
    index = 0
    for at in range(len(addresses)):
        memory = block_at(addresses[at], 2)
        while index < ends[at]:
            score = scores[index]
            out[index] = score
            if ready[index] and score >= limit:
                memory[ROWS] += 1.0
                memory[PEAK] = max(memory[PEAK], score)
                if memory[ROWS] >= rows and score >= STAY * memory[PEAK]:
                    out[index] = score / limit
            else:
                memory[ROWS], memory[PEAK] = 0.0, 0.0
            index += 1
