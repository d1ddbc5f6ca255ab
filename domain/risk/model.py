"""P(failure within a horizon) and remaining life, with intervals, from lives that ended or did not.

The probability is a logistic regression on `life_features`, its log-odds brought to scale by those
of held-out lives (Platt 1999); its interval is the delete-a-group jackknife over lives (Efron &
Tibshirani 1993, ch. 11) on the log-odds. Remaining life, capped because a young machine does not
show how long it has, is a ridge regression on a hinge basis of the same features; its interval is
split-conformal (Lei et al. 2018) with residuals of lives that were held out, taken where the
prediction is similar. What lives that have not ended teach is in `domain.risk.lives`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, Ridge

from domain.readings import Matrix
from domain.risk.features import life_features
from domain.risk.lives import Life, Rows, folds_of
from domain.risk.usual import Usual

_FOLDS = 5
LEAST_LIVES = 2 * _FOLDS
LEAST_FAILURES = _FOLDS
"""Fewer cannot be held out in turns."""

_BANDS = 10
"""Bands of predicted remaining life, each with its own conformal residuals."""
_COVERAGE = 0.9
_Z = 1.645
"""Two-sided 90 % of a normal distribution."""
type Arrays = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """What a life so far promises; all of shape (steps,), intervals of 90 %.

    Attributes:
        p: Probability of failure within the horizon.
        p_low: Lower end of its interval.
        p_high: Upper end.
        remaining: Steps until the failure, at most the model's cap.
        remaining_low: Lower end of its interval.
        remaining_high: Upper end.
    """

    p: Matrix
    p_low: Matrix
    p_high: Matrix
    remaining: Matrix
    remaining_low: Matrix
    remaining_high: Matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskModel:
    """A fitted forecast; plain arrays, so that it is stored without pickle.

    Attributes:
        horizon: Steps of the probability.
        cap: Largest remaining life it tells apart, in steps.
        look_back: Steps it looks back on; None where it knows whole lives.
        arrays: Coefficients and quantiles by name.
    """

    horizon: int
    cap: int
    look_back: int | None = None
    arrays: Mapping[str, Matrix]

    @classmethod
    def fit(  # noqa: PLR0913 - keyword-only, what a forecast is made with
        cls,
        lives: Sequence[Life],
        *,
        horizon: int,
        cap: int,
        seed: int,
        look_back: int | None = None,
        conditions: Sequence[int] = (),
    ) -> Self:
        """Learn from past lives.

        Args:
            lives: At least 10, of which at least 5 failed; the same sensors in each.
            horizon: Steps within which a failure is to be foretold; > 0.
            cap: Remaining life beyond which machines look alike; > horizon.
            seed: Decides which lives are held out together.
            look_back: Steps that the forecast may look back on; None for whole lives.
            conditions: Columns that say how a machine is run, not how it is.

        Raises:
            ValueError: There are too few lives to learn from and to check on.
        """
        failed = sum(life.failed for life in lives)
        if len(lives) < LEAST_LIVES or failed < LEAST_FAILURES:
            raise ValueError(
                f"risk needs at least {LEAST_LIVES} lives, {LEAST_FAILURES} of them failed; got "
                f"{len(lives)} and {failed}"
            )
        usual = Usual.fit([life.values for life in lives], conditions=conditions, seed=seed)
        rows = Rows.of(lives, usual=usual, horizon=horizon, cap=cap, look_back=look_back)
        arrays: Arrays = usual.to_arrays() | _basis(rows.features)
        group = folds_of(lives, _FOLDS, seed)
        held = [rows.take(group[rows.life] == k) for k in range(_FOLDS)]
        taught = [rows.take(group[rows.life] != k) for k in range(_FOLDS)]
        arrays["odds"] = _odds(rows, arrays)
        arrays["odds_folds"] = np.vstack([_odds(part, arrays) for part in taught])
        arrays["calibration"] = _calibration(held, arrays)
        arrays["span"] = _span(rows, arrays)
        spans = [_span(part, arrays) for part in taught]
        arrays |= _conformal(held, spans, arrays, cap)
        return cls(horizon=horizon, cap=cap, look_back=look_back, arrays=arrays)

    def forecast(self, values: Matrix) -> Forecast:
        """Return what each step of a life so far promised, from that step and earlier ones only.

        Args:
            values: Shape (steps, sensors).
        """
        arrays = self.arrays
        usual = Usual.from_arrays(arrays)
        features = life_features(values, *usual.of(values), look_back=self.look_back)
        level = _linear(features, arrays)
        shift, slope = arrays["calibration"]
        odds = shift + slope * (level @ arrays["odds"])
        folds = slope * (level @ arrays["odds_folds"].T)
        spread = np.sqrt((_FOLDS - 1) * ((folds - folds.mean(1, keepdims=True)) ** 2).mean(1))
        remaining = np.clip(_hinges(features, arrays) @ arrays["span"], 0, self.cap)
        band = np.searchsorted(arrays["edges"], remaining, side="right")
        return Forecast(
            p=_sigmoid(odds),
            p_low=_sigmoid(odds - _Z * spread),
            p_high=_sigmoid(odds + _Z * spread),
            remaining=remaining,
            remaining_low=np.clip(remaining + arrays["low"][band], 0, self.cap),
            remaining_high=np.clip(remaining + arrays["high"][band], 0, self.cap),
        )


def _basis(features: Matrix) -> Arrays:
    mean, sd = features.mean(0), features.std(0)
    knots = np.quantile(features, [0.0, 0.25, 0.5, 0.75, 1.0], axis=0)
    return {"mean": mean, "sd": np.where(sd > 0, sd, 1.0), "knots": knots}


def _linear(features: Matrix, arrays: Mapping[str, Matrix]) -> Matrix:
    # Beyond what training saw, the nearest value seen: a straight line would promise too much.
    knots = arrays["knots"]
    level = (np.clip(features, knots[0], knots[-1]) - arrays["mean"]) / arrays["sd"]
    return np.hstack([np.ones((len(level), 1)), level])


def _hinges(features: Matrix, arrays: Mapping[str, Matrix]) -> Matrix:
    level = _linear(features, arrays)
    bends = [
        np.clip(features - low, 0, high - low) / arrays["sd"]
        for low, high in pairwise(arrays["knots"][1:])
    ]
    return np.hstack([level, *bends])


def _odds(rows: Rows, arrays: Arrays) -> Matrix:
    known = np.isfinite(rows.soon)
    soon = rows.soon[known] > 0
    if soon.all() or not soon.any():
        raise ValueError("with one fifth of the machines held out, only one outcome is known")
    design = _linear(rows.features[known], arrays)[:, 1:]
    fitted = LogisticRegression(C=0.1, max_iter=3000).fit(
        design, soon, sample_weight=rows.weight[known]
    )
    return np.concatenate([fitted.intercept_, fitted.coef_[0]])


def _calibration(held: Sequence[Rows], arrays: Arrays) -> Matrix:
    """Return shift and slope that bring log-odds to what happened to lives that were held out."""
    told, soon, weight = [], [], []
    for rows, odds in zip(held, arrays["odds_folds"], strict=True):
        known = np.isfinite(rows.soon)
        told.append(_linear(rows.features[known], arrays) @ odds)
        soon.append(rows.soon[known] > 0)
        weight.append(rows.weight[known])
    fitted = LogisticRegression(C=1e6).fit(
        np.concatenate(told)[:, None], np.concatenate(soon), sample_weight=np.concatenate(weight)
    )
    slope = float(fitted.coef_[0, 0])
    if slope > 0:
        return np.array([float(fitted.intercept_[0]), slope])
    # What is known foretells nothing: the share of steps before a failure is all that can be told.
    share = float(np.average(np.concatenate(soon), weights=np.concatenate(weight)))
    return np.array([np.log(share / (1 - share)), 0.0])


def _span(rows: Rows, arrays: Arrays) -> Matrix:
    known = np.isfinite(rows.remaining)
    design = _hinges(rows.features[known], arrays)[:, 1:]
    fitted = Ridge(30.0).fit(design, rows.remaining[known])
    return np.concatenate([[fitted.intercept_], fitted.coef_])


def _conformal(held: list[Rows], spans: list[Matrix], arrays: Arrays, cap: int) -> Arrays:
    told, error = [], []
    for rows, span in zip(held, spans, strict=True):
        known = np.isfinite(rows.remaining)
        remaining = np.clip(_hinges(rows.features[known], arrays) @ span, 0, cap)
        told.append(remaining)
        error.append(rows.remaining[known] - remaining)
    predicted, residual = np.concatenate(told), np.concatenate(error)
    edges = np.quantile(predicted, np.linspace(0, 1, _BANDS + 1)[1:-1])
    band = np.searchsorted(edges, predicted, side="right")
    tail = (1 - _COVERAGE) / 2
    parts = [residual[band == number] for number in range(_BANDS)]
    low, high = (
        np.array([np.quantile(part, q) if len(part) else 0.0 for part in parts])
        for q in (tail, 1 - tail)
    )
    return {"edges": edges, "low": low, "high": high}


def _sigmoid(odds: Matrix) -> Matrix:
    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
