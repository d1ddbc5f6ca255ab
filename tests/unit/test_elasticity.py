"""How many consumers there should be, decided from numbers alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.elasticity import Bounds, Rules, Situation, Tide, wanted
from ingestion.gaps import Standing

RULES = Rules(few=1000, behind_s=5.0, catch_up_s=30.0, settle_s=10.0, calm_s=60.0, headroom=0.7)
BOUNDS = Bounds(least=1, most=4)
QUIET = Situation(
    lag=0,
    arriving_per_s=100.0,
    taken_per_s=100.0,
    each_per_s=1000.0,
    partitions=6,
    present=1,
    calm_s=1000.0,
    since_change_s=1000.0,
)


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 1),
        # Many wait, yet they are worked off within five seconds.
        ({"lag": 4000, "taken_per_s": 1000.0}, 1),
        # 60,000 within 30 s and 1,000/s that arrive take three that do 1,000/s; twice one is two.
        ({"lag": 60_000, "arriving_per_s": 1000.0, "taken_per_s": 1000.0}, 2),
        ({"lag": 60_000, "arriving_per_s": 1000.0, "taken_per_s": 2000.0, "present": 2}, 3),
        ({"lag": 10**9, "taken_per_s": 3000.0, "present": 3}, 4),
        ({"lag": 10**9, "taken_per_s": 1000.0, "partitions": 1}, 1),
        # Nothing is stored: more consumers would not mend what is wrong.
        ({"lag": 10**9, "taken_per_s": 0.0}, 1),
        # What was just changed has not settled.
        ({"lag": 60_000, "taken_per_s": 1000.0, "since_change_s": 9.0}, 1),
    ],
)
def test_a_group_grows_by_what_its_members_were_seen_to_do(
    change: dict[str, float], count: int
) -> None:
    """As many as would catch up in time, at most twice those at work, within all bounds."""
    assert wanted(replace(QUIET, **change), BOUNDS, RULES) == count  # type: ignore[arg-type] # a table of fields


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 2),
        ({"calm_s": 59.0}, 3),
        ({"since_change_s": 9.0}, 3),
        # Two do 2,000/s; 70 % of that may come before the third is missed.
        ({"arriving_per_s": 1400.0}, 2),
        ({"arriving_per_s": 1401.0}, 3),
    ],
)
def test_a_group_shrinks_by_one_when_the_others_have_room(
    change: dict[str, float], count: int
) -> None:
    """Calm for long, and not so that it must grow again at once."""
    three = replace(QUIET, present=3)
    assert wanted(replace(three, **change), BOUNDS, RULES) == count  # type: ignore[arg-type] # a table of fields


def test_bounds_hold_at_once() -> None:
    """Whatever has settled or not, and however much waits."""
    just_now = replace(QUIET, since_change_s=0.0)

    assert wanted(replace(just_now, present=0), BOUNDS, RULES) == 1
    assert wanted(replace(just_now, present=9), BOUNDS, RULES) == 4
    assert wanted(just_now, Bounds(least=2, most=2), RULES) == 2
    # Fewer partitions than the least: the operator's word counts.
    assert wanted(replace(just_now, partitions=1), Bounds(least=2, most=4), RULES) == 2


def test_from_none_to_one_and_back() -> None:
    """With a least of zero the first message calls a consumer, and long quiet sends it home."""
    bounds = Bounds(least=0, most=4)
    none = replace(QUIET, present=0, arriving_per_s=0.0, taken_per_s=0.0)

    assert wanted(none, bounds, RULES) == 0
    assert wanted(replace(none, lag=1, since_change_s=0.0), bounds, RULES) == 1
    assert wanted(replace(none, present=1), bounds, RULES) == 0
    assert wanted(replace(none, present=1, lag=1), bounds, RULES) == 1
    assert wanted(replace(none, lag=1), Bounds(least=0, most=0), RULES) == 0


def test_bounds_that_cannot_hold_are_refused() -> None:
    """A least above the most is a mistake."""
    with pytest.raises(ValueError, match="least <= most"):
        Bounds(least=3, most=2)


@given(
    st.builds(
        Situation,
        lag=st.integers(0, 10**12),
        arriving_per_s=st.floats(0, 1e9),
        taken_per_s=st.floats(0, 1e9),
        each_per_s=st.floats(0, 1e9),
        partitions=st.integers(1, 1000),
        present=st.integers(0, 300),
        calm_s=st.floats(0, 1e6),
        since_change_s=st.floats(0, 1e6),
    ),
    st.integers(0, 5),
    st.integers(0, 20),
)
def test_no_situation_leads_out_of_the_bounds(now: Situation, least: int, more: int) -> None:
    """Least always, most never exceeded, and no step down by more than one inside."""
    count = wanted(now, Bounds(least=least, most=least + more), RULES)

    assert least <= count <= least + more
    assert count <= max(least, now.partitions)
    if least <= now.present <= min(least + more, now.partitions):
        assert now.present - 1 <= count <= max(1, 2 * now.present)


def standing(taken: int | None, end: int, earliest: int = 0) -> list[Standing]:
    """Return one partition."""
    return [Standing(partition=0, next=taken, earliest=earliest, end=end)]


def test_rates_come_from_successive_looks() -> None:
    """What came and what was stored, over the last seconds; the first look knows neither."""
    tide = Tide(RULES, 0.0)

    first = tide.look(standing(None, 5000), present=1, now_s=0.0)
    second = tide.look(standing(1000, 7000), present=1, now_s=2.0)

    assert (first.lag, first.arriving_per_s, first.taken_per_s) == (5000, 0.0, 0.0)
    assert (second.lag, second.arriving_per_s, second.taken_per_s) == (6000, 1000.0, 500.0)
    assert (second.calm_s, second.since_change_s, second.partitions) == (0.0, 2.0, 1)


def test_what_one_can_do_is_learnt_while_behind_and_kept_when_quiet() -> None:
    """A quiet consumer only shows how little there is to do."""
    tide = Tide(RULES, 0.0)
    for second in range(11, 20):
        tide.look(standing(second * 500, 100_000), present=2, now_s=float(second))

    quiet = tide.look(standing(100_000, 100_000), present=2, now_s=60.0)
    later = tide.look(standing(100_000, 100_000), present=2, now_s=90.0)

    assert quiet.each_per_s == 250.0
    assert (later.each_per_s, later.taken_per_s) == (250.0, 0.0)
    assert later.calm_s == 71.0


def test_rates_before_a_change_are_forgotten() -> None:
    """A group of another size has another rate, and needs its time to settle."""
    tide = Tide(RULES, 0.0)
    tide.look(standing(0, 1000), present=1, now_s=1.0)
    tide.changed(2.0)

    after = tide.look(standing(900, 1000), present=2, now_s=3.0)

    assert (after.taken_per_s, after.since_change_s) == (0.0, 1.0)


def test_a_topic_made_anew_is_no_negative_rate() -> None:
    """Its ends begin at zero again, and what was stored of the old one is another topic's."""
    tide = Tide(RULES, 0.0)
    tide.look(standing(5000, 5000), present=1, now_s=1.0)

    anew = tide.look(standing(None, 10), present=1, now_s=2.0)
    stored_later = tide.look(standing(12, 10), present=1, now_s=3.0)

    assert (anew.arriving_per_s, anew.taken_per_s) == (0.0, 0.0)
    assert stored_later.lag == 0


def test_a_day_of_load_does_not_make_the_group_flutter() -> None:
    """Two consumers' worth of load, hour after hour: it grows once and stays."""
    tide, present, changes = Tide(RULES, 0.0), 1, []
    end = taken = 0.0
    for second in range(2, 7200, 2):
        end += 2 * 1500.0
        taken = min(end, taken + 2 * 1000.0 * present)
        found = standing(int(taken), int(end)) + 3 * standing(0, 0)
        count = wanted(tide.look(found, present=present, now_s=float(second)), BOUNDS, RULES)
        if count != present:
            changes.append(count)
            present = count
            tide.changed(float(second))

    assert changes == [2]
