"""Steps of a machine are asked for once a second, and are the same as if asked for each time."""

import numpy as np
import pytest

from domain.readings import History
from ray_app.serve.remembered import VALID_S, Remembered

STEP_US = 60_000_000
BEGIN_US = 1_750_000_020_000_000
"""A whole number of steps."""


class _Stored:
    """A machine that reads once a second; counts how often it is asked."""

    def __init__(self) -> None:
        self.until_us, self.asked = BEGIN_US + STEP_US // 2, 0

    def _between(self, machine: str, start_us: int, end_us: int) -> History:
        instants = np.arange(start_us, min(end_us, self.until_us), 1_000_000, dtype=np.int64)
        return History(machine=machine, instants_us=instants, values=instants[:, None] / 1e6)

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        self.asked += 1
        return self._between(machine, instant_us - rows * 1_000_000, instant_us)

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        self.asked += 1
        return self._between(machine, from_us, min(before_us, from_us + rows * 1_000_000))

    def newest(self, machine: str, rows: int) -> History:
        return self.before(machine, self.until_us, rows)

    def first_us(self, machine: str) -> int | None:
        self.asked += 1
        return None if machine == "new" else BEGIN_US

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        self.asked += 1
        begin_us = before_us - before_us % step_us
        begins = np.arange(begin_us - 3 * step_us, begin_us, step_us, dtype=np.int64)
        whole = History(machine=machine, instants_us=begins, values=begins[:, None] / 1e6)
        return whole, self._between(machine, begin_us, before_us)


class _Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_windows_of_one_step_are_answered_by_one_question() -> None:
    """Whatever the window begins with, steps and head are those of a question of its own."""
    stored, plain = _Stored(), _Stored()
    remembered = Remembered(stored, _Clock())

    for offset_us in (20_000_000, 5_000_000, 0, 29_999_999, STEP_US - 1):
        found = remembered.steps("m", BEGIN_US + offset_us, STEP_US)
        wanted = plain.steps("m", BEGIN_US + offset_us, STEP_US)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one.instants_us, other.instants_us)
            np.testing.assert_array_equal(one.values, other.values)

    assert (stored.asked, plain.asked) == (1, 5)


def test_another_machine_step_or_length_is_another_question() -> None:
    """Nothing of one is told of the other."""
    stored = _Stored()
    remembered = Remembered(stored, _Clock())

    for machine, before_us, step_us in (
        ("m", BEGIN_US, STEP_US),
        ("n", BEGIN_US, STEP_US),
        ("m", BEGIN_US - 1, STEP_US),
        ("m", BEGIN_US, STEP_US // 2),
    ):
        whole, _ = remembered.steps(machine, before_us, step_us)
        assert whole.machine == machine
        assert whole.instants_us[-1] == before_us - before_us % step_us - step_us

    assert stored.asked == 4


def test_what_was_stored_since_is_there_a_second_later() -> None:
    """An answer is no older than `VALID_S`."""
    stored, clock = _Stored(), _Clock()
    remembered = Remembered(stored, clock)
    at = BEGIN_US + STEP_US - 1
    assert len(remembered.steps("m", at, STEP_US)[1]) == 30

    stored.until_us += 10_000_000
    clock.now_s += VALID_S / 2
    assert len(remembered.steps("m", at, STEP_US)[1]) == 30
    clock.now_s += VALID_S / 2
    assert len(remembered.steps("m", at, STEP_US)[1]) == 40


@pytest.mark.parametrize(("machine", "first_us"), [("m", BEGIN_US), ("new", None)])
def test_the_first_instant_is_asked_for_once_a_second(machine: str, first_us: int | None) -> None:
    """Also of a machine that has none."""
    stored, clock = _Stored(), _Clock()
    remembered = Remembered(stored, clock)

    assert [remembered.first_us(machine) for _ in range(3)] == [first_us] * 3
    assert stored.asked == 1
    clock.now_s += VALID_S
    assert remembered.first_us(machine) == first_us
    assert stored.asked == 2


def test_windows_are_never_remembered() -> None:
    """A score is of what is stored now."""
    stored = _Stored()
    remembered = Remembered(stored, _Clock())

    for _ in range(2):
        assert len(remembered.before("m", BEGIN_US + 9_000_000, 5)) == 5
        assert len(remembered.newest("m", 3)) == 3

    assert stored.asked == 4
