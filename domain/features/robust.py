"""Statistics that a short failure in the history does not move."""

import numpy as np

from domain.readings import Matrix


def without_void(values: Matrix) -> Matrix:
    """Give sensors without any value one zero, so that medians have something to stand on."""
    empty = np.isnan(values).all(axis=0)
    filled: Matrix = np.where(empty, 0.0, values)
    return filled


def deviation(values: Matrix) -> Matrix:
    """Return a standard deviation that outliers do not move but quantised sensors do not break."""
    values = without_void(values)
    low, high = np.nanpercentile(values, (15.87, 84.13), axis=0)
    deviation: Matrix = np.maximum((high - low) / 2, 0.3 * np.nanstd(values, axis=0))
    return deviation


def floored(deviation: Matrix, values: Matrix) -> Matrix:
    """Keep the deviation of a sensor that hardly moved away from 0."""
    level = np.nanmedian(np.abs(without_void(values)), axis=0)
    kept: Matrix = np.maximum(deviation, 1e-3 * level + 1e-9)
    return kept
