"""What a mapping says."""

from dataclasses import dataclass
from enum import StrEnum, unique

from domain.machines import MachineClass, Sensor
from domain.mapping.places import Place, Step


@unique
class TimeFormat(StrEnum):
    """How a time is written."""

    RFC3339 = "rfc3339"
    EPOCH_S = "epoch_s"
    EPOCH_MS = "epoch_ms"
    EPOCH_US = "epoch_us"

    @property
    def unit_us(self) -> int:
        """Microseconds of one unit; 0 for text."""
        return {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}.get(self.value, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorRule:
    """Where a sensor's value comes from, and how it becomes the sensor's unit.

    Attributes:
        sensor: As the machine class has it.
        origin: The path of its value, or, in a pivot, the name of its metric.
        steps: The same path; empty in a pivot.
        scale: The value is multiplied by this first.
        offset: Then this is added.
    """

    sensor: Sensor
    origin: str
    steps: tuple[Step, ...]
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pivot:
    """A stream with one value per message, to be put together to readings.

    Attributes:
        metric: Where the name of the metric stands.
        value: Where its value stands.
        window_us: Values whose times round to the same multiple of this many microseconds are one
            reading; 1 takes times as they are.
        wait_s: How long a batch is gathered before it is stored, so that the values of an instant
            usually come together; what comes later is merged into the stored reading.
        ignore: Metrics that are left out because their owner says so.
    """

    metric: Place
    value: Place
    window_us: int = 1
    wait_s: float = 1.0
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """How messages of a topic become readings of machines of one class.

    Attributes:
        text: The file as it was written: what is kept in the database.
        topic: Which topic it is meant for; None leaves that to the command.
        machine: Where the machine's name stands.
        time: Where the time stands.
        time_format: How it is written.
        class_name: The class of every machine that is met for the first time.
        period_s: Nominal seconds between two readings, of a class that is not registered yet.
        sensors: The rules, in the order in which a new class stores them.
        pivot: None where a message is a whole reading.
        text_numbers: Whether a number may be written as text, such as "21.5".
    """

    text: str
    topic: str | None
    machine: Place
    time: Place
    time_format: TimeFormat
    class_name: str
    period_s: float
    sensors: tuple[SensorRule, ...]
    pivot: Pivot | None = None
    text_numbers: bool = False

    @property
    def sensor_names(self) -> tuple[str, ...]:
        """Names of the sensors, in the order of the rules."""
        return tuple(rule.sensor.name for rule in self.sensors)

    @property
    def hold_s(self) -> float:
        """How long after its first value a reading is taken to be whole; 0 if it comes whole."""
        return self.pivot.wait_s if self.pivot else 0.0

    @property
    def machine_class(self) -> MachineClass:
        """The class this mapping speaks of, with the sensors it names."""
        return MachineClass(
            name=self.class_name,
            sensors=tuple(rule.sensor for rule in self.sensors),
            period_s=self.period_s,
        )
