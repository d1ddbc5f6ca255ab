"""Readings to a sink: all of them, in order, at their pace."""

import json

import numpy as np

from ingestion.publish import Pace, Piece, publish


class Kept:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes | None, dict[str, object]]] = []

    def send(self, topic: str, key: bytes | None, values: list[bytes]) -> None:
        """Keep messages."""
        assert topic == "t"
        self.sent += [(key, json.loads(value)) for value in values]

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
