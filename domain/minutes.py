"""Groups of readings summed up sensor by sensor, compiled."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from domain.jit import njit_uncounted
from domain.readings import Instants, Matrix

NEVER = np.iinfo(np.int64).min
"""`last_us` of a sensor that was missing from every reading of its group."""


class Sheet(NamedTuple):
    """What is known of each group and sensor; all of shape (groups, sensors).

    Attributes:
        counts: Readings in which the sensor was there.
        mean: This and what follows is NaN where `counts` is 0.
        low: Smallest value.
        high: Largest value.
        last: Value of the latest reading in which the sensor was there.
        last_us: Instant of that reading, `NEVER` where `counts` is 0.
    """

    counts: npt.NDArray[np.int32]
    mean: Matrix
    low: Matrix
    high: Matrix
    last: Matrix
    last_us: npt.NDArray[np.int64]


def summed_up(begins: npt.NDArray[np.int64], instants_us: Instants, values: Matrix) -> Sheet:
    """Sum up groups of readings.

    Args:
        begins: Shape (groups,), first row of each group, ascending; the first one is 0.
        instants_us: Shape (n,), n >= 1, ascending within a group.
        values: Shape (n, sensors), finite or NaN (missing).
    """
    shape = (len(begins), values.shape[1])
    mean, low, high, last = (np.full(shape, np.nan) for _ in range(4))
    sheet = Sheet(
        counts=np.zeros(shape, np.int32),
        mean=mean,
        low=low,
        high=high,
        last=last,
        last_us=np.full(shape, NEVER),
    )
    ends = np.append(begins[1:], len(values)).astype(np.int64)
    _sum_up(begins.astype(np.int64), ends, instants_us, np.ascontiguousarray(values), sheet)
    return sheet


@njit_uncounted
def _sum_up(begins: Any, ends: Any, instants_us: Any, values: Any, sheet: Sheet) -> None:
    for group in range(len(begins)):
        for row in range(begins[group], ends[group]):
            for column in range(values.shape[1]):
                value = values[row, column]
                if value != value:  # noqa: PLR0124 - the compiled test for NaN
                    continue
                _look(sheet, group, column, value)
                sheet.last_us[group, column] = instants_us[row]
        # Divided first: a sum of the largest numbers would leave the range of a double.
        for row in range(begins[group], ends[group]):
            for column in range(values.shape[1]):
                value = values[row, column]
                if value == value:  # noqa: PLR0124 - as above
                    sheet.mean[group, column] += value / sheet.counts[group, column]
        # Rounding alone could carry it out of the range of the values, and of a double's.
        for column in range(values.shape[1]):
            if sheet.counts[group, column]:
                mean = max(sheet.mean[group, column], sheet.low[group, column])
                sheet.mean[group, column] = min(mean, sheet.high[group, column])


@njit_uncounted
def _look(sheet: Sheet, group: int, column: int, value: float) -> None:
    if sheet.counts[group, column] == 0:
        sheet.mean[group, column] = 0.0
        sheet.low[group, column] = value
        sheet.high[group, column] = value
    sheet.counts[group, column] += 1
    sheet.low[group, column] = min(sheet.low[group, column], value)
    sheet.high[group, column] = max(sheet.high[group, column], value)
    sheet.last[group, column] = value
