"""Which stretches of a training period stand out so far that they are no health.

Nobody labelled the period, and a failure in it hides itself twice: it widens what counts as usual,
and a detector that saw it calls it known. So the fit that judges is made without the least usual
quarter of all blocks, whatever they are, and concentrated until that quarter stays the same: the
C-steps of the minimum covariance determinant (Rousseeuw and Van Driessen 1999,
https://doi.org/10.1080/00401706.1999.10485670), with contiguous blocks in the place of rows, for
rows of a failure come together. Every block is scored without its own fold. Then, as in their
reweighting, only blocks that stand far out are left out and the rest comes back: of healthy
machines all of it. `docs/decisions/0029` has the figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.detectors.contract import Detector
from domain.readings import Flags, Matrix, Vector

type Places = npt.NDArray[np.int64]

MOST: Final = 0.25
"""Share of a class's blocks that may be left out, surroundings included. What stands out more often
is not a failure but another way to work, or machines that differ."""

MOST_OF_ONE: Final = 0.5
"""Likewise of one machine: a level of its own is left to it, and something to learn it from."""

FEWEST_MACHINES: Final = 3
"""With fewer nobody can say which of them is the odd one, or whether one that changed is ill."""

FEWEST_BLOCKS: Final = 20
"""With fewer the scatter of blocks is not known."""

FACTOR: Final = 2.0
"""A block stands out if its usual score is at least so many times that of other blocks: thresholds
lie about twice the usual score above it, and what is below them alarms nobody."""

DEVIATIONS: Final = 3.5
"""And that many robust deviations: the usual limit of a modified z-score (Iglewicz and Hoaglin
1993), for where health itself wanders by a factor."""

SETTLING: Final = 2
"""Blocks at the beginning of a history in which health wanders further: what regimes did before
nobody saw, and how a machine comes out of an unusual past looks like a failure that ends."""

EARLY: Final = 1.5
"""Such a block stands out only so many times as far, as a logarithm: 2.8 times the usual score."""

STEPS: Final = 3
"""Concentrations at most; they hardly ever change anything after the second."""

_LEAST_SCORE: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """Features of machines, cut into contiguous blocks.

    Attributes:
        features: Shape (n, F), one block's rows after the other's.
        block: Shape (n,), the block of each row, ascending from 0 to B - 1.
        machine: Shape (B,), the machine of each block, ascending.
        fold: Shape (B,), blocks of one fold are scored by a fit without all of them.
    """

    features: Matrix
    block: Places
    machine: Places
    fold: Places


def odd_blocks(blocks: Blocks, fit: Callable[[Matrix], Detector]) -> Flags:
    """Return which blocks should not be learnt from, shape (B,).

    Args:
        blocks: Of all machines of a class.
        fit: Fits a detector to pooled features.
    """
    machines = len(np.unique(blocks.machine))
    if machines < FEWEST_MACHINES or len(blocks.machine) < FEWEST_BLOCKS:
        return np.zeros(len(blocks.machine), dtype=np.bool_)
    kept = np.ones(len(blocks.machine), dtype=np.bool_)
    found = levels(blocks, kept, fit)
    for _ in range(STEPS):
        calm = found <= np.quantile(found, 1 - MOST)
        if np.array_equal(calm, kept):
            break
        kept = calm
        found = levels(blocks, kept, fit)
    return bounded(excess(found, blocks.machine), blocks.machine)


def levels(blocks: Blocks, kept: Flags, fit: Callable[[Matrix], Detector]) -> Vector:
    """Return the median logarithm of each block's scores by fits that did not see its fold.

    Args:
        blocks: B of them.
        kept: Shape (B,), blocks that may be fitted to.
        fit: Fits a detector to pooled features.
    """
    fold, usable = blocks.fold[blocks.block], kept[blocks.block]
    scores = np.empty(len(fold))
    for one in np.unique(blocks.fold):
        asked = fold == one
        detector = fit(blocks.features[~asked & usable])
        scores[asked] = detector.score(blocks.features[asked])
    logs = np.log(np.maximum(scores, _LEAST_SCORE))
    starts = np.searchsorted(blocks.block, np.arange(1, len(blocks.machine)))
    return np.array([np.median(one) for one in np.split(logs, starts)])


def excess(found: Vector, machine: Places) -> Vector:
    """Return by how much each block is beyond what stands out, shape (B,); > 0 does.

    A block is held against the usual one of its class and of its own machine, whichever is higher:
    a machine that is louder all along is another machine, not a failing one.

    Args:
        found: Shape (B,), logarithms of scores.
        machine: Shape (B,), of each block, ascending.
    """
    usual = float(np.median(found))
    deviation = 1.4826 * float(np.median(np.abs(found - usual)))
    limit = max(np.log(FACTOR), DEVIATIONS * deviation)
    out: Vector = found - limit
    for one in np.unique(machine):
        mine = np.flatnonzero(machine == one)
        out[mine] -= max(float(np.median(found[mine])), usual)
        out[mine[:SETTLING]] -= (EARLY - 1) * limit
    return out


def bounded(beyond: Vector, machine: Places) -> Flags:
    """Return which blocks are left out, shape (B,): the odd, furthest first, and their neighbours.

    The block before holds the beginning of a failure, the one after what its end leaves in the
    windows. No more is left out than `MOST` of all blocks and `MOST_OF_ONE` of a machine's.

    Args:
        beyond: Shape (B,), as of `excess`.
        machine: Shape (B,), of each block, ascending.
    """
    out = np.zeros(len(beyond), dtype=np.bool_)
    for place in np.argsort(-beyond, kind="stable"):
        if beyond[place] <= 0:
            break
        near = np.arange(max(place - 1, 0), min(place + 2, len(beyond)))
        wider = out.copy()
        wider[near[machine[near] == machine[place]]] = True
        if wider.mean() <= MOST and wider[machine == machine[place]].mean() <= MOST_OF_ONE:
            out = wider
    return out
