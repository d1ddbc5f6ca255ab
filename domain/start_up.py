"""How a machine came to run, which is not how it runs.

A history that begins with a cold start holds two levels. Regimes tell them apart where a machine
starts now and then; where it started once, the scale of a sensor becomes the distance between the
two, and a fault that is smaller is never seen. The beginning is cut where the marginal standard
error of the rest is least: MSER, as simulations drop their transients (White 1997,
https://doi.org/10.1177/003754979706900601).
"""

from typing import Final

import numpy as np

from domain.readings import Flags, Matrix, Vector

QUIETER: Final = 10.0
"""A sensor must move so many times less after the cut than over the whole: a machine that warms up
or drifts stays within 3, two levels that are 20 deviations apart are at 10."""

MOST: Final = 0.5
"""Share of a history that may be cut; a rule of MSER, whose estimate is not to be had otherwise."""


def start_up(values: Matrix) -> Flags:
    """Return which readings belong to how the machine came to run, shape (n,).

    Args:
        values: Of one machine, shape (n, S), oldest first; NaN is missing.
    """
    cuts = [_cut(values[:, sensor]) for sensor in range(values.shape[1])]
    out: Flags = np.arange(len(values)) < max(cuts, default=0)
    return out


def _cut(sensor: Vector) -> int:
    """Return how many readings come before the sensor's steady state; 0 where it has always been.

    Args:
        sensor: Shape (n,).
    """
    known = np.flatnonzero(np.isfinite(sensor))
    last = np.searchsorted(known, int(MOST * len(sensor)))
    if last < 1:
        return 0
    errors = _deviations(sensor[known])[: last + 1]
    left = len(known) - np.arange(len(errors))
    best = int(np.argmin(errors**2 / left))
    # What does not move at all afterwards is a setting or stuck, and no machine that came to run.
    if not 0 < QUIETER * errors[best] <= errors[0]:
        return 0
    return int(known[best])


def _deviations(values: Vector) -> Vector:
    """Return the standard deviation of what is left after each number of readings, shape (n,)."""
    centred = values[::-1] - values[-1]
    count = np.arange(1, len(values) + 1)
    mean = np.cumsum(centred) / count
    squares = np.cumsum(centred**2) / count
    out: Vector = np.sqrt(np.maximum(squares - mean**2, 0.0))[::-1]
    return out
