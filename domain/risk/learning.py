"""The steps of learning a class's risk, apart from what is learnt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from domain.anew import in_effect
from domain.failure_modes import Sample
from domain.readings import History, Matrix
from domain.risk.lives import Life
from domain.risk.model import LEAST_FAILURES, LEAST_LIVES, RiskModel
from domain.risk.steps import LEAST_STEPS, LOOK_BACK, Event, first_step, gridded, lives_of, step_us

_HOURS: Final = {"1 h": 3600.0, "1 d": 86_400.0, "7 d": 604_800.0}
_CYCLES: Final = (30, 100)
"""A class that sends less than every ten minutes is told in its own cycles."""

_LEAST_WATCHED: Final = 5
"""So many machines must have been watched beyond a horizon, or nobody knows that one survives."""


def horizons(period_s: float) -> dict[str, float]:
    """Return the horizons of a class by name, in seconds.

    >>> list(horizons(0.5)), list(horizons(3600.0))
    (['1 h', '1 d', '7 d'], ['30 cycles', '100 cycles'])
    """
    if period_s < 600:
        return dict(_HOURS)
    return {f"{cycles} cycles": cycles * period_s for cycles in _CYCLES}


def lives_of_class(
    histories: Iterable[History],
    events: Sequence[Event],
    length_us: int,
    words: Mapping[str, Sequence[int]],
) -> list[Life]:
    """Return the lives of machines, see `lives_of`; events and words are those of all of them."""
    return [
        life
        for one in histories
        for life in lives_of(
            one,
            (event for event in events if event.machine == one.machine),
            length_us,
            words.get(one.machine, ()),
        )
    ]


def healthy_part(life: Life) -> Matrix:
    """Return the part of a life that is farthest from its end: its older two thirds.

    A machine that was repaired need not have been well before, even if nobody labelled it.
    """
    ill = life.failed or life.repaired
    return life.values[: 2 * len(life.values) // 3] if ill else life.values


def models_of(
    period_s: float, lives: Sequence[Life], seed: int
) -> tuple[dict[str, RiskModel], dict[str, str]]:
    """Return a model per horizon that the lives can carry, and why the others have none."""
    step_s, models, lacking = step_us(period_s) / 1e6, {}, {}
    longest, failed = max(len(life.values) for life in lives), sum(life.failed for life in lives)
    if len(lives) < LEAST_LIVES or failed < LEAST_FAILURES:
        why = (
            f"{failed} failures in {len(lives)} lives are known; a probability needs at least "
            f"{LEAST_FAILURES} in {LEAST_LIVES}"
        )
        return {}, dict.fromkeys(horizons(period_s), why)
    for name, seconds in horizons(period_s).items():
        horizon = round(seconds / step_s)
        beyond = {life.machine for life in lives if len(life.values) > horizon}
        if len(beyond) < _LEAST_WATCHED:
            lacking[name] = (
                f"{len(beyond)} machines were watched for longer than {name} without a failure "
                f"before; {_LEAST_WATCHED} are needed"
            )
            continue
        try:
            with threadpool_limits(1):
                models[name] = RiskModel.fit(
                    lives,
                    horizon=horizon,
                    cap=max(horizon + 1, min(2 * horizon, longest)),
                    seed=seed,
                    look_back=LOOK_BACK,
                )
        except ValueError as error:
            lacking[name] = str(error)
    return models, lacking


def samples_of(
    histories: Sequence[History],
    events: Iterable[Event],
    length_us: int,
    words: Mapping[str, Sequence[int]],
) -> list[Sample]:
    """Return machines up to their failures; where a failure gave no sign, into it.

    Args:
        histories: Steps, one history per machine.
        events: Their failures.
        length_us: Length of a step.
        words: Machine → when it was repaired, ascending: what was before is of another life.
    """
    by_name = {one.machine: one for one in histories}
    found = []
    for event in events:
        history = by_name.get(event.machine)
        if history is None:
            continue
        until_us = event.failed_us
        if until_us - event.onset_us < length_us:
            until_us = min(event.ended_us or until_us, event.failed_us + 3 * length_us)
        end = int(np.searchsorted(history.instants_us, until_us, side="right"))
        word = in_effect(words.get(event.machine, ()), event.failed_us)
        since_us = first_step(word, length_us)
        first = max(end - LOOK_BACK, int(np.searchsorted(history.instants_us, since_us)))
        begins, values = gridded(
            history.instants_us[first:end], history.values[first:end], length_us
        )
        if len(begins) >= LEAST_STEPS:
            lead_s = (event.failed_us - event.onset_us) / 1e6
            found.append(Sample(kind=event.kind, values=values, lead_s=lead_s))
    return found
