"""Rollups in Postgres's binary COPY format, built and read by numpy as in `copy_format`."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from domain.errors import PlatformError
from domain.minutes import NEVER
from domain.readings import Instants, Keys, Matrix
from storage.copy_format import EPOCH_US, HEADER, TRAILER

MINUTE_US = 60_000_000

_ARRAYS = {
    # Field of `Sums`: OID of its elements (pg_type.dat) and how one lies.
    "count": (23, ">i4"),
    "mean": (701, ">f8"),
    "low": (701, ">f8"),
    "high": (701, ">f8"),
    "last": (701, ">f8"),
    "last_us": (1184, ">i8"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """Minutes of machines of one class, by machine and minute.

    Attributes:
        machine_keys: Shape (n,).
        minutes_us: Shape (n,), first microsecond of each minute, UTC.
        count: Shape (n, sensors), readings in which the sensor was there.
        mean: Shape (n, sensors); this and what follows is NaN where `count` is 0.
        low: Shape (n, sensors), smallest value.
        high: Shape (n, sensors), largest value.
        last: Shape (n, sensors), value of the latest reading in which the sensor was there.
        last_us: Shape (n, sensors), instant of that reading, -2^63 where `count` is 0.
    """

    machine_keys: Keys
    minutes_us: Instants
    count: npt.NDArray[np.int32]
    mean: Matrix
    low: Matrix
    high: Matrix
    last: Matrix
    last_us: npt.NDArray[np.int64]


@lru_cache(maxsize=256)
def _row(width: int) -> npt.NDArray[np.void]:
    """Return one row of the given number of sensors with all but its data filled in."""
    head = [("fields", ">i2"), ("key_length", ">i4"), ("key", ">i4")]
    head += [("minute_length", ">i4"), ("minute", ">i8")]
    arrays = {name: _array(kind, width) for name, (_, kind) in _ARRAYS.items()}
    row = np.zeros(1, np.dtype([*head, *arrays.items()]))
    row["fields"], row["key_length"], row["minute_length"] = 2 + len(_ARRAYS), 4, 8
    for name, (oid, _) in _ARRAYS.items():
        array = row[name]
        array["bytes"] = arrays[name].itemsize - 4
        array["dimensions"], array["element"], array["width"], array["lower"] = 1, oid, width, 1
        array["items"]["length"] = array["items"]["value"].itemsize
    return row


def _array(kind: str, width: int) -> np.dtype[np.void]:
    item = np.dtype([("length", ">i4"), ("value", kind)])
    names = ("bytes", "dimensions", "has_null", "element", "width", "lower")
    return np.dtype([*((name, ">i4") for name in names), ("items", item, (width,))])


def encode(sums: Sums) -> bytes:
    """Return the bytes that COPY readings_1m FROM STDIN BINARY takes."""
    built = np.repeat(_row(sums.count.shape[1]), len(sums.machine_keys))
    built["key"] = sums.machine_keys
    built["minute"] = sums.minutes_us - EPOCH_US
    for name in _ARRAYS:
        built[name]["items"]["value"] = getattr(sums, name)
    last = sums.last_us
    built["last_us"]["items"]["value"] = np.where(last == NEVER, last, last - EPOCH_US)
    return b"".join([HEADER, built.tobytes(), TRAILER])


def decode(data: bytes, width: int) -> Sums:
    """Read what COPY readings_1m TO STDOUT BINARY gave.

    Args:
        data: All of the output.
        width: Sensors of the machine class now; a minute summed up when it had fewer is shorter.

    Raises:
        PlatformError: The rows have another form than this platform writes.
    """
    if not data.startswith(HEADER) or not data.endswith(TRAILER):
        raise PlatformError("the output of COPY is cut off; read again")
    parts: list[npt.NDArray[np.void]] = []
    at, end = len(HEADER), len(data) - len(TRAILER)
    while at < end:
        stored = int(np.frombuffer(data, _row(0).dtype, count=1, offset=at)["count"]["width"][0])
        size = _row(stored).itemsize if stored >= 0 else end + 1
        if at + size > end:
            raise PlatformError("a stored minute is not laid out as this platform writes it")
        # Few widths ever occur in a class: where the next row has another one a new run begins.
        most = (end - at) // size
        run = np.frombuffer(data, _row(stored).dtype, count=most, offset=at)
        good = (run["fields"] == 2 + len(_ARRAYS)) & (run["count"]["width"] == stored)
        run = run if good.all() else run[: int(np.argmin(good))]
        parts.append(run)
        at += run.nbytes
    return _together(parts, width)


def _together(parts: list[npt.NDArray[np.void]], width: int) -> Sums:
    total = sum(map(len, parts))
    empty = {"count": 0, "last_us": NEVER}
    columns = {
        name: np.full(
            (total, width), empty.get(name, np.nan), dtype=np.dtype(kind).newbyteorder("=")
        )
        for name, (_, kind) in _ARRAYS.items()
    }
    at = 0
    for part in parts:
        for name, column in columns.items():
            found = part[name]["items"]["value"][:, :width]
            column[at : at + len(part), : found.shape[1]] = found
        at += len(part)
    last = columns["last_us"]
    last[last != NEVER] += EPOCH_US
    keys = [part["key"] for part in parts]
    minutes = [part["minute"] for part in parts]
    return Sums(
        machine_keys=np.concatenate(keys or [np.empty(0)]).astype(np.int32),
        minutes_us=np.concatenate(minutes or [np.empty(0)]).astype(np.int64) + EPOCH_US,
        **columns,
    )
