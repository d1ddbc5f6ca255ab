"""Postgres's binary COPY format of (machine_key, instant, values), built and read by numpy.

A tuple is a count of fields and then, per field, its length and its bytes, all big-endian; an
array is its dimensions, its element type and then length and bytes of each element
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"). Rows of one width
therefore have one fixed layout: a structured dtype writes or reads all of them at once.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from domain.errors import PlatformError
from domain.readings import Instants, Keys, Matrix, ReadingBatch

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"

EPOCH_US = 946_684_800_000_000
"""Postgres counts microseconds from 2000-01-01, Unix from 1970-01-01."""

_FLOAT8 = 701
"""OID of the type float8 (pg_type.dat)."""

_ELEMENT = np.dtype([("length", ">i4"), ("value", ">f8")])


@lru_cache(maxsize=256)
def _row(width: int) -> npt.NDArray[np.void]:
    """Return one row of the given number of sensors with all but its data filled in."""
    layout = np.dtype(
        [
            ("fields", ">i2"),
            ("key_length", ">i4"),
            ("key", ">i4"),
            ("instant_length", ">i4"),
            ("instant", ">i8"),
            ("values_length", ">i4"),
            ("dimensions", ">i4"),
            ("has_null", ">i4"),
            ("element", ">u4"),
            ("width", ">i4"),
            ("lower", ">i4"),
            ("values", _ELEMENT, (width,)),
        ]
    )
    row = np.zeros(1, layout)
    row["fields"], row["key_length"], row["instant_length"] = 3, 4, 8
    row["values_length"] = 20 + width * _ELEMENT.itemsize
    row["dimensions"], row["element"], row["width"], row["lower"] = 1, _FLOAT8, width, 1
    row["values"]["length"] = 8
    return row


def encode(batches: Iterable[ReadingBatch]) -> bytes:
    """Return the bytes that COPY … FROM STDIN BINARY takes; batches may differ in width."""
    parts = [HEADER]
    for batch in batches:
        built = np.repeat(_row(batch.values.shape[1]), len(batch))
        built["key"] = batch.machine_keys
        built["instant"] = batch.instants_us - EPOCH_US
        built["values"]["value"] = batch.values
        parts.append(built.tobytes())
    parts.append(TRAILER)
    return b"".join(parts)


def decode(data: bytes, width: int) -> tuple[Keys, Instants, Matrix]:
    """Read what COPY (SELECT machine_key, instant, values …) TO STDOUT BINARY gave.

    Args:
        data: All of the output.
        width: Sensors of the machine class now. A row stored before a sensor was appended is
            shorter; its missing values read as NaN.

    Returns:
        Keys of shape (n,), instants of shape (n,) and values of shape (n, width).

    Raises:
        PlatformError: The rows have another form than this platform writes.
    """
    if not data.startswith(HEADER) or not data.endswith(TRAILER):
        raise PlatformError("the output of COPY is cut off; read again")
    parts: list[tuple[Keys, Instants, Matrix]] = []
    at, end = len(HEADER), len(data) - len(TRAILER)
    while at < end:
        run = _run(data, at, end)
        at += run.nbytes
        values = np.full((len(run), width), np.nan)
        stored = min(width, run["values"].shape[1])
        values[:, :stored] = run["values"]["value"][:, :stored]
        keys = run["key"].astype(np.int32)
        parts.append((keys, run["instant"].astype(np.int64) + EPOCH_US, values))
    if not parts:
        return np.empty(0, np.int32), np.empty(0, np.int64), np.empty((0, width))
    if len(parts) == 1:
        return parts[0]
    return (
        np.concatenate([keys for keys, _, _ in parts]),
        np.concatenate([instants for _, instants, _ in parts]),
        np.concatenate([values for _, _, values in parts]),
    )


def _run(data: bytes, at: int, end: int) -> npt.NDArray[np.void]:
    """Return the longest run of equally wide rows that begins at a byte."""
    head = np.frombuffer(data, _row(0).dtype, count=1, offset=at)
    width = int(head["width"][0])
    row = _row(width)
    # Most histories are one run. Where the width changes the layout of what follows is misread,
    # which shows in its constants; the check grows with the run, so that many short runs stay
    # cheap.
    most = (end - at) // row.itemsize
    seen = min(64, most)
    while seen:
        rows = np.frombuffer(data, row.dtype, count=seen, offset=at)
        good = _is_row(rows, row)
        if not good.all():
            rows = rows[: int(np.argmin(good))]
            break
        if seen == most:
            break
        seen = min(most, seen * 8)
    if not seen or not len(rows):
        raise PlatformError("a stored reading is not a plain array of numbers")
    return rows


def _is_row(rows: npt.NDArray[np.void], row: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    good = np.ones(len(rows), np.bool_)
    for name in ("fields", "key_length", "instant_length", "values_length", "dimensions",
                 "has_null", "element", "width"):  # fmt: skip
        good &= rows[name] == row[name]
    return good
