"""The whole steps of one machine, kept up reading by reading; the same in stream and HTTP."""

import numpy as np

from domain.readings import History, Instants, Matrix
from domain.risk.steps import LOOK_BACK, steps_of

_KEPT = 2 * LOOK_BACK
"""Steps kept: holes are filled later, so that some of them may be older than is looked back on."""


class StepBook:
    """Steps before, and the readings of the step under way.

    Args:
        before: Whole steps, ascending; its values are means.
        head: Readings behind them, of the step under way.
        step_us: Length of a step, microseconds.
    """

    def __init__(self, before: History, head: History, step_us: int) -> None:
        self._step_us = step_us
        self.begins_us: Instants = before.instants_us
        self.values: Matrix = before.values
        self._at, self._open = head.instants_us, head.values

    def see(self, instants_us: Instants, values: Matrix) -> bool:
        """Take in later readings; say whether a step was completed by them.

        Args:
            instants_us: Shape (n,), ascending, later than all before.
            values: Shape (n, S); NaN is missing.
        """
        if not len(instants_us):
            return False
        if len(self._at):
            instants_us = np.concatenate([self._at, instants_us])
            values = np.concatenate([self._open, values])
        under_way = int(instants_us[-1]) // self._step_us * self._step_us
        whole = int(np.searchsorted(instants_us, under_way))
        self._at, self._open = instants_us[whole:], values[whole:]
        if not whole:
            return False
        begins, means = steps_of(instants_us[:whole], values[:whole], self._step_us)
        if len(self.begins_us):
            begins = np.concatenate([self.begins_us, begins])[-_KEPT:]
            means = np.concatenate([self.values, means])[-_KEPT:]
        self.begins_us, self.values = begins, means
        return True
