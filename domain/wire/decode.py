"""A batch of Kafka messages to columns of readings."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from domain.roster import Roster
from domain.wire.bulk import Columns, scan
from domain.wire.checks import EARLIEST_US
from domain.wire.desk import Desk
from domain.wire.packed import is_packed
from domain.wire.raw import RawBatch
from domain.wire.unpack import Bounds, Found, unpack
from domain.wire.verdict import Decoded

MAX_AHEAD_S = 86_400.0
"""A reading may be at most this far ahead of now: a day covers a wrong time zone."""

MAX_BYTES = 1_048_576
"""Kafka's own default for the largest message; 1,000 sensors need 30 kB."""


def decode(
    raw: RawBatch,
    roster: Roster,
    *,
    now_us: int,
    max_ahead_s: float = MAX_AHEAD_S,
    max_bytes: int = MAX_BYTES,
) -> Decoded:
    """Sort a batch into readings, rejections and strangers; nothing in a message can raise.

    A message may name some of its class's sensors only: the others are missing and read as NaN.
    A message whose header says so is packed and brings several readings; it is taken or refused as
    a whole. A Kafka key, where there is one, must be the machine's name. Of a JSON key given twice
    the last one counts.

    Args:
        raw: The messages.
        roster: Machines and classes known now.
        now_us: The present, microseconds UTC.
        max_ahead_s: A reading may lie at most this far ahead of now, seconds.
        max_bytes: A longer message is rejected unread.
    """
    latest_us = now_us + int(max_ahead_s * 1e6)
    desk = Desk(raw, roster, latest_us=latest_us, max_bytes=max_bytes)
    packed = _packed_rows(raw)
    plain = np.flatnonzero(~packed)
    found, left = _scanned(raw, plain, roster, max_bytes)
    unpacked: Found = []
    if len(plain) < len(raw):
        bounds = Bounds(earliest_us=EARLIEST_US, latest_us=latest_us, max_bytes=max_bytes)
        unpacked, odd = unpack(raw, np.flatnonzero(packed), roster, bounds)
        left += odd
    for name, columns in found.items():
        late = (columns.instants_us < EARLIEST_US) | (columns.instants_us > latest_us)
        if late.any():
            found[name] = columns.take(~late)
            left += columns.rows[late].tolist()
    for row in sorted(left):
        desk.judge(row)
    return desk.result([*found.items(), *unpacked])


def _packed_rows(raw: RawBatch) -> npt.NDArray[np.bool_]:
    if raw.headers is None:
        return np.zeros(len(raw), dtype=np.bool_)
    return np.fromiter(map(is_packed, raw.headers), np.bool_, len(raw))


def _scanned(
    raw: RawBatch, rows: npt.NDArray[np.intp], roster: Roster, max_bytes: int
) -> tuple[dict[str, Columns], list[int]]:
    """Scan the named messages; what comes back is numbered as in the whole batch."""
    if len(rows) == len(raw):
        return scan(raw, roster, max_bytes=max_bytes)
    if not len(rows):
        return {}, []
    found, left = scan(raw.take(rows), roster, max_bytes=max_bytes)
    whole = {name: replace(each, rows=rows[each.rows]) for name, each in found.items()}
    return whole, [int(rows[row]) for row in left]
