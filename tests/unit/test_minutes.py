"""Groups summed up by compiled code, against numpy group by group."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.minutes import NEVER, summed_up
from tests.unit.wire_samples import examples

_VALUE = st.floats(allow_infinity=False, allow_nan=False) | st.just(np.nan) | st.just(-0.0)
_GROUPS = st.lists(
    st.lists(st.tuples(_VALUE, _VALUE), min_size=1, max_size=5), min_size=1, max_size=4
)


@examples(10)
@given(_GROUPS)
def test_groups_are_summed_up_as_numpy_does(groups: list[list[tuple[float, float]]]) -> None:
    """Counts, extremes and the last value are exact; the mean never leaves the range of values."""
    values = np.array([row for group in groups for row in group])
    begins = np.cumsum([0, *map(len, groups[:-1])])
    instants = np.arange(len(values)) * 1_000

    sheet = summed_up(begins, instants, values)

    for number, (begin, group) in enumerate(zip(begins.tolist(), groups, strict=True)):
        for column in range(2):
            here = values[begin : begin + len(group), column]
            there = here[~np.isnan(here)]
            place = number, column
            assert sheet.counts[place] == len(there)
            if not len(there):
                found = (sheet.mean, sheet.low, sheet.high, sheet.last)
                assert np.isnan([one[place] for one in found]).all()
                assert sheet.last_us[place] == NEVER
                continue
            assert (sheet.low[place], sheet.high[place]) == (there.min(), there.max())
            assert sheet.last[place] == there[-1]
            assert sheet.last_us[place] == instants[begin + np.flatnonzero(~np.isnan(here))[-1]]
            assert there.min() <= sheet.mean[place] <= there.max()
            wide = there.astype(np.longdouble)  # whose range does not end where a double's does
            # Each of up to five shares is rounded, near zero to the smallest step of a double.
            bound = 1e-12 * abs(wide).mean() + 5 * 5e-324
            assert abs(sheet.mean[place] - wide.mean()) <= bound
