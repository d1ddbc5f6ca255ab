"""What a life so far says about its end: smoothed departures from a young machine."""

import numpy as np
from scipy.signal import lfilter

from domain.readings import Matrix

_SMOOTHING = (0.2, 0.1, 0.05, 0.025)
"""EWMA weights per step: memories of about 5, 10, 20 and 40 steps."""

_TINY = 1e-6
"""Keeps the logarithm of a departure of exactly zero finite."""


def life_features(
    values: Matrix, centre: Matrix, scale: Matrix, *, look_back: int | None = None
) -> Matrix:
    """Return causal features of one life; row t uses rows 0..t only.

    Per sensor: bias-corrected EWMAs of the standardised departure at four memories, and two
    differences between short and long memory (the trend). Per row: the logarithm of the root mean
    square departure at each memory (wear grows by factors), and, where whole lives are known, age
    and its logarithm.

    Args:
        values: Shape (steps, sensors), steps >= 1; NaN is missing and reads as the last value.
        centre: Shape (sensors,), mean of a young machine; or (steps, sensors), where it depends on
            how the machine is run.
        scale: Of the same shape, its standard deviation, > 0.
        look_back: Row t uses no more than so many rows, so that a machine whose beginning nobody
            saw is told like any other; its age is unknown then, and left out.

    Returns:
        Shape (steps, 6 * sensors + 6), or two columns less with `look_back`.
    """
    # What is missing keeps its last departure, which is its last value while conditions stay.
    departure = _filled((values - centre) / scale)
    smooth = [_ewma(departure, weight, look_back) for weight in _SMOOTHING]
    size = [np.log(np.sqrt((one**2).mean(1, keepdims=True)) + _TINY) for one in smooth]
    trend = [smooth[0] - smooth[2], smooth[1] - smooth[3]]
    if look_back is not None:
        return np.hstack([*smooth, *trend, *size])
    age = np.arange(1.0, len(values) + 1)[:, None]
    return np.hstack([*smooth, *trend, *size, np.log(age), age / 100])


def _ewma(values: Matrix, weight: float, look_back: int | None) -> Matrix:
    # Divided by the weights given so far, so that the first steps are means and not shrunk to 0.
    steps = np.arange(1, len(values) + 1)
    smoothed: Matrix = lfilter([weight], [1, weight - 1], values, axis=0)
    if look_back is not None and len(values) > look_back:
        smoothed[look_back:] -= (1 - weight) ** look_back * smoothed[:-look_back].copy()
        steps = np.minimum(steps, look_back)
    return smoothed / (1 - (1 - weight) ** steps)[:, None]


def _filled(departure: Matrix) -> Matrix:
    if np.isfinite(departure).all():
        return departure
    padded = np.vstack([np.zeros(departure.shape[1]), departure])
    known = np.isfinite(padded)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(padded))[:, None], 0), axis=0)
    filled: Matrix = np.take_along_axis(padded, newest, axis=0)[1:]
    return filled
