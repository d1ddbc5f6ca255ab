"""Lives, and what is known of their end step by step.

A life that has not ended yet (censored) teaches only what is known. Its last steps, of which nobody
knows whether they led to a failure, are left out; that would make failures look more frequent than
they are, so what is known is weighted by the inverse of the chance of being watched that long
(IPCW; Robins & Rotnitzky 1992, with the Kaplan-Meier estimate of being watched).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.readings import Matrix
from domain.risk.features import life_features
from domain.risk.usual import Usual

_LEAST_WATCHED = 0.05
"""Weights are bounded: one life in a crowd of censored ones does not speak for all of them."""

MOST_ROWS = 20_000
"""Steps that a model is fitted to, evenly drawn: neighbouring steps say the same."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Life:
    """One machine from its first step to its failure, or to where it was last seen.

    Attributes:
        values: Shape (steps, sensors), one row per step of its life, NaN where missing.
        failed: Whether the last row is its failure; otherwise the life is censored there.
        machine: Name of the machine; lives of one machine are held out together. Empty where each
            life is of a machine of its own.
        unseen: Steps between the last row and the failure, where somebody noted when it came but
            nobody its readings; 0 where the last row is the failure, or none is known.
        repaired: Whether somebody repaired the machine after the last row: what it would have come
            to is not known, and its last steps need not have been healthy.
    """

    values: Matrix
    failed: bool = True
    machine: str = ""
    unseen: int = 0
    repaired: bool = False

    @property
    def left(self) -> Matrix:
        """Steps from each row to the failure, or to where it was last seen; shape (steps,)."""
        return self.unseen + np.arange(len(self.values) - 1.0, -1, -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Steps of all lives with what is known of their end; NaN where it is not known.

    Attributes:
        features: Shape (n, F).
        soon: Shape (n,), 1 where the failure came within the horizon.
        weight: Shape (n,), how many steps each speaks for, where `soon` is known.
        remaining: Shape (n,), steps to the failure, at most the cap.
        life: Shape (n,), index of the life.
    """

    features: Matrix
    soon: Matrix
    weight: Matrix
    remaining: Matrix
    life: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls,
        lives: Sequence[Life],
        *,
        usual: Usual,
        horizon: int,
        cap: int,
        look_back: int | None,
    ) -> Self:
        """Return the steps of lives, thinned out to `MOST_ROWS`."""
        every = max(1, sum(len(life.values) for life in lives) // MOST_ROWS)
        left = [life.left[::every] for life in lives]
        features = [
            life_features(one.values, *usual.of(one.values), look_back=look_back)[::every]
            for one in lives
        ]
        life = np.repeat(np.arange(len(lives)), [len(steps) for steps in left])
        steps, failed = np.concatenate(left), np.array([one.failed for one in lives])[life]
        known = failed | (steps > horizon)
        return cls(
            features=np.vstack(features),
            soon=np.where(known, steps <= horizon, np.nan),
            weight=1 / watched(steps, failed, horizon),
            remaining=np.where(failed | (steps >= cap), np.minimum(steps, cap), np.nan),
            life=life,
        )

    def take(self, rows: npt.NDArray[np.bool_]) -> "Rows":
        """Return the named rows."""
        return Rows(
            features=self.features[rows],
            soon=self.soon[rows],
            weight=self.weight[rows],
            remaining=self.remaining[rows],
            life=self.life[rows],
        )


def watched(left: Matrix, failed: npt.NDArray[np.bool_], horizon: int) -> Matrix:
    """Return the chance of having been watched up to the failure, or the horizon if that is first.

    Args:
        left: Shape (n,), steps from each row to the end of its life.
        failed: Shape (n,), whether that end was a failure.
        horizon: Steps.

    Returns:
        Shape (n,), 0.05 to 1; exactly 1 where no life was censored.
    """
    if failed.all():
        return np.ones(len(left))
    last = round(min(float(left.max()), horizon))
    at = np.minimum(left, last + 1).astype(int)
    ends = np.bincount(at[~failed], minlength=last + 2)
    at_risk = np.bincount(at, minlength=last + 2)[::-1].cumsum()[::-1]
    stays = np.cumprod(1 - ends[: last + 1] / np.maximum(at_risk[: last + 1], 1))
    # A failure at step t was seen if nothing ended before t.
    before = np.concatenate([[1.0], stays])
    seen = before[np.clip(at, 0, last + 1)]
    return np.asarray(np.maximum(seen, _LEAST_WATCHED), dtype=np.float64)


def folds_of(lives: Sequence[Life], folds: int, seed: int) -> npt.NDArray[np.intp]:
    """Return the fold of each life; lives of one machine share theirs."""
    names = [one.machine or f"\0{at}" for at, one in enumerate(lives)]
    place = {name: at for at, name in enumerate(dict.fromkeys(names))}
    drawn = np.random.default_rng(seed).permutation(len(place)) % folds
    return np.array([drawn[place[name]] for name in names], dtype=np.intp)
