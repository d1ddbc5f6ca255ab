"""What people's judgements say of two models, in pairs: pure, for the gate (`promotion`)."""

from dataclasses import dataclass
from math import comb
from typing import Final

REPLAY_TIE: Final = 0.05
"""Models closer than this in replay are as good as each other, and labels may choose: on labelled
data so much between configurations went with .02 of F1 (`docs/benchmarks.md`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """How one model did where people said what was what (`domain.labelled`).

    Attributes:
        right: Per judged period, in one order for all models: it was judged right.
        objective: Youden's index; -1 to 1.
        words: The counts for people.
    """

    right: tuple[bool, ...]
    objective: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A challenger beside the champion, over the same judged periods.

    Attributes:
        won: Periods in which only the challenger is right.
        lost: Periods in which only the champion is.
        worse: The challenger does worse over all.
    """

    won: int = 0
    lost: int = 0
    worse: bool = False

    @property
    def chance(self) -> float:
        """How likely so many wins are among equals: McNemar's exact test, one-sided; 0 to 1."""
        count = self.won + self.lost
        ways: int = sum(comb(count, more) for more in range(self.won, count + 1))
        return ways / 2.0**count


def paired(challenger: Labelled | None, champion: Labelled | None) -> Pairing:
    """Compare two models; without labels nobody wins or loses."""
    if challenger is None or champion is None:
        return Pairing()
    pairs = list(zip(challenger.right, champion.right, strict=True))
    return Pairing(
        won=sum(one and not other for one, other in pairs),
        lost=sum(other and not one for one, other in pairs),
        worse=challenger.objective < champion.objective,
    )
