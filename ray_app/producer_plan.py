"""What a simulated fleet sends, and when: pure decisions of the producer."""

from dataclasses import dataclass

from domain.errors import BadInputError

STEP_US = 60_000_000
"""A past hour is sent in pieces of a minute, so that `stop` is heard and memory stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerPlan:
    """A fleet and its clock.

    The fleet begins at `start_us`. What lies before `live_us` is sent as fast as it goes: the
    history. From then on event time follows the wall clock, `speed` times as fast.

    Attributes:
        machines: Names; one producer sends all readings of a machine.
        start_us: First instant, microseconds UTC.
        live_us: Where history ends and live begins, in event time and on the wall clock.
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
        ahead = max(0, wall_us - self.live_us)
        return self._bounded(self.live_us + round(ahead * self.speed))

    def next_us(self, sent_us: int, wall_us: int) -> int:
        """Return up to where to send next.

        Args:
            sent_us: What was sent lies before this instant.
            wall_us: The present.
        """
        return min(self.event_us(wall_us), sent_us + STEP_US)

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
