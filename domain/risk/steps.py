"""Readings as steps of equal length: what risk looks at, however often a machine sends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from domain.readings import History, Instants, Matrix
from domain.risk.lives import Life

LOOK_BACK: Final = 128
"""Steps that a forecast looks back on; two hours of minutes."""

LEAST_STEPS: Final = 12
"""Fewer steps say too little about a machine."""

_LONGEST_GAP: Final = 60
"""Steps without a reading after which a machine's life is told anew."""


def step_us(period_s: float) -> int:
    """Return the length of a step: a minute, or the period of a class that sends less often.

    >>> step_us(0.5), step_us(3600.0)
    (60000000, 3600000000)
    """
    return round(max(60.0, period_s) * 1e6)


def first_step(word_us: int | None, length_us: int) -> int:
    """Return the beginning of the first whole step since the word of a repair; 0 without one.

    >>> first_step(60_000_001, 60_000_000), first_step(None, 60_000_000)
    (120000000, 0)
    """
    return 0 if word_us is None else -(-word_us // length_us) * length_us


def steps_of(instants_us: Instants, values: Matrix, length_us: int) -> tuple[Instants, Matrix]:
    """Return the mean of each step that holds a reading.

    Args:
        instants_us: Shape (n,), ascending.
        values: Shape (n, S); NaN is missing.
        length_us: Microseconds; steps begin at multiples of it.

    Returns:
        Beginnings of shape (m,) and means of shape (m, S), NaN where no value was there.
    """
    if not len(instants_us):
        return instants_us, values
    begins = instants_us // length_us * length_us
    first = np.flatnonzero(np.diff(begins, prepend=begins[0] - 1))
    known = np.isfinite(values)
    count = np.add.reduceat(known, first, axis=0, dtype=np.float64)
    total = np.add.reduceat(np.where(known, values, 0.0), first, axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return begins[first], mean


def gridded(instants_us: Instants, values: Matrix, length_us: int) -> tuple[Instants, Matrix]:
    """Return steps without holes: one that holds no reading is a row of NaN.

    Only what follows the last hole of more than an hour of steps: what was before is another time.
    """
    if not len(instants_us):
        return instants_us, values
    holes = np.flatnonzero(np.diff(instants_us) > _LONGEST_GAP * length_us)
    if len(holes):
        instants_us, values = instants_us[holes[-1] + 1 :], values[holes[-1] + 1 :]
    places = (instants_us - instants_us[0]) // length_us
    grid = np.full((int(places[-1]) + 1, values.shape[1]), np.nan)
    grid[places] = values
    return instants_us[0] + np.arange(len(grid), dtype=np.int64) * length_us, grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One failure of one machine, as risk counts it.

    Attributes:
        machine: Its name.
        kind: Failure mode; empty where nobody said.
        onset_us: First sign of it.
        failed_us: When the machine no longer did its work; what risk foretells.
        ended_us: When it worked again; None while it does not.
    """

    machine: str
    kind: str
    onset_us: int
    failed_us: int
    ended_us: int | None


def lives_of(
    history: History, events: Iterable[Event], length_us: int, words: Sequence[int] = ()
) -> list[Life]:
    """Return the lives of a machine: from its beginning, or a repair, to a failure or the end.

    Args:
        history: Steps of one machine, ascending; `History.values` are means.
        events: Failures of that machine.
        length_us: Length of a step.
        words: Instants at which somebody repaired it, ascending microseconds UTC: one that fell in
            a life ends it unfailed, and one after a failure without an end is that end.
    """
    lives: list[Life] = []
    start_us = int(history.instants_us[0]) if len(history) else 0
    for event in sorted(events, key=lambda one: one.failed_us):
        if event.failed_us >= start_us:
            period = (start_us, event.failed_us + 1)
            lives += _lived(history, period, length_us, words, failed=True)
        ended_us = _worked_again(event, length_us, words)
        if ended_us is None:
            return lives
        start_us = max(start_us, ended_us)
    if len(history):
        period = (start_us, int(history.instants_us[-1]) + 1)
        lives += _lived(history, period, length_us, words, failed=False)
    return lives


def _worked_again(event: Event, length_us: int, words: Sequence[int]) -> int | None:
    """Return when a machine worked again after a failure; None while it does not."""
    if event.ended_us is not None:
        return event.ended_us
    later = [one for one in words if one > event.failed_us]
    return first_step(later[0], length_us) if later else None


def _lived(
    history: History,
    period: tuple[int, int],
    length_us: int,
    words: Sequence[int],
    *,
    failed: bool,
) -> list[Life]:
    """Return the lives of a period, cut at the words within it; those too short are left out.

    A step that a word cuts is of neither life, as with the outlook that begins at the word.
    """
    start_us, until_us = period
    cuts = [one for one in words if start_us < one < until_us]
    begins = [start_us, *(first_step(one, length_us) for one in cuts)]
    ends = [*(one // length_us * length_us for one in cuts), until_us]
    found = []
    for at, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        last = at == len(cuts)
        life = _life(history, (begin, end), length_us, failed=failed and last)
        if life is not None:
            found.append(replace(life, repaired=not last))
    return found


def _life(
    history: History, period: tuple[int, int], length_us: int, *, failed: bool
) -> Life | None:
    first, end = np.searchsorted(history.instants_us, period)
    begins, values = gridded(history.instants_us[first:end], history.values[first:end], length_us)
    if len(begins) < LEAST_STEPS:
        return None
    # A machine that had fallen silent long before it failed was not watched failing.
    seen = period[1] - int(begins[-1]) <= _LONGEST_GAP * length_us
    return Life(values=values, failed=failed and seen, machine=history.machine)
