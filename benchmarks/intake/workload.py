"""What is sent: readings of 50 machines with 20 sensors each, as JSON, packed, and for COPY."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from domain import wire
from domain.machines import MachineClass, Sensor
from domain.readings import Instants, Matrix, ReadingBatch
from ingestion.kafka import KafkaSink
from ingestion.publish import Piece
from ingestion.settings import KafkaSettings
from storage import copy_format

MACHINES = 50
SENSORS = 20
PERIOD_US = 500_000
START_US = 1_750_000_000_000_000
"""A Sunday in June 2025, 15:06 UTC: what is measured lies within one UTC day."""

TURN = 200
"""Readings a machine sends at its turn: a broker sees machines side by side, not one by one."""

PER_MESSAGE = 50
"""Readings per packed message."""

CLASS = MachineClass(
    name="bench", sensors=tuple(Sensor(name=f"sensor_{n:02}") for n in range(SENSORS))
)
NAMES = tuple(f"machine-{number:03}" for number in range(MACHINES))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """What one machine sends at its turn.

    Attributes:
        machine: Its place in `NAMES`.
        instants_us: Shape (n,), ascending.
        values: Shape (n, SENSORS), believable numbers of 5 digits.
    """

    machine: int
    instants_us: Instants
    values: Matrix


def turns(count: int, start_us: int = START_US, *, turn: int = TURN) -> Iterator[Turn]:
    """Return readings of all machines in the order in which they are sent; always the same ones.

    Args:
        count: Readings in all; a multiple of `MACHINES`.
        start_us: The first instant of each machine.
        turn: Readings a machine sends before the next one does.
    """
    each, generator = count // MACHINES, np.random.default_rng(start_us % 2**32)
    for at in range(0, each, turn):
        size = min(turn, each - at)
        instants = start_us + (at + np.arange(size)) * PERIOD_US
        for machine in range(MACHINES):
            values = np.round(generator.normal(50, 5, (size, SENSORS)), 3)
            yield Turn(machine=machine, instants_us=instants, values=values)


def span_us(count: int) -> int:
    """Return the time that so many readings of all machines take."""
    return count // MACHINES * PERIOD_US


def json_messages(one: Turn) -> list[bytes]:
    """Return a turn as JSON, a message per reading."""
    return wire.encode(NAMES[one.machine], one.instants_us, one.values, CLASS.sensor_names)


def packed_messages(one: Turn) -> list[bytes]:
    """Return a turn packed, several readings per message, every bit kept."""
    return wire.encode_packed(
        NAMES[one.machine],
        one.instants_us,
        one.values,
        CLASS.sensor_names,
        per_message=PER_MESSAGE,
    )


def piece(one: Turn) -> Piece:
    """Return a turn as producers are given it."""
    return Piece(
        sensors=CLASS.sensor_names,
        machines=(NAMES[one.machine],),
        rows=np.zeros(len(one.instants_us), np.intp),
        instants_us=one.instants_us,
        values=one.values,
    )


def stored(one: Turn, keys: dict[str, int]) -> ReadingBatch:
    """Return a turn as it is stored."""
    return ReadingBatch(
        machine_class=CLASS,
        machine_keys=np.full(len(one.instants_us), keys[NAMES[one.machine]], np.int32),
        instants_us=one.instants_us,
        values=one.values,
    )


def publish(settings: KafkaSettings, count: int, *, packed: bool, start_us: int = START_US) -> int:
    """Send readings and wait until Kafka has them; return in how many messages."""
    sent = 0
    with KafkaSink.open(settings) as sink:
        for one in turns(count, start_us):
            made = packed_messages(one) if packed else json_messages(one)
            headers = wire.PACKED_HEADERS if packed else None
            sink.send(settings.topic, NAMES[one.machine].encode(), made, headers)
            sent += len(made)
    return sent


def write_copy_file(path: Path, count: int, keys: dict[str, int]) -> None:
    """Write readings as COPY … BINARY reads them, in the order in which they are sent."""
    head, tail = len(copy_format.HEADER), len(copy_format.TRAILER)
    with path.open("wb") as file:
        file.write(copy_format.HEADER)
        for one in turns(count):
            file.write(copy_format.encode([stored(one, keys)])[head:-tail])
        file.write(copy_format.TRAILER)
