"""A period in so many points, whatever the period and wherever it begins."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.history import Trend
from storage.rollup_format import MINUTE_US
from storage.trends import coarsened, step_s


def trend(instants: np.ndarray[tuple[int], np.dtype[np.int64]], step: int) -> Trend:
    """Return a trend of two sensors; rows sum up one to four readings, of the second also none."""
    rows = np.arange(len(instants))
    count = np.column_stack([rows % 4 + 1, rows % 3])
    mean = np.where(count > 0, np.column_stack([rows, rows * 0.5]), np.nan)
    return Trend(
        machine="m",
        step_s=step,
        instants_us=instants,
        count=count,
        mean=mean,
        low=mean - 1,
        high=mean + 1,
    )


@settings(max_examples=300, deadline=None)
@given(
    start=st.integers(0, 10**15),
    minutes=st.integers(1, 3_000),
    points=st.integers(2, 200),
)
def test_minutes_never_exceed_the_points(start: int, minutes: int, points: int) -> None:
    """And a step is no longer than it must be: half of it would not do."""
    end = start + minutes * MINUTE_US
    first = start - start % MINUTE_US
    found = trend(np.arange(first, end, MINUTE_US), 60)
    step = step_s(end - start + MINUTE_US, points, unit_s=60)

    assert len(coarsened(found, step).instants_us) <= points
    assert step % 60 == 0
    assert step <= 60 * ((minutes + 1) / (points - 1) + 1)


@settings(max_examples=200, deadline=None)
@given(start=st.integers(0, 10**15), rows=st.integers(1, 400), step=st.integers(1, 40))
def test_a_longer_step_tells_the_same(start: int, rows: int, step: int) -> None:
    """Counts add up, means are those of all readings, extremes are kept."""
    fine = trend(start + np.arange(rows, dtype=np.int64) * MINUTE_US, 60)
    coarse = coarsened(fine, 60 * step)

    assert coarse.count.sum() == fine.count.sum()
    total = np.nansum(fine.mean * fine.count, axis=0)
    assert np.allclose(np.nansum(coarse.mean * coarse.count, axis=0), total, rtol=1e-9)
    for few, many, pick in (
        (coarse.low, fine.low, np.fmin),
        (coarse.high, fine.high, np.fmax),
    ):
        assert np.array_equal(pick.reduce(few), pick.reduce(many), equal_nan=True)
    assert np.all(np.diff(coarse.instants_us) > 0)
    assert np.array_equal(np.isnan(coarse.mean), coarse.count == 0)
