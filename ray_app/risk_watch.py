"""Risk of failure on the stream: told anew after each whole step of a machine. No client."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from domain.machines import Machine
from domain.readings import History, Instants, Matrix
from domain.risk.book import StepBook
from domain.risk.class_risk import ClassRisk
from domain.risk.outlook import Failure
from domain.risk.steps import first_step
from ray_app.known import Champion


class PastSteps(Protocol):
    """Where stored steps come from."""

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Return whole steps of a machine before an instant, and the readings behind them."""


@dataclass(slots=True, kw_only=True)
class _Watched:
    version: int
    word_us: int | None
    book: StepBook
    told: Failure


class RiskWatch:
    """Keeps the steps of machines, and what was last told of each.

    Args:
        past: Stored steps, with which a machine that is met for the first time begins.
    """

    def __init__(self, past: PastSteps) -> None:
        self._past = past
        self._machines: dict[int, _Watched] = {}

    def see(
        self,
        known: Machine,
        champion: Champion,
        instants_us: Instants,
        values: Matrix,
        word_us: int | None = None,
    ) -> Failure | None:
        """Take in a machine's readings; return what is to be told of it.

        Args:
            known: The machine.
            champion: Of its class, with the risk model in use.
            instants_us: Shape (n,), n >= 1, ascending, later than all before.
            values: Shape (n, S).
            word_us: When the machine was last repaired, whatever its model knows of that; what was
                before says nothing.

        Returns:
            None while the class has no risk model.
        """
        risk = champion.risk
        if risk is None:
            return None
        watched = self._machines.get(known.key)
        if watched is None or watched.word_us != word_us:
            book = book_of(self._past, known.name, risk, int(instants_us[0]), word_us)
            watched = _Watched(version=-1, word_us=word_us, book=book, told=Failure())
            self._machines[known.key] = watched
        later = instants_us >= first_step(word_us, risk.step_us)
        if watched.book.see(instants_us[later], values[later]) or watched.version != risk.version:
            watched.version = risk.version
            watched.told = risk.outlook(watched.book.begins_us, watched.book.values)
        return watched.told


def book_of(
    past: PastSteps, machine: str, risk: ClassRisk, before_us: int, word_us: int | None = None
) -> StepBook:
    """Return a machine's steps before an instant; empty for one without a name.

    A repair begins another life: of a machine that was repaired at `word_us` the steps before
    that are left out, or their difference would be taken for a trend.
    """
    if not machine:
        nothing = History(
            machine="", instants_us=np.empty(0, np.int64), values=np.empty((0, len(risk.sensors)))
        )
        return StepBook(nothing, nothing, risk.step_us)
    before, head = past.steps(machine, before_us, risk.step_us)
    since_us = first_step(word_us, risk.step_us)
    before, head = (one.take(one.instants_us >= since_us) for one in (before, head))
    return StepBook(before, head, risk.step_us)
