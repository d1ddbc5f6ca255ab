"""Which regime a machine is in, and when that changes."""

import numpy as np
import numpy.typing as npt

from domain.class_spec import ClassSpec
from domain.readings import Instants


class RegimeTimeline:
    """A semi-Markov chain over the regimes of a class, drawn as far as it was asked for."""

    def __init__(self, spec: ClassSpec, rng: np.random.Generator, start_us: int) -> None:
        self._spec, self._rng = spec, rng
        self._names = tuple(spec.regimes)
        self._begins_us, self._regimes = [start_us], [0]
        # A machine is met somewhere within its first stay, not at its beginning.
        self._end_us = start_us + round(self._stay_us(0) * rng.random())

    def at(self, instants_us: Instants) -> npt.NDArray[np.intp]:
        """Return the regime's number at each instant.

        Args:
            instants_us: Shape (n,), ascending, none before the last call's.
        """
        while self._end_us <= instants_us[-1]:
            self._advance()
        begins = np.array(self._begins_us, dtype=np.int64)
        found = np.searchsorted(begins, instants_us, side="right") - 1
        regimes = np.array(self._regimes, dtype=np.intp)[found]
        self._begins_us, self._regimes = self._begins_us[found[-1] :], self._regimes[found[-1] :]
        return regimes

    def _advance(self) -> None:
        here = self._spec.regimes[self._names[self._regimes[-1]]]
        if here.next:
            weights = np.array(list(here.next.values()))
            drawn = int(self._rng.choice(len(weights), p=weights / weights.sum()))
            regime = self._names.index(list(here.next)[drawn])
        else:
            regime = self._regimes[-1]
        self._begins_us.append(self._end_us)
        self._regimes.append(regime)
        self._end_us += self._stay_us(regime)

    def _stay_us(self, regime: int) -> int:
        here = self._spec.regimes[self._names[regime]]
        factor = 1 + here.spread * self._rng.uniform(-1, 1)
        return max(1, round(here.dwell_s * factor * 1e6))
