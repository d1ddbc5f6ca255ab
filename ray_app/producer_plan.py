"""What a simulated fleet sends, and when: pure decisions of the producer."""

from dataclasses import dataclass

from domain.errors import BadInputError

STEP_US = 60_000_000
"""A past hour is sent in pieces of a minute, so that `stop` is heard and memory stays small."""

SHORTEST_PAUSE_S = 0.02
"""However fast the clock runs, a producer sends this often at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerPlan:
    """A fleet and its clock.

    The fleet begins at `start_us`. What lies before `live_us` is sent as fast as it goes: the
    history. From then on event time follows the wall clock, `speed` times as fast. A fleet that
    goes live in the past catches up with the present and stays with it.

    Attributes:
        machines: Names; one producer sends all readings of a machine.
        start_us: First instant, microseconds UTC.
        live_us: Where history ends and live begins, in event time.
        began_us: When that is on the wall clock; `live_us` when None.
        until_us: Event time at which the producer ends by itself; never when None.
        machine_class: A shipped class, or the path of a class file.
        num_sensors: Sensors per machine; those of the class when None.
        period_s: Seconds of event time between two readings of a machine.
        speed: Seconds of event time per second once live.
        seed: Decides everything random.
        failures_per_machine_hour: Random failures, from `live_us` on; 0 for none.
    """

    machines: tuple[str, ...]
    start_us: int
    live_us: int
    began_us: int | None = None
    until_us: int | None = None
    machine_class: str = "pump"
    num_sensors: int | None = None
    period_s: float = 0.5
    speed: float = 1.0
    seed: int = 0
    failures_per_machine_hour: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a plan that could never be carried out.

        Raises:
            BadInputError: A number is out of range or there is no machine.
        """
        if not self.machines or self.start_us > self.live_us:
            raise BadInputError("a fleet needs a machine and must start before it is live", "plan")
        if not (self.period_s > 0 and self.speed > 0 and self.failures_per_machine_hour >= 0):
            raise BadInputError("period, speed and failure rate must be positive", "plan")

    def event_us(self, wall_us: int) -> int:
        """Return the event time that the wall clock stands for; `live_us` at the earliest."""
        began_us = self.live_us if self.began_us is None else self.began_us
        event_us = self.live_us + round(max(0, wall_us - began_us) * self.speed)
        if self.live_us < began_us:
            event_us = min(event_us, wall_us)
        return self._bounded(event_us)

    def next_us(self, sent_us: int, wall_us: int) -> int:
        """Return up to where to send next.

        Args:
            sent_us: What was sent lies before this instant.
            wall_us: The present.
        """
        return min(self.event_us(wall_us), sent_us + STEP_US)

    def pause_s(self, wall_us: int) -> float:
        """Return how long to wait for the next reading once everything so far was sent."""
        caught_up = self.live_us < wall_us <= self.event_us(wall_us)
        return max(self.period_s / (1.0 if caught_up else self.speed), SHORTEST_PAUSE_S)

    def ends_at(self, sent_us: int) -> bool:
        """Say whether everything was sent."""
        return self.until_us is not None and sent_us >= self.until_us

    def _bounded(self, event_us: int) -> int:
        return event_us if self.until_us is None else min(event_us, self.until_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerState:
    """How far a producer has come.

    Attributes:
        sent_us: Everything before this instant of event time was handed to Kafka.
        delivered: Readings that Kafka acknowledged since the actor was made.
        failed: Readings that Kafka refused.
        live: Whether the history is behind it.
    """

    sent_us: int
    delivered: int
    failed: int
    live: bool
