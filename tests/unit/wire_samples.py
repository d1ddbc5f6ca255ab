"""A small fleet and messages about it, for the tests of the wire format."""

from collections.abc import Sequence

import numpy as np
from hypothesis import settings

from domain.machines import Machine, MachineClass, Sensor
from domain.roster import Roster
from domain.wire import RawBatch
from domain.wire.raw import Headers


def examples(times: int) -> settings:
    """Return settings for so many times the profile's examples; see `conftest.py`."""
    return settings(max_examples=settings().max_examples * times)


NOW_US = 1_767_323_045_123_456  # 2026-01-02T03:04:05.123456Z
NOW = "2026-01-02T03:04:05.123456Z"

PUMP = MachineClass(name="pump", sensors=tuple(Sensor(name=n) for n in ("flow", "heat", "rpm")))
FAN = MachineClass(name="fan", sensors=(Sensor(name="speed"), Sensor(name="speed.2")))
ROSTER = Roster.of(
    [PUMP, FAN],
    [
        Machine(key=1, name="p1", machine_class="pump"),
        Machine(key=2, name="p2", machine_class="pump"),
        Machine(key=9, name="f1", machine_class="fan"),
    ],
)


def raw(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    headers: list[Headers | None] | None = None,
) -> RawBatch:
    """Return a batch of one partition; without keys the machines are those of the values."""
    return RawBatch(
        topic="readings",
        partitions=np.zeros(len(values), dtype=np.int32),
        offsets=np.arange(len(values), dtype=np.int64),
        keys=[None] * len(values) if keys is None else list(keys),
        values=list(values),
        headers=headers,
    )


def message(values: str = '{"flow":1,"heat":2,"rpm":3}', machine: str = "p1") -> bytes:
    """Return a message of this moment with the given JSON as its values."""
    return f'{{"machine_id":"{machine}","timestamp":"{NOW}","values":{values}}}'.encode()
