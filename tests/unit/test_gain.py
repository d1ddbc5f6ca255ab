"""The best of many is taken only if it is better by more than luck."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.gain import MIN_GAIN, gain_of

OBJECTIVES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("gains", "clear"),
    [
        ((0.03, 0.04, 0.035, 0.03, 0.04), True),
        ((0.004, 0.005, 0.006, 0.005, 0.004), False),  # sure, and not worth it
        ((0.2, -0.12, 0.15, -0.1, 0.02), False),  # worth it, and not sure
        ((0.02,), True),  # nothing to know a scatter by
        ((-0.1, -0.1), False),
    ],
)
def test_a_gain_must_be_worth_it_and_beyond_its_scatter(
    *, gains: tuple[float, ...], clear: bool
) -> None:
    """In pairs: how much both move from replay to replay says nothing."""
    old = [0.3 + 0.1 * at for at in range(len(gains))]
    found = gain_of([one + gain for one, gain in zip(old, gains, strict=True)], old)

    assert found.clear is clear
    assert found.mean == pytest.approx(fmean(gains))
    assert found.needed >= MIN_GAIN


@given(new=OBJECTIVES)
def test_nothing_is_better_than_itself(new: list[float]) -> None:
    """So what is there stays."""
    assert not gain_of(new, new).clear


def test_replays_must_be_the_same_ones() -> None:
    """Another number of them cannot be compared in pairs."""
    with pytest.raises(ValueError, match="argument"):
        gain_of([0.5, 0.6], [0.5])
