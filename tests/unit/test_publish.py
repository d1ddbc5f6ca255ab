"""Readings to a sink: all of them, in order, at their pace."""

import json

import numpy as np
import pytest

from domain import wire
from domain.errors import BadInputError
from domain.wire.raw import Headers
from domain.wire.unpack import Packed, read_packed
from ingestion.publish import PER_MESSAGE, Pace, Piece, publish


class Kept:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes | None, dict[str, object]]] = []
        self.packed: list[tuple[bytes | None, Packed]] = []

    def send(
        self, topic: str, key: bytes | None, values: list[bytes], headers: Headers | None = None
    ) -> None:
        """Keep messages."""
        assert topic == "t"
        if headers is None:
            self.sent += [(key, json.loads(value)) for value in values]
        else:
            assert headers == wire.PACKED_HEADERS
            self.packed += [(key, read_packed(value)) for value in values]

    def flush(self) -> None:
        """Nothing waits."""


class Clock:
    """Time that goes by only when it is waited for."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def wait(self, seconds: float) -> bool:
        """Let the time go by."""
        self.now_s += seconds
        return False


def piece(count: int) -> Piece:
    """Return readings of two machines in turns, a second apart."""
    return Piece(
        sensors=("x", "y"),
        machines=("a", "b"),
        rows=np.arange(count) % 2,
        instants_us=1_750_000_000_000_000 + np.arange(count) * 1_000_000,
        values=np.column_stack([np.arange(count) * 1.0, np.full(count, np.nan)]),
    )


def test_each_machine_says_its_readings_in_order() -> None:
    """The key is the machine; a missing sensor is left out."""
    sink = Kept()

    assert publish([piece(6), piece(4)], sink, "t") == 10

    for name in ("a", "b"):
        own = [message for key, message in sink.sent if key == name.encode()]
        assert all(message["machine_id"] == name for message in own)
        assert all(set(dict(message["values"])) == {"x"} for message in own)  # type: ignore[call-overload] # JSON
    numbers = [message["values"]["x"] for key, message in sink.sent if key == b"a"]  # type: ignore[index] # JSON
    assert numbers == [0, 2, 4, 0, 2]


def test_packed_readings_are_arranged_as_their_class_has_them() -> None:
    """The order of a file's columns is its own; a sensor it has not is missing."""
    sink = Kept()

    assert publish([piece(6), piece(250)], sink, "t", packed_as=("y", "z", "x")) == 256

    assert not sink.sent
    own = [message for key, message in sink.packed if key == b"b"]
    assert [len(message.values) for message in own] == [3, PER_MESSAGE, 25]
    assert own[0].machine_id == "b"
    assert np.array_equal(own[0].values[:, 2], [1, 3, 5])
    assert np.isnan(own[0].values[:, :2]).all()
    assert own[0].instants_us.tolist() == [1_750_000_000_000_000 + n * 10**6 for n in (1, 3, 5)]
    with pytest.raises(BadInputError, match="no sensor x"):
        publish([piece(1)], sink, "t", packed_as=("y", "z"))


def test_a_reading_that_says_nothing_is_left_out() -> None:
    """With every sensor missing there is nothing to store."""
    silent = piece(3)
    silent.values[1] = np.nan
    sink = Kept()

    assert publish([silent], sink, "t") == 2
    assert {key for key, _ in sink.sent} == {b"a"}


def test_time_goes_by_at_the_speed_asked_for() -> None:
    """A minute of readings at sixty times its speed takes a second, spread over it."""
    clock, sent = Clock(), []
    pace = Pace(speed=60.0, clock_s=lambda: clock.now_s, wait=clock.wait)

    publish(
        [piece(61)], Kept(), "t", pace=pace, progress=lambda n: sent.append((clock.now_s - 100, n))
    )

    assert sum(count for _, count in sent) == 61
    assert abs(sent[-1][0] - 1.0) < 1e-6
    assert len(sent) > 10


def test_a_replay_ends_when_it_is_told_to() -> None:
    """What was not sent yet stays unsent."""
    pace = Pace(speed=1.0, wait=lambda _: True)

    assert publish([piece(10)], Kept(), "t", pace=pace) == 0
