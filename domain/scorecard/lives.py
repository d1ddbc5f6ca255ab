"""Risk and remaining life by cross-validation over machines: none is judged by its own end."""

from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from domain.errors import BadInputError
from domain.risk import RiskModel
from domain.scorecard.points import roc_auc
from domain.scorecard.runs import Fleet

HORIZON: Final = 30
CAP: Final = 125
"""Customary on C-MAPSS: failure within 30 cycles, remaining life told apart up to 125."""

LEAST_LIVES: Final = 13
"""Every fold leaves ten to learn from."""

_FOLDS: Final = 5
_BINS: Final = 10

type Column = npt.NDArray[np.float64]


def risk_figures(fleet: Fleet, *, seed: int) -> dict[str, float]:
    """Return figures over all steps of all machines, each forecast by a model without it.

    Args:
        fleet: At least `LEAST_LIVES`.
        seed: Decides which machines are held out together.

    Returns:
        `auc`, `brier`, `calibration_error` (expected, ten bins) of failure within `HORIZON`;
        `rmse` of the remaining life up to `CAP`, `coverage` of its 90 % interval.

    Raises:
        BadInputError: There are too few lives.
    """
    if len(fleet.lives) < LEAST_LIVES:
        raise BadInputError(
            f"{len(fleet.lives)} lives; cross-validation needs at least {LEAST_LIVES}", fleet.name
        )
    fold = np.random.default_rng(seed).permutation(len(fleet.lives)) % _FOLDS
    told: list[Column] = []
    for number in range(_FOLDS):
        taught = [life for life, at in zip(fleet.lives, fold, strict=True) if at != number]
        # One thread: seeds and files run beside each other, and spinning pools slow all of them.
        with threadpool_limits(1):
            model = RiskModel.fit(taught, horizon=HORIZON, cap=CAP, seed=seed)
        for at in np.flatnonzero(fold == number):
            values = fleet.lives[at].values
            forecast = model.forecast(values)
            left = np.arange(len(values) - 1.0, -1.0, -1.0)
            ends = (forecast.remaining_low, forecast.remaining_high)
            told.append(np.stack([left, forecast.p, forecast.remaining, *ends]))
    left, p, remaining, low, high = np.concatenate(told, axis=1)
    soon, capped = left <= HORIZON, np.minimum(left, CAP)
    return {
        "auc": roc_auc(soon, p),
        "brier": float(np.mean((p - soon) ** 2)),
        "calibration_error": calibration_error(soon, p),
        "rmse": float(np.sqrt(np.mean((remaining - capped) ** 2))),
        "coverage": float(np.mean((low <= capped) & (capped <= high))),
    }


def calibration_error(truth: npt.NDArray[np.bool_], p: Column) -> float:
    """Return the expected calibration error over ten equal bins (Naeini et al. 2015)."""
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for number in range(_BINS):
        inside = bins == number
        if inside.any():
            error += float(inside.mean() * abs(truth[inside].mean() - p[inside].mean()))
    return error
