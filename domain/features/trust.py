"""How much is known of a sensor's spread: a temperature that drifts was seen few times.

Readings of white noise are as many observations of its spread as there are readings. Of a sensor
that wanders, an hour may hold four independent ones, so what it does in the next hour says little,
however many deviations it is. The distance of such a sensor is that of Student's t with as many
degrees of freedom (-2 log density), which grows like z² near health and like log z far from it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from domain.features.robust import without_void
from domain.readings import Matrix, Vector

ENOUGH: Final = 0.5
"""A sensor that is known so well, relative to the best known one, is taken at its word: where all
drift alike there is nobody to believe instead."""

AVERAGED: Final = 2.0
"""Fewest independent readings of which a window's mean says more than one of them would."""

LEAST: Final = 1.0
"""Smallest number of degrees of freedom."""


def freedom_of(residuals: Sequence[Matrix], window_rows: int) -> Vector:
    """Return the degrees of freedom of each sensor's spread.

    Args:
        residuals: Per machine shape (n, S), about 0 while healthy; NaN is missing.
        window_rows: Of the longest window. A sensor of which it holds `AVERAGED` independent
            readings has its wanderings averaged out, and is not doubted.

    Returns:
        Shape (S,), >= `LEAST`; infinite where nothing has to be doubted.
    """
    seen = np.sum([independent(one) for one in residuals if len(one) > 1], axis=0)
    rows = sum(len(one) for one in residuals)
    plain = (seen >= ENOUGH * np.max(seen)) | (seen * window_rows >= AVERAGED * rows)
    known: Vector = np.where(plain, np.inf, np.maximum(seen - 1, LEAST))
    return known


def independent(values: Matrix) -> Vector:
    """Return how many independent observations each column is worth, shape (S,).

    Rows over the integrated autocorrelation time, summed up to the first lag without correlation
    (Sokal 1997, "Monte Carlo Methods in Statistical Mechanics", section 3).
    """
    rows = len(values)
    centred = np.nan_to_num(values - np.nanmean(without_void(values), axis=0))
    spectrum = np.fft.rfft(centred, 2 * rows, axis=0)
    products = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:rows]
    correlation = products / np.maximum(products[0], 1e-300)
    positive = np.logical_and.accumulate(correlation > 0, axis=0)
    positive[0] = False
    time: Vector = 1 + 2 * np.where(positive, correlation, 0.0).sum(axis=0)
    return rows / time


def doubted(deviations: Matrix, freedom: Vector) -> Matrix:
    """Return standardised deviations, shape (n, F), as far as their spread is known.

    Args:
        deviations: Shape (n, F).
        freedom: Shape (F,).
    """
    out = deviations.copy()
    at = np.isfinite(freedom)
    known, z = freedom[at], deviations[:, at]
    out[:, at] = np.sign(z) * np.sqrt((known + 1) * np.log1p(z * z / known))
    return out
