"""The packed encoding: several readings of a machine in one message; see `docs/wire.md`.

Little-endian throughout, nothing padded: a head of 24 bytes, the machine's name, then the readings,
each its instant and its values in the order of the machine class. Which sensors are meant is said
by their number and a fingerprint of their names, so that no message repeats the names.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from domain.machines import NAME_PATTERN
from domain.readings import Instants, Matrix
from domain.wire.raw import Headers

CONTENT_TYPE = b"application/vnd.millwright.packed+v1"
"""What the Kafka header `content-type` of a packed message says."""

HEADERS: Headers = [("content-type", CONTENT_TYPE)]

MAGIC = b"MWP1"

HEAD = np.dtype(
    [
        ("magic", "S4"),
        ("value_bytes", "u1"),
        ("name_bytes", "u1"),
        ("sensors", "<u2"),
        ("readings", "<u4"),
        ("reserved", "<u4"),
        ("fingerprint", "<u8"),
    ]
)
"""What every message begins with; the machine's name follows at once."""

MOST_BYTES = 900_000
"""A message is kept below what a broker takes by default, with room for key and headers."""

_FNV_BASIS, _FNV_PRIME, _LOW_64 = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


@lru_cache(maxsize=64)
def record(sensors: int, value_bytes: int) -> np.dtype[np.void]:
    """Return the layout of one reading.

    Args:
        sensors: Values per reading.
        value_bytes: 4 or 8, IEEE 754.
    """
    return np.dtype([("instant", "<i8"), ("values", f"<f{value_bytes}", (sensors,))])


def fingerprints(sensor_names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the fingerprint of no sensor, of the first one, of the first two, and so on.

    FNV-1a with 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/) over each name in UTF-8 and a
    newline behind it. Of all beginnings, because a class may have been given more sensors since.
    """
    found, state = [_FNV_BASIS], _FNV_BASIS
    for name in sensor_names:
        for byte in name.encode() + b"\n":
            state = ((state ^ byte) * _FNV_PRIME) & _LOW_64
        found.append(state)
    return np.array(found, dtype=np.uint64)


@lru_cache(maxsize=64)
def _fingerprint(sensor_names: tuple[str, ...]) -> int:
    return int(fingerprints(sensor_names)[-1])


def encode_packed(  # noqa: PLR0913 - as `encode`, and two numbers by name
    machine: str,
    instants_us: Instants,
    values: Matrix,
    sensor_names: Sequence[str],
    *,
    value_bytes: int = 8,
    per_message: int = 100,
) -> list[bytes]:
    """Return messages of up to `per_message` readings; send them with `HEADERS`.

    Args:
        machine: Its name; also the messages' key.
        instants_us: Shape (n,), microseconds UTC.
        values: Shape (n, sensors), finite or NaN (missing); no row is missing as a whole.
        sensor_names: Names of the columns: those of the machine class in stored order, or the
            first of them.
        value_bytes: 8 keeps every bit; 4 rounds to single precision.
        per_message: Readings per message, 1 or more; fewer are sent where the message would
            become too large.

    Raises:
        ValueError: A name, a number or a shape cannot be sent.
    """
    wanted = (len(instants_us), len(sensor_names))
    if values.shape != wanted or not 1 <= len(sensor_names) <= 1000:
        raise ValueError(f"columns disagree: values {values.shape} instead of {wanted}")
    if value_bytes not in {4, 8} or per_message < 1 or NAME_PATTERN.fullmatch(machine) is None:
        raise ValueError(f"cannot pack {machine!r}, {value_bytes} bytes, {per_message} a message")
    rows = np.empty(len(instants_us), record(len(sensor_names), value_bytes))
    rows["instant"] = instants_us
    with np.errstate(over="ignore", invalid="ignore"):
        rows["values"] = values
    if np.isinf(rows["values"]).any() or np.isnan(rows["values"]).all(axis=1).any():
        raise ValueError("a value is too large to be sent, or a reading has none")
    step = max(1, min(per_message, MOST_BYTES // rows.itemsize))
    head = np.zeros(1, HEAD)
    head["magic"], head["value_bytes"], head["name_bytes"] = MAGIC, value_bytes, len(machine)
    head["sensors"] = len(sensor_names)
    head["fingerprint"] = _fingerprint(tuple(sensor_names))
    name, messages = machine.encode(), []
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        head["readings"] = len(part)
        messages.append(head.tobytes() + name + part.tobytes())
    return messages


def is_packed(headers: Headers | None) -> bool:
    """Return whether a message says that it is packed, and nothing else."""
    if headers == HEADERS:  # as our own encoder sends it
        return True
    kinds = {
        content.split(b";")[0].strip().lower()
        for name, content in headers or ()
        if name.lower() == "content-type"
    }
    return kinds == {CONTENT_TYPE}
