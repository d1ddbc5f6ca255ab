"""What alarms were worth: failures caught, how late, and how many alarms were false."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A period in which a machine truly was going wrong.

    Attributes:
        machine: Its name.
        kind: Failure mode.
        onset_us: First instant of the fault, microseconds UTC.
        end_us: Last instant; None while it lasts.
    """

    machine: str
    kind: str
    onset_us: int
    end_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One incident, as far as the accounting needs it.

    Attributes:
        machine: Its name.
        raised_us: Instant of the reading that opened it, microseconds UTC.
        cleared_us: Instant at which it closed; None while it is open.
    """

    machine: str
    raised_us: int
    cleared_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sum over a period.

    Attributes:
        delays_us: Per fault, microseconds from onset to the first alarm; None if never caught.
        false_alarms: Alarms raised outside every fault and its grace.
        machine_days: Length of the period times machines, in days.
    """

    delays_us: tuple[int | None, ...]
    false_alarms: int
    machine_days: float

    @property
    def detected(self) -> int:
        """How many faults were caught."""
        return sum(delay is not None for delay in self.delays_us)

    @property
    def median_delay_s(self) -> float | None:
        """Median seconds from onset to alarm over the faults that were caught."""
        caught = [delay for delay in self.delays_us if delay is not None]
        return median(caught) / 1e6 if caught else None

    @property
    def false_alarms_per_machine_day(self) -> float:
        """False alarms for each day that one machine was watched."""
        return self.false_alarms / self.machine_days if self.machine_days else 0.0


def settle(
    faults: Sequence[Fault],
    alarms: Sequence[Alarm],
    *,
    machines: int,
    watched_us: int,
    grace_us: int,
) -> Account:
    """Hold alarms against the truth.

    A fault is caught by the first alarm of its machine that stands at some instant of the fault;
    an alarm that was already standing at the onset counts as a delay of 0. An alarm is false when
    it was raised neither during a fault of its machine nor within the grace after one, in which
    the machine returns to a healthy level.

    Args:
        faults: The truth.
        alarms: What was said.
        machines: How many machines were watched.
        watched_us: For how long, microseconds.
        grace_us: Microseconds after a fault in which an alarm still belongs to it.
    """
    return Account(
        delays_us=tuple(_delay(fault, alarms) for fault in faults),
        false_alarms=sum(not _explained(alarm, faults, grace_us) for alarm in alarms),
        machine_days=machines * watched_us / _DAY_US,
    )


def _delay(fault: Fault, alarms: Sequence[Alarm]) -> int | None:
    standing = [
        max(0, alarm.raised_us - fault.onset_us)
        for alarm in alarms
        if alarm.machine == fault.machine
        and (fault.end_us is None or alarm.raised_us <= fault.end_us)
        and (alarm.cleared_us is None or alarm.cleared_us >= fault.onset_us)
    ]
    return min(standing, default=None)


def _explained(alarm: Alarm, faults: Sequence[Fault], grace_us: int) -> bool:
    return any(
        alarm.machine == fault.machine
        and fault.onset_us <= alarm.raised_us
        and (fault.end_us is None or alarm.raised_us <= fault.end_us + grace_us)
        for fault in faults
    )
