"""Steps of machines, as risk looks at them: minutes, or longer where a class sends less often."""

from collections.abc import Sequence

import numpy as np

from domain.readings import History
from domain.risk.steps import steps_of
from storage import history
from storage.connect import Connection

_MINUTE_US = 60_000_000


def read(
    on: Connection, machines: Sequence[str], start_us: int, end_us: int, *, step_us: int
) -> list[History]:
    """Read whole steps of machines of one class.

    Minutes that are summed up already are taken as they are; those behind them, which the sums
    follow within a minute, are summed up from readings.

    Args:
        on: A session.
        machines: Names.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period; a step that it cuts is left out.
        step_us: Length of a step, microseconds, a minute or more.

    Returns:
        One history per name, its instants the beginnings of steps, its values their means.

    Raises:
        NotFoundError: A machine is not registered.
    """
    end_us -= end_us % step_us
    start_us += -start_us % step_us
    if end_us <= start_us:
        return [_none(name) for name in machines]
    if step_us != _MINUTE_US:
        found = history.read_history(on, machines, start_us, end_us)
        return [_summed(one, step_us) for one in found]
    minutes = history.read_trends(on, machines, start_us, end_us, most=0)
    return [
        _followed(
            on,
            History(machine=one.machine, instants_us=one.instants_us, values=one.mean),
            start_us,
            end_us,
        )
        for one in minutes
    ]


def _followed(on: Connection, known: History, start_us: int, end_us: int) -> History:
    """Return minutes with those behind them; the last that is known may still have grown."""
    from_us = int(known.instants_us[-1]) if len(known) else start_us
    (tail,) = history.read_history(on, [known.machine], from_us, end_us)
    if not len(tail):
        return known
    begins, means = steps_of(tail.instants_us, tail.values, _MINUTE_US)
    keep = int(np.searchsorted(known.instants_us, int(begins[0])))
    later = History(machine=known.machine, instants_us=begins, values=means)
    return later.after(known.take(slice(keep)))


def _summed(one: History, step_us: int) -> History:
    begins, means = steps_of(one.instants_us, one.values, step_us)
    return History(machine=one.machine, instants_us=begins, values=means)


def _none(machine: str) -> History:
    return History(machine=machine, instants_us=np.empty(0, np.int64), values=np.empty((0, 0)))
