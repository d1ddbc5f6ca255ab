"""What a sensor can express: its range and its smallest step."""

from dataclasses import dataclass
from math import floor, log10

import numpy as np

from domain.class_spec import SensorSpec
from domain.readings import Matrix
from domain.simulation.signal import Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resolution:
    """Range and quantum of each sensor, shape (sensors,) each.

    A quantum is kept as a fraction of whole numbers: rint(x * up / down) * down / up is then the
    double nearest to the decimal number that the sensor would print.
    """

    low: Row
    high: Row
    up: Row
    down: Row

    @classmethod
    def of(cls, sensors: tuple[SensorSpec, ...]) -> "Resolution":
        """Lay out the sensors of a class."""
        quanta = [sensor.quantum or quantum_for(sensor.sd) for sensor in sensors]
        return cls(
            low=np.array([sensor.low for sensor in sensors]),
            high=np.array([sensor.high for sensor in sensors]),
            up=np.array([round(1 / quantum) if quantum < 1 else 1.0 for quantum in quanta]),
            down=np.array([1.0 if quantum < 1 else quantum for quantum in quanta]),
        )

    def round(self, values: Matrix) -> Matrix:
        """Return what the sensors say; shape (n, sensors)."""
        inside = np.clip(values, self.low, self.high)
        return np.asarray(np.rint(inside * self.up / self.down) * self.down / self.up + 0.0)


def quantum_for(sd: float) -> float:
    """Return the least power of ten that is at least a hundredth of `sd`."""
    return float(10.0 ** -floor(-log10(sd / 100)))
