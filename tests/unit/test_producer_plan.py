"""When a simulated fleet sends what."""

import pytest

from domain.errors import BadInputError
from ray_app.producer_plan import STEP_US, ProducerPlan

S = 1_000_000


def _plan(**changed: object) -> ProducerPlan:
    given = {"machines": ("a",), "start_us": 0, "live_us": 100 * S} | changed
    return ProducerPlan(**given)  # type: ignore[arg-type]


def test_history_is_sent_in_pieces_as_fast_as_it_goes() -> None:
    """However late the wall clock is, one piece is a minute."""
    plan = _plan(live_us=1000 * S)

    assert plan.next_us(0, 5000 * S) == STEP_US
    assert plan.next_us(990 * S, 1001 * S) == 1001 * S


def test_an_accelerated_clock_runs_ahead_of_the_wall() -> None:
    """Ten seconds at speed 20 are two hundred."""
    assert _plan(speed=20.0).event_us(110 * S) == 300 * S


def test_a_fleet_that_goes_live_in_the_past_catches_up_and_stays() -> None:
    """It never passes the present, where it slows down to one reading per period."""
    plan = _plan(began_us=1000 * S, speed=20.0)

    assert plan.event_us(1010 * S) == 300 * S
    assert plan.pause_s(1010 * S) == 0.025
    assert plan.event_us(2000 * S) == 2000 * S
    assert plan.pause_s(2000 * S) == plan.period_s


def test_a_plan_with_an_end_ends() -> None:
    """The clock stands still at the end."""
    plan = _plan(until_us=150 * S)

    assert plan.event_us(999 * S) == 150 * S
    assert not plan.ends_at(149 * S)
    assert plan.ends_at(150 * S)


@pytest.mark.parametrize(
    "wrong", [{"machines": ()}, {"start_us": 101 * S}, {"speed": 0.0}, {"period_s": -1.0}]
)
def test_a_plan_that_cannot_be_carried_out_is_refused(wrong: dict[str, object]) -> None:
    """At its birth, not in the middle of the night."""
    with pytest.raises(BadInputError):
        _plan(**wrong)
