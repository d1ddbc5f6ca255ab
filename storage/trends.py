"""A machine's course over a period in at most so many points: readings, minutes, or longer."""

from dataclasses import replace

import numpy as np

from storage import history
from storage.connect import Connection
from storage.history import Trend
from storage.rollup_format import MINUTE_US


def read(on: Connection, machine: str, start_us: int, end_us: int, *, points: int) -> Trend:
    """Read a machine over a period in at most `points` rows.

    Raw readings where the period holds so few, else minutes, summed up to longer steps where even
    those are too many.

    Args:
        on: A session.
        machine: Its name.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period.
        points: Rows at the most.

    Raises:
        NotFoundError: The machine is not registered.
    """
    (found,) = history.read_trends(on, [machine], start_us, end_us, most=points)
    if found.step_s == 0:
        # A machine may send more often than its class says.
        return found if len(found.instants_us) <= points else _of_raw(found, points)
    minutes = -(-(end_us - start_us) // MINUTE_US) + 1
    return coarsened(found, 60 * -(-minutes // points))


def coarsened(trend: Trend, step_s: int) -> Trend:
    """Sum a trend up to steps of so many seconds; means are weighted by their readings."""
    if step_s <= trend.step_s or not len(trend.instants_us):
        return trend
    step_us = step_s * 1_000_000
    steps = trend.instants_us // step_us * step_us
    begins = np.flatnonzero(np.diff(steps, prepend=steps[0] - 1))
    count = np.add.reduceat(trend.count, begins, axis=0)
    shares = np.repeat(np.maximum(count, 1), np.diff([*begins, len(steps)]), axis=0)
    # Divided first: a sum of the largest numbers would leave the range of a double.
    parts = np.where(trend.count > 0, trend.mean * (trend.count / shares), 0.0)
    mean = np.add.reduceat(parts, begins, axis=0)
    return replace(
        trend,
        step_s=step_s,
        instants_us=steps[begins],
        count=count,
        mean=np.where(count > 0, mean, np.nan),
        low=np.fmin.reduceat(trend.low, begins, axis=0),
        high=np.fmax.reduceat(trend.high, begins, axis=0),
    )


def _of_raw(trend: Trend, points: int) -> Trend:
    span_us = int(trend.instants_us[-1] - trend.instants_us[0]) + 1
    # One more than fit, for a period need not begin where a step begins.
    return coarsened(trend, max(1, -(-span_us // (1_000_000 * max(1, points - 1)))))
