"""Readings to Kafka: at the pace of their own instants, faster, or as fast as it goes."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from domain import wire
from domain.errors import BadInputError
from domain.readings import Instants, Matrix
from domain.wire.raw import Headers

MOST_PER_STEP = 5000
"""Readings encoded together: enough to be fast, few enough to stop and to report often."""

PER_MESSAGE = 100
"""Readings in a packed message: its head and key cost nothing by then, and it stays small."""

STEP_S = 0.05
"""At a pace, what falls due within this time is sent together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """Some readings of machines with the same sensors, in the order of the source.

    Attributes:
        sensors: Names of the columns of `values`.
        machines: Names of the machines.
        rows: Shape (n,), index into `machines` of each reading.
        instants_us: Shape (n,), microseconds UTC.
        values: Shape (n, sensors); NaN is missing.
    """

    sensors: tuple[str, ...]
    machines: tuple[str, ...]
    rows: npt.NDArray[np.intp]
    instants_us: Instants
    values: Matrix

    def __len__(self) -> int:
        return len(self.instants_us)

    def take(self, rows: slice | npt.NDArray[np.bool_]) -> Self:
        """Return the named readings."""
        return type(self)(
            sensors=self.sensors,
            machines=self.machines,
            rows=self.rows[rows],
            instants_us=self.instants_us[rows],
            values=self.values[rows],
        )

    def arranged(self, sensors: tuple[str, ...]) -> Matrix:
        """Return the values in another order of sensors; one that is not there is missing.

        Raises:
            BadInputError: One of the piece's sensors is not among them.
        """
        if self.sensors == sensors:
            return self.values
        position = {name: column for column, name in enumerate(sensors)}
        if foreign := [name for name in self.sensors if name not in position]:
            raise BadInputError(f"the machine class has no sensor {foreign[0]}", "packed readings")
        values = np.full((len(self), len(sensors)), np.nan)
        values[:, [position[name] for name in self.sensors]] = self.values
        return values


class Sink(Protocol):
    """Where messages go; `ingestion.kafka.KafkaSink` is one."""

    def send(
        self, topic: str, key: bytes | None, values: list[bytes], headers: Headers | None = None
    ) -> None:
        """Queue messages of one key in order, each with the headers."""

    def flush(self) -> None:
        """Wait until all of them are acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast time goes by.

    Attributes:
        speed: Seconds of the readings' time per second; None for as fast as it goes.
        clock_s: Monotonic seconds.
        wait: Waits so many seconds; returns whether to stop.
    """

    speed: float | None = None
    clock_s: Callable[[], float] = time.monotonic
    wait: Callable[[float], bool] = Event().wait

    def steps(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Cut pieces into what is sent together, each when it is due; ends when told to stop."""
        began_s, first_us = self.clock_s(), None
        for piece in pieces:
            if first_us is None and len(piece):
                first_us = int(piece.instants_us[0])
            for part, due_us in self._cut(piece):
                late_s = 0.0
                if self.speed is not None and first_us is not None:
                    due_s = began_s + (due_us - first_us) / 1e6 / self.speed
                    late_s = due_s - self.clock_s()
                if self.wait(max(0.0, late_s)):
                    return
                yield part

    def _cut(self, piece: Piece) -> Iterator[tuple[Piece, int]]:
        """Return parts with the instant at which each is due."""
        at = 0
        # A reading out of order is sent with its neighbours in the file, not held back.
        due_us = np.maximum.accumulate(piece.instants_us)
        while at < len(piece):
            end = min(at + MOST_PER_STEP, len(piece))
            if self.speed is not None:
                until_us = due_us[at] + STEP_S * 1e6 * self.speed
                end = min(end, max(at + 1, int(np.searchsorted(due_us, until_us, "right"))))
            yield piece.take(slice(at, end)), int(due_us[end - 1])
            at = end


def publish(  # noqa: PLR0913 - what, where to, and by name how
    pieces: Iterable[Piece],
    sink: Sink,
    topic: str,
    *,
    packed_as: tuple[str, ...] | None = None,
    pace: Pace | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Send readings in order; return how many.

    A reading of which every sensor is missing says nothing and is left out.

    Args:
        pieces: What to send.
        sink: Where to; not flushed.
        topic: Kafka topic.
        packed_as: The sensors of the machines' class in stored order, to send packed messages of up
            to `PER_MESSAGE` readings; None sends JSON, a message per reading.
        pace: As fast as it goes by default.
        progress: Called with how many readings were sent since its last call.
    """
    total = 0
    for part in (pace or Pace()).steps(pieces):
        sent = _send(part, sink, topic, packed_as)
        total += sent
        progress(sent)
    return total


def _send(part: Piece, sink: Sink, topic: str, packed_as: tuple[str, ...] | None) -> int:
    says_something = ~np.isnan(part.values).all(axis=1)
    if not says_something.all():
        part = part.take(says_something)
    for index in np.unique(part.rows).tolist():
        # Most files hold one machine: then there is nothing to pick.
        alone = len(part.machines) == 1
        one = part if alone else part.take(part.rows == index)
        name = part.machines[index]
        if packed_as is None:
            messages = wire.encode(name, one.instants_us, one.values, one.sensors)
            sink.send(topic, name.encode(), messages)
        else:
            messages = wire.encode_packed(
                name, one.instants_us, one.arranged(packed_as), packed_as, per_message=PER_MESSAGE
            )
            sink.send(topic, name.encode(), messages, wire.PACKED_HEADERS)
    return len(part)
