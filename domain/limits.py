"""What feedback makes of a machine's limits: a bounded factor on each sensor's part in a score.

A factor below 1 makes a sensor of one machine less sensitive, one above 1 more. Factors are folded
anew from all that people ever said of a machine, so that an opinion given twice counts once, and
one that is changed leaves nothing behind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

type Feedback = Literal["true", "false", "maintenance"]

LOWEST: Final = 0.5
HIGHEST: Final = 2.0
"""No feedback makes a sensor less than half or more than twice as sensitive as the model."""

_STEPS: Final[dict[Feedback, float]] = {"false": -0.5, "true": 0.25, "maintenance": 0.0}
"""What a sensor with all of the evidence gains, as a power of two. A false alarm counts twice as
much as a true one: the alarm was at the limit, while a true one may have been far above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a person said of one incident.

    Attributes:
        feedback: true, false or maintenance.
        shares: Sensor name → its share of the incident's evidence, 0 to 1.
    """

    feedback: Feedback
    shares: Mapping[str, float] = field(default_factory=dict)


def factors_of(opinions: Iterable[Opinion]) -> dict[str, float]:
    """Fold opinions, the oldest first, into factors; sensors left at 1 are left out.

    >>> factors_of([Opinion(feedback="false", shares={"flow": 1.0})])
    {'flow': 0.7071067811865476}
    """
    powers: dict[str, float] = {}
    low, high = np.log2(LOWEST), np.log2(HIGHEST)
    for one in opinions:
        for sensor, share in one.shares.items():
            power = powers.get(sensor, 0.0) + _STEPS[one.feedback] * min(max(share, 0.0), 1.0)
            powers[sensor] = float(min(max(power, low), high))
    return {sensor: 2.0**power for sensor, power in sorted(powers.items()) if power != 0}


def vector(factors: Mapping[str, float], sensors: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Return factors in the order of sensors, shape (S,); 1 where there is none."""
    given = [factors.get(name, 1.0) for name in sensors]
    return np.clip(np.array(given, dtype=np.float64), LOWEST, HIGHEST)
