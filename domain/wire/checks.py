"""What a well-formed message must satisfy to become a reading of its class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass
from domain.wire.arbiter import Message, RefusedError, shown
from domain.wire.bulk import is_json
from domain.wire.packed import CONTENT_TYPE
from domain.wire.raw import Headers
from domain.wire.times import format_instant
from domain.wire.verdict import RejectReason

EARLIEST_US = 946_684_800_000_000
"""2000-01-01T00:00:00Z: an earlier time is a clock that was never set."""


def vector(message: Message, machine_class: MachineClass) -> npt.NDArray[np.float64]:
    """Return a message's values in the order of its class; shape (sensors,).

    Raises:
        RefusedError: The class has no such sensor.
    """
    values = np.full(len(machine_class.sensors), np.nan)
    position = machine_class.position
    for sensor, number in message.values.items():
        column = position.get(sensor)
        if column is None:
            raise RefusedError(
                RejectReason.UNKNOWN_SENSOR,
                f"class {machine_class.name} has no sensor {shown(sensor)}; "
                f"it has {_listed(machine_class.sensor_names)}",
            )
        if number is not None:
            values[column] = number
    return values


def check_time(instant_us: int, latest_us: int) -> None:
    """Refuse an instant that no working clock gives.

    Raises:
        RefusedError: It is before 2000 or too far ahead.
    """
    if not EARLIEST_US <= instant_us <= latest_us:
        side = "before 2000" if instant_us < EARLIEST_US else "too far ahead of now"
        raise RefusedError(
            RejectReason.TIME_OUT_OF_RANGE,
            f"timestamp {format_instant(instant_us)} is {side}: check the sensor's clock",
        )


def check_encoding(headers: Headers | None) -> None:
    """Refuse a message whose content-type header names an encoding we do not read.

    Raises:
        RefusedError: The header is there and names something else than JSON.
    """
    if not is_json(headers):
        kind = next(content for name, content in headers or () if name.lower() == "content-type")
        raise RefusedError(
            RejectReason.UNSUPPORTED_ENCODING,
            f"content-type {shown(kind.decode('utf-8', 'backslashreplace'))} is not read; "
            f"send application/json or {CONTENT_TYPE.decode()}",
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - 8
    return ", ".join(names[:8]) + (f" and {more} more" if more > 0 else "")
