"""What a pipeline remembers of a machine, and what it says of its readings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from domain.features.state import Counts, Memory, copied
from domain.jit import Words
from domain.lasting import new_memory
from domain.readings import Matrix
from domain.sensor_health import FaultCodes, WatchMemory


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PipelineState:
    """What the pipeline remembers of one machine; `Pipeline.score` advances it in place.

    Only `copy` copies it: its arrays are parts of blocks that compiled code finds by address.

    Attributes:
        features: Of the windows and baselines.
        sensors: Of the sensor watch.
        excursion: How long its score has been high and its regime the same, see `domain.lasting`.
    """

    features: Memory
    sensors: WatchMemory
    excursion: Words = field(default_factory=new_memory)

    @property
    def level(self) -> Matrix:
        """Where the machine's baselines are now, shape (S,); a copy."""
        return self.features.base.copy()

    def copy(self) -> Self:
        """Return a state that can be advanced without changing this one."""
        return type(self)(
            features=copied(self.features),
            sensors=self.sensors.copy(),
            excursion=self.excursion.copy(),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Verdicts on n readings of one machine.

    Attributes:
        score: Shape (n,), >= 0; > 1 is anomalous. Distance by threshold, or, where it has been
            high for long or the regime has just changed, by those of `Pipeline.lasting`.
        contributions: Shape (n, S), >= 0; each row sums to its score. Fewer rows where fewer were
            to be explained.
        expected: Shape (n, S), what a healthy machine would have shown, in the sensor's unit.
        ready: Shape (n,); false while window, baseline and the regimes' lags
            fill, when a score is a guess.
        sensor_faults: Shape (n, S), `SensorFault` codes; such values were left out of the score.
        measured: Shape (n, F), features as measured, which `ChangeModel.score` reads.
        regimes: Shape (n,), place of the regime that each reading was judged in.
    """

    score: npt.NDArray[np.float64]
    contributions: Matrix
    expected: Matrix
    ready: npt.NDArray[np.bool_]
    sensor_faults: FaultCodes
    measured: Matrix = field(default_factory=lambda: np.empty((0, 0)))
    regimes: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.score)

    def split(self, lengths: Counts) -> Iterator[Self]:
        """Return parts of so many rows each, `len(self)` in all, that share this one's arrays."""
        for end, length in zip(np.cumsum(lengths).tolist(), lengths.tolist(), strict=True):
            rows = slice(end - length, end)
            yield type(self)(
                score=self.score[rows],
                contributions=self.contributions[rows],
                expected=self.expected[rows],
                ready=self.ready[rows],
                sensor_faults=self.sensor_faults[rows],
            )
