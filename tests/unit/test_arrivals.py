"""Silence and wrong clocks, by arrival; the clock on the wall is the test's."""

from collections.abc import Callable

import numpy as np

from domain.arrivals import IN_A_ROW, Arrivals
from domain.conditions import Condition, SensorState, StateBook, StateChanges
from domain.readings import ReadingBatch
from tests.ingest_support import PUMP

S = 1_000_000
NOW_S = 1_800_000_000
PERIODS = dict.fromkeys(range(1, 6), 0.5)


class Wall:
    """A stream of five machines and a scorer that looks every second."""

    def __init__(
        self, *, heard_before: dict[int, int] | None = None, book: StateBook | None = None
    ) -> None:
        self.now_s = NOW_S
        self.book = book or StateBook()
        self.arrivals = Arrivals(heard_before or {}, NOW_S * S)
        self.told: list[StateChanges] = []

    def run(
        self,
        seconds: int,
        machines: tuple[int, ...],
        instant_s: Callable[[int, int], float] = lambda _key, now_s: now_s,
        *,
        caught_up: bool = True,
    ) -> None:
        """Let time pass while these machines speak.

        Args:
            seconds: How long.
            machines: Who sends a reading every second.
            instant_s: Machine and time on the wall to the instant of the reading.
            caught_up: Whether the scorer has read all there is.
        """
        for _ in range(seconds):
            self.now_s += 1
            if machines:
                self.arrivals.hear(self._batch(machines, instant_s), self.now_s * S)
            self.told += self.arrivals.tick(
                self.book, PERIODS, now_us=self.now_s * S, caught_up=caught_up
            )

    def _batch(
        self, machines: tuple[int, ...], instant_s: Callable[[int, int], float]
    ) -> ReadingBatch:
        return ReadingBatch(
            machine_class=PUMP,
            machine_keys=np.array(machines, dtype=np.int32),
            instants_us=np.array(
                [round(instant_s(key, self.now_s) * S) for key in machines], dtype=np.int64
            ),
            values=np.zeros((len(machines), 4)),
        )

    def present(self) -> list[tuple[int, Condition, int]]:
        """Return what was told to have begun: machine, condition, seconds since the start."""
        return [
            (one.machine_key, one.condition, one.since_us // S - NOW_S)
            for changes in self.told
            for one in changes.present
        ]

    def ended(self) -> list[tuple[int, Condition]]:
        """Return what was told to be over."""
        return [(one.machine_key, one.condition) for c in self.told for one in c.ended]


def test_a_machine_that_stops_is_silent_without_any_reading_and_speaks_again() -> None:
    """After thirty seconds, since it was last heard; over with its next reading."""
    wall = Wall()
    wall.run(5, (1, 2, 3))
    wall.run(30, (1, 2))
    assert wall.present() == []
    wall.run(1, (1, 2))
    assert wall.present() == [(3, Condition.SILENT, 5)]
    wall.run(1, (1, 2, 3))
    assert wall.ended() == [(3, Condition.SILENT)]


def test_a_replayed_or_accelerated_fleet_is_neither_silent_nor_off() -> None:
    """Years behind, 25 times as fast and ending ahead of the wall: it speaks, and that counts."""
    wall = Wall()
    wall.run(60, (1, 2, 3), lambda _key, now_s: 1_500_000_000 + (now_s - NOW_S) * 25)
    wall.run(60, (1, 2, 3), lambda _key, now_s: now_s + 5000)

    assert wall.told == []


def test_nobody_is_silent_while_readings_wait_to_be_read() -> None:
    """The scorer is behind: what it has not heard yet may have been said."""
    wall = Wall()
    wall.run(5, (1, 2))
    wall.run(120, (1,), caught_up=False)
    wall.run(30, (1,))
    assert wall.present() == []
    wall.run(1, (1,))
    assert wall.present() == [(2, Condition.SILENT, 5)]


def test_a_scorer_that_starts_anew_gives_everybody_time_and_forgets_no_silence() -> None:
    """Silence that was stored stays; who was heard before and is not now becomes silent."""
    silent = SensorState(
        machine_key=1,
        sensor="",
        condition=Condition.SILENT,
        since_us=(NOW_S - 900) * S,
        last_seen_us=(NOW_S - 600) * S,
    )
    before = {1: (NOW_S - 900) * S, 2: (NOW_S - 600) * S}
    wall = Wall(heard_before=before, book=StateBook([silent]))
    wall.run(30, (3,))
    assert wall.told == []
    wall.run(1, (3,))
    assert wall.present() == [(1, Condition.SILENT, -900), (2, Condition.SILENT, -600)]
    assert wall.ended() == []


def test_a_clock_that_is_off_is_told_after_some_agreement_and_taken_back() -> None:
    """Ten minutes behind four others; half a minute is nothing."""
    wall = Wall()
    everyone = (1, 2, 3, 4, 5)
    wall.run(20, everyone, lambda key, now_s: now_s - 30 * key)
    wall.run(IN_A_ROW - 1, everyone, lambda key, now_s: now_s + (600 if key == 2 else 0))
    assert wall.told == []
    wall.run(1, everyone, lambda key, now_s: now_s + (600 if key == 2 else 0))
    assert wall.present() == [(2, Condition.CLOCK_SKEW, 20 + IN_A_ROW)]


def test_a_clock_that_was_set_right_is_no_longer_off() -> None:
    """Its newest instant catches up; then, after some agreement, the state ends."""
    wall = Wall()
    everyone = (1, 2, 3)
    wall.run(20, everyone, lambda key, now_s: now_s - (600 if key == 3 else 0))
    assert [key for key, _what, _since in wall.present()] == [3, 3]
    wall.run(IN_A_ROW - 1, everyone)
    assert wall.ended() == []
    wall.run(1, everyone)
    assert wall.ended() == [(3, Condition.CLOCK_SKEW)]


def test_two_machines_cannot_say_whose_clock_is_wrong() -> None:
    """Nor is a history that is replayed beside the live ones a clock."""
    wall = Wall()
    wall.run(20, (1, 2), lambda key, now_s: now_s - (600 if key == 2 else 0))
    wall.run(20, (1, 2, 3), lambda key, now_s: now_s - (10**8 if key == 3 else 0))

    assert wall.told == []
