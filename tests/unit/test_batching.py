"""When a batch leaves, and how long a fault is waited for."""

import pytest

from ingestion.batching import Batching, backoff_s
from ingestion.housekeeping import ROLL_WITHIN_S, is_roll_due

RULE = Batching(quiet_size=100, quiet_s=5.0, most=10_000)


@pytest.mark.parametrize(
    ("waiting", "age_s", "free", "due"),
    [
        (0, 60.0, True, False),
        (99, 4.9, True, False),
        (100, 0.0, True, True),
        (1, 5.0, True, True),
        (9_999, 60.0, False, False),
    ],
)
def test_a_quiet_batch_leaves_by_size_or_age_and_a_busy_one_grows(
    waiting: int, age_s: float, *, free: bool, due: bool
) -> None:
    """Nothing leaves while the next stage is busy; otherwise BATCH_SIZE or COMMIT_INTERVAL_MS."""
    assert RULE.is_due(waiting, age_s, free=free) is due


def test_a_batch_never_gathers_more_than_its_most() -> None:
    """Memory is bounded, also when the quiet bound is set above the other."""
    assert [RULE.room(n) for n in (0, 9_999, 10_000, 20_000)] == [10_000, 1, 0, 0]
    assert Batching(quiet_size=500, quiet_s=1, most=50).is_due(50, 0, free=True)


def test_nobody_waits_longer_than_the_oldest_message_may() -> None:
    """The wait for more messages ends when the first one is due."""
    assert RULE.patience_s(0, 100.0) == pytest.approx(0.1)
    assert RULE.patience_s(5, 4.95) == pytest.approx(0.05)
    assert RULE.patience_s(5, 9.0) == pytest.approx(0.001)


def test_the_pause_doubles_up_to_a_bound() -> None:
    """A service that is back is found within five seconds, however long it was away."""
    assert [backoff_s(n) for n in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.4])
    assert backoff_s(10_000) == 5.0


@pytest.mark.parametrize(
    ("rested_s", "took_s", "behind", "due"),
    [
        (0.0, 0.0, False, True),
        (1.0, 0.5, False, False),
        (4.5, 0.5, False, True),
        (ROLL_WITHIN_S, 100.0, False, True),
        (59.0, 0.0, True, False),
        (ROLL_WITHIN_S, 0.0, True, True),
    ],
)
def test_minutes_wait_for_the_backlog_but_not_for_ever(
    rested_s: float, took_s: float, *, behind: bool, due: bool
) -> None:
    """Readings first; neither a backlog nor the cost of rollups delays them without a bound."""
    assert is_roll_due(rested_s, took_s, is_behind=behind) is due
