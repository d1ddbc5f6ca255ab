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
        points: Rows at the most; at least 2.

    Raises:
        NotFoundError: The machine is not registered.
    """
    (found,) = history.read_trends(on, [machine], start_us, end_us, most=points)
    if len(found.instants_us) <= points:
        return found
    if found.step_s == 0:
        # A machine may send more often than its class says.
        return coarsened(found, step_s(end_us - start_us, points))
    return coarsened(found, step_s(end_us - start_us + MINUTE_US, points, unit_s=60))


def step_s(span_us: int, points: int, *, unit_s: int = 1) -> int:
    """Return the shortest step, a multiple of the unit, of which so many cover a period.

    Steps begin at multiples of themselves and not where the period does, so one more is needed
    than fit into it.

    >>> step_s(3_600_000_000, 61, unit_s=60)
    60

    Args:
        span_us: Length of the period, microseconds.
        points: Steps at the most; at least 2.
        unit_s: Seconds.
    """
    return unit_s * max(1, -(-span_us // (1_000_000 * unit_s * (points - 1))))


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
