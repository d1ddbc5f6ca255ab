"""What predict asks Postgres about a machine beside its window, asked once a second at most."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from domain.readings import History
from ray_app.serve.scorer import Past

VALID_S = 1.0
"""How old an answer may be: a promotion is noticed as late."""

_MOST = 4096
"""Machines and steps remembered; then all are forgotten, which costs a read of each."""


@dataclass(frozen=True, slots=True)
class _Steps:
    at: float
    whole: History
    head: History


class Remembered:
    """Stored readings, of which steps and first instants are remembered for `VALID_S`.

    A risk needs the steps of hours and the readings of the step under way, and they are the same
    for every window that begins in that step. Windows themselves are never remembered. Safe to use
    from several threads: two of them may ask for the same, and both are right.

    Args:
        past: Where stored readings come from.
        clock: Monotonic seconds.
    """

    def __init__(self, past: Past, clock: Callable[[], float] = time.monotonic) -> None:
        self._past, self._clock = past, clock
        self._steps: dict[tuple[str, int, int], _Steps] = {}
        self._firsts: dict[str, tuple[float, int | None]] = {}

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return at most `rows` newest readings of a machine before an instant."""
        return self._past.before(machine, instant_us, rows)

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return at most `rows` oldest readings of a machine from an instant up to another."""
        return self._past.since(machine, from_us, before_us, rows)

    def newest(self, machine: str, rows: int) -> History:
        """Return at most `rows` newest readings of a machine."""
        return self._past.newest(machine, rows)

    def first_us(self, machine: str) -> int | None:
        """Return the instant of a machine's oldest stored reading; None if it has none."""
        now, found = self._clock(), self._firsts.get(machine)
        if found is None or now - found[0] >= VALID_S:
            found = now, self._past.first_us(machine)
            _room(self._firsts)[machine] = found
        return found[1]

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Return whole steps of a machine before an instant, and the readings behind them."""
        begin_us = before_us - before_us % step_us
        key, now = (machine, begin_us, step_us), self._clock()
        found = self._steps.get(key)
        if found is None or now - found.at >= VALID_S:
            # All of the step under way, so that later windows find their part of it here.
            found = _Steps(now, *self._past.steps(machine, begin_us + step_us - 1, step_us))
            _room(self._steps)[key] = found
        rows = int(np.searchsorted(found.head.instants_us, before_us))
        return found.whole, found.head.take(slice(rows))


def _room[K, V](remembered: dict[K, V]) -> dict[K, V]:
    if len(remembered) >= _MOST:
        remembered.clear()
    return remembered
