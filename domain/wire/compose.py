"""Messages of value v1 put together by compiled code, one after the other in one buffer."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from domain.jit import njit_uncounted
from domain.readings import Instants, Matrix
from domain.wire.digits import LONGEST, write_integer, write_number
from domain.wire.numbers import Bytes
from domain.wire.scan import Names
from domain.wire.times import instants_text

_ENCODER = msgspec.json.Encoder()

_SEQ = np.frombuffer(b'","seq":', dtype=np.uint8)
_PLAIN = np.frombuffer(b'"', dtype=np.uint8)
_VALUES = np.frombuffer(b',"values":{', dtype=np.uint8)
_NOTHING = np.empty(0, np.int64)
_MOST_SEQ = 10**18


class Sheet(NamedTuple):
    """What messages of one machine are made of.

    Attributes:
        begin: What all of them begin with, up to the instant.
        instants: Shape (n, 27), RFC 3339.
        seqs: Shape (n,) or (0,) for none.
        names: Each sensor's name, quoted, with a colon.
        values: Shape (n, sensors), finite or NaN.
        text: Where messages go.
        ends: Shape (n,), where each ends.
    """

    begin: Bytes
    instants: npt.NDArray[np.uint8]
    seqs: npt.NDArray[np.int64]
    names: Names
    values: Matrix
    text: Bytes
    ends: npt.NDArray[np.int64]


def compose(
    machine: str,
    instants_us: Instants,
    values: Matrix,
    sensor_names: Sequence[str],
    seqs: Sequence[int] | None,
) -> list[bytes]:
    """Return one message per reading, an empty one where a number is not ours to write.

    Args:
        machine: Its name.
        instants_us: Shape (n,), microseconds UTC.
        values: Shape (n, sensors), finite or NaN; a NaN sensor is left out.
        sensor_names: Names of the columns.
        seqs: n sequence numbers, or None to send none.
    """
    begin = b'{"machine_id":' + _ENCODER.encode(machine) + b',"timestamp":"'
    names = [_ENCODER.encode(name) + b":" for name in sensor_names]
    longest = len(begin) + 80 + sum(len(name) + 1 + LONGEST for name in names)
    sheet = Sheet(
        begin=np.frombuffer(begin, np.uint8),
        instants=instants_text(np.ascontiguousarray(instants_us, dtype=np.int64)),
        seqs=_NOTHING if seqs is None else np.array(seqs, dtype=np.int64),
        names=Names(
            text=np.frombuffer(b"".join(names), np.uint8),
            begins=np.cumsum([0, *map(len, names)], dtype=np.int64),
        ),
        values=np.ascontiguousarray(values, dtype=np.float64),
        # No more of it is touched than is written.
        text=np.empty(longest * len(instants_us), np.uint8),
        ends=np.empty(len(instants_us), np.int64),
    )
    _compose(sheet)
    ends = sheet.ends.tolist()
    text = sheet.text[: ends[-1]].tobytes()
    return [text[at:end] for at, end in zip([0, *ends], ends, strict=False)]


@njit_uncounted
def _compose(sheet: Sheet) -> None:
    at = 0
    for row in range(len(sheet.ends)):
        end = _message(sheet, at, row)
        if end > 0:
            at = end
        sheet.ends[row] = at


@njit_uncounted
def _message(sheet: Sheet, at: int, row: int) -> int:
    """Return where the message ends, -1 if it holds a number that is not ours to write."""
    text = sheet.text
    at = _put(text, at, sheet.begin)
    at = _put(text, at, sheet.instants[row])
    if len(sheet.seqs):
        if not 0 <= sheet.seqs[row] < _MOST_SEQ:
            return -1
        at = write_integer(text, _put(text, at, _SEQ), sheet.seqs[row], 1)
    else:
        at = _put(text, at, _PLAIN)
    at = _put(text, at, _VALUES)
    first = at
    for column in range(sheet.values.shape[1]):
        value = sheet.values[row, column]
        if value != value:  # noqa: PLR0124 - the compiled test for NaN
            continue
        if at > first:
            text[at] = 44  # ,
            at += 1
        for place in range(sheet.names.begins[column], sheet.names.begins[column + 1]):
            text[at] = sheet.names.text[place]
            at += 1
        at = write_number(text, at, value)
        if at < 0:
            return -1
    text[at] = text[at + 1] = 125  # }
    return at + 2


@njit_uncounted
def _put(text: Bytes, at: int, piece: Bytes) -> int:
    for byte in piece:
        text[at] = byte
        at += 1
    return at
