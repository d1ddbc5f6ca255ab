"""Which machines are silent and whose clock is off, judged by when readings arrive.

The instant of a reading says nothing about either by itself: a replayed history is years old, a
simulation may run ahead of the clock on the wall. So silence is measured between arrivals, and a
clock is held against those of the other machines, which are replayed or simulated alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from domain.conditions import FROM_ARRIVAL, WHOLE_MACHINE, Condition, StateBook, StateChanges, What
from domain.health import patience_s
from domain.readings import ReadingBatch

SKEW_S: Final = 120.0
"""A clock that is off by less does no harm; a fast simulation may seem to be, by its batches."""

NO_CLOCK_S: Final = 36 * 3600.0
"""What is off by more than any time zone is no clock but a history that is replayed."""

AT_LEAST_MACHINES: Final = 3
"""Of fewer, nobody can say whose clock is wrong."""

IN_A_ROW: Final = 5
"""Ticks that must agree before a clock is called wrong, or right again."""

_FRESH_S = 2.0


@dataclass(slots=True, kw_only=True)
class _Heard:
    at_us: int
    newest_us: int | None = None  # None: heard before this life
    doubts: int = 0
    skew_since_us: int | None = None


class Arrivals:
    """When each machine was last heard; for one thread.

    Args:
        before: Machine key → when it was heard in an earlier life, microseconds UTC.
        now_us: The present, by the clock on the wall: from here on this life listens.
    """

    def __init__(self, before: Mapping[int, int], now_us: int) -> None:
        self._heard = {key: _Heard(at_us=at_us) for key, at_us in before.items()}
        self._listening_us = now_us

    def hear(self, batch: ReadingBatch, now_us: int) -> None:
        """Note that these readings have arrived."""
        keys, inverse = np.unique(batch.machine_keys, return_inverse=True)
        newest = np.full(len(keys), np.iinfo(np.int64).min)
        np.maximum.at(newest, inverse, batch.instants_us)
        for key, newest_us in zip(keys.tolist(), newest.tolist(), strict=True):
            self.note(key, newest_us, now_us)

    def note(self, key: int, newest_us: int, now_us: int) -> None:
        """Note that readings of one machine have arrived, the newest of this instant."""
        one = self._heard.setdefault(key, _Heard(at_us=now_us))
        one.at_us = now_us
        one.newest_us = newest_us if one.newest_us is None else max(one.newest_us, newest_us)

    def tick(
        self, book: StateBook, periods_s: Mapping[int, float], *, now_us: int, caught_up: bool
    ) -> list[StateChanges]:
        """Judge every machine that was ever heard.

        Args:
            book: What is stored.
            periods_s: Machine key → nominal seconds between two readings.
            now_us: The present, by the clock on the wall.
            caught_up: Whether nothing waits to be read: else a machine's readings may be among it,
                and nobody is called silent.
        """
        if not caught_up:
            self._listening_us = now_us
            return []
        usual_us = self._usual_offset_us(periods_s, now_us)
        changes = []
        for key, one in self._heard.items():
            if key in periods_s:
                found, among = self._judge(one, periods_s[key], usual_us, now_us)
                changes.append(book.settle(key, found, among))
        return [one for one in changes if one.present or one.ended]

    def _judge(
        self, one: _Heard, period_s: float, usual_us: float | None, now_us: int
    ) -> tuple[dict[What, tuple[int, int]], frozenset[Condition]]:
        patience_us = 1e6 * patience_s(period_s)
        found: dict[What, tuple[int, int]] = {}
        among = set(FROM_ARRIVAL)
        if now_us - max(one.at_us, self._listening_us) > patience_us:
            found[WHOLE_MACHINE, Condition.SILENT] = one.at_us, now_us
        elif one.newest_us is None:
            # Not heard in this life, which is young: what was said before stays.
            among.discard(Condition.SILENT)
        if not _is_fresh(one, period_s, now_us) or usual_us is None:
            among.discard(Condition.CLOCK_SKEW)
            return found, frozenset(among)
        self._compare(one, period_s, usual_us, now_us)
        if one.doubts:
            among.discard(Condition.CLOCK_SKEW)
        elif one.skew_since_us is not None:
            since_us = one.skew_since_us
            found[WHOLE_MACHINE, Condition.CLOCK_SKEW] = since_us, max(since_us, now_us)
        return found, frozenset(among)

    def _compare(self, one: _Heard, period_s: float, usual_us: float, now_us: int) -> None:
        """Hold a clock against the others'; change the verdict after so many ticks that agree."""
        off_s = abs(_offset_us(one) - usual_us) / 1e6
        doubtful = SKEW_S + 2 * period_s < off_s < NO_CLOCK_S
        if doubtful == (one.skew_since_us is not None):
            one.doubts = 0
        else:
            one.doubts += 1
        if one.doubts >= IN_A_ROW:
            one.skew_since_us, one.doubts = (now_us if doubtful else None), 0

    def _usual_offset_us(self, periods_s: Mapping[int, float], now_us: int) -> float | None:
        """Return how far the machines that speak now are behind the wall; None of too few."""
        offsets = [
            _offset_us(one)
            for key, one in self._heard.items()
            if key in periods_s and _is_fresh(one, periods_s[key], now_us)
        ]
        return median(offsets) if len(offsets) >= AT_LEAST_MACHINES else None


def _is_fresh(one: _Heard, period_s: float, now_us: int) -> bool:
    within_us = 1e6 * max(_FRESH_S, 2 * period_s)
    return one.newest_us is not None and now_us - one.at_us <= within_us


def _offset_us(one: _Heard) -> int:
    return one.at_us - (one.newest_us or 0)
