"""What is told of machines and sensors beside scores: movements, and what a sensor did."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.conditions import Condition

SHOWN: Final = 8
"""Sensors that are kept of a movement that is over; the others hardly moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One sensor's part in a movement.

    Attributes:
        sensor: Its name.
        share: Its part in how much the machine moved, when it moved most; 0 to 1.
        before: The window's mean when the movement began, in the sensor's unit; None where nothing
            is known of it.
        after: The mean of the window's newest part when it had settled; None until then.
    """

    sensor: str
    share: float
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One movement of one machine.

    Attributes:
        began_us: Instant of the reading at which it was told to move.
        settled_us: Instant of the reading at which it stood still again; None while it moves.
        peak_score: How much it moved at the most, as `ChangeModel.score` has it.
        sensors: Largest share first; all of them while it moves, at most `SHOWN` afterwards.
    """

    began_us: int
    settled_us: int | None = None
    peak_score: float
    sensors: tuple[Moved, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorDid:
    """What one sensor did.

    Attributes:
        sensor: Its name.
        condition: stuck, dropout, out_of_range or unit_jump.
        since: Since when: for stuck the first of the equal readings, for dropout the first that is
            missing, as far as the machine keeps to its period.
        value: What it stood still at, the furthest it went out of its range, or the first value in
            another unit; null where it said nothing.
        words: All of it as a sentence without its subject.
    """

    sensor: str
    condition: Condition
    since: datetime
    value: float | None
    words: str
