"""Risk and remaining life of machines that were not learnt from: none is judged by its own end."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from domain.errors import BadInputError
from domain.risk import Life, RiskModel
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
        seed: Of the models; without tests also which machines are held out together.

    Returns:
        `auc`, `brier`, `calibration_error` (expected, ten bins) of failure within `HORIZON`;
        `rmse` of the remaining life up to `CAP`, `coverage` of its 90 % interval; where machines
        were seen in part, `rmse_last` of each one's last step, as C-MAPSS is usually scored.

    Raises:
        BadInputError: There are too few lives.
    """
    if len(fleet.lives) < LEAST_LIVES:
        what = f"{len(fleet.lives)} lives; at least {LEAST_LIVES} are needed to learn from"
        raise BadInputError(what, fleet.name)
    judged = [*_forecasts(fleet, seed)]
    left, p, remaining, low, high = np.concatenate(judged, axis=1)
    soon, capped = left <= HORIZON, np.minimum(left, CAP)
    found = {
        "auc": roc_auc(soon, p),
        "brier": float(np.mean((p - soon) ** 2)),
        "calibration_error": calibration_error(soon, p),
        "rmse": _rms(remaining - capped),
        "coverage": float(np.mean((low <= capped) & (capped <= high))),
    }
    last = np.array([one[:, -1] for one in judged])
    if last[:, 0].any():
        found["rmse_last"] = _rms(last[:, 2] - np.minimum(last[:, 0], CAP))
    return found


def _forecasts(fleet: Fleet, seed: int) -> Iterator[Column]:
    """Give each machine's steps to its failure and what was forecast, shape (5, steps)."""
    if fleet.tests:
        model = _learnt(fleet, fleet.lives, seed)
        yield from (_forecast(model, life) for life in fleet.tests)
        return
    fold = np.random.default_rng(seed).permutation(len(fleet.lives)) % _FOLDS
    for number in range(_FOLDS):
        taught = [life for life, at in zip(fleet.lives, fold, strict=True) if at != number]
        model = _learnt(fleet, taught, seed)
        yield from (_forecast(model, fleet.lives[at]) for at in np.flatnonzero(fold == number))


def _learnt(fleet: Fleet, lives: Sequence[Life], seed: int) -> RiskModel:
    # One thread: seeds and files run beside each other, and spinning pools slow all of them.
    with threadpool_limits(1):
        return RiskModel.fit(
            lives, horizon=HORIZON, cap=CAP, seed=seed, conditions=fleet.conditions
        )


def _forecast(model: RiskModel, life: Life) -> Column:
    told = model.forecast(life.values)
    ends = (told.remaining_low, told.remaining_high)
    return np.stack([life.left, told.p, told.remaining, *ends])


def _rms(error: Column) -> float:
    return float(np.sqrt(np.mean(error**2)))


def calibration_error(truth: npt.NDArray[np.bool_], p: Column) -> float:
    """Return the expected calibration error over ten equal bins (Naeini et al. 2015)."""
    bins = np.minimum((p * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for number in range(_BINS):
        inside = bins == number
        if inside.any():
            error += float(inside.mean() * abs(truth[inside].mean() - p[inside].mean()))
    return error
