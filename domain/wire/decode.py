"""A batch of Kafka messages to columns of readings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from domain.machines import Machine, MachineClass
from domain.readings import ReadingBatch
from domain.roster import Roster
from domain.wire.arbiter import Message, RefusedError, read_message, read_timestamp, shown
from domain.wire.bulk import Columns, is_json, scan
from domain.wire.packed import CONTENT_TYPE, is_packed
from domain.wire.raw import Headers, RawBatch
from domain.wire.times import format_instant
from domain.wire.unpack import Bounds, Found, read_packed, sensors_meant, unpack, widened
from domain.wire.verdict import Decoded, Rejection, RejectReason, Stranger

EARLIEST_US = 946_684_800_000_000
"""2000-01-01T00:00:00Z: an earlier time is a clock that was never set."""

MAX_AHEAD_S = 86_400.0
"""A reading may be at most this far ahead of now: a day covers a wrong time zone."""

MAX_BYTES = 1_048_576
"""Kafka's own default for the largest message; 1,000 sensors need 30 kB."""


@dataclass(slots=True, kw_only=True)
class _Rows:
    """Readings of one class that the arbiter found, one by one."""

    rows: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    instants: list[int] = field(default_factory=list)
    values: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def columns(self) -> Columns:
        """Return them as columns."""
        return Columns(
            rows=np.array(self.rows, dtype=np.intp),
            machine_keys=np.array(self.keys, dtype=np.int32),
            instants_us=np.array(self.instants, dtype=np.int64),
            values=np.array(self.values),
        )


@dataclass(slots=True, kw_only=True)
class _Lost:
    """A sender that is not in the roster, as it is found."""

    sensors: set[str] = field(default_factory=set)
    rows: list[int] = field(default_factory=list)


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
    desk = _Desk(raw, roster, latest_us=latest_us, max_bytes=max_bytes)
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


class _Desk:
    """Where the messages of one batch are judged one by one."""

    def __init__(self, raw: RawBatch, roster: Roster, *, latest_us: int, max_bytes: int) -> None:
        self._raw, self._roster = raw, roster
        self._latest_us, self._max_bytes = latest_us, max_bytes
        self._found: dict[str, _Rows] = {}
        self._lost: dict[str, _Lost] = {}
        self._rejections: list[Rejection] = []

    def judge(self, row: int) -> None:
        """Put one message where it belongs."""
        try:
            value = self._value(row)
            headers = None if self._raw.headers is None else self._raw.headers[row]
            if is_packed(headers):
                self._unpack(row, value)
                return
            check_encoding(headers)
            message = read_message(value)
            self._check_key(row, message.machine_id)
            instant_us = read_timestamp(message.timestamp)
            check_time(instant_us, self._latest_us)
            machine = self._roster.machines.get(message.machine_id)
            if machine is None:
                self._lose(row, message.machine_id, message.values)
            else:
                self._add(row, machine, instant_us, message)
        except RefusedError as refused:
            self._rejections.append(
                Rejection(index=row, reason=refused.reason, detail=refused.detail)
            )

    def _value(self, row: int) -> bytes:
        value = self._raw.values[row]
        if value is None:
            raise RefusedError(RejectReason.TOMBSTONE, "the message has no value")
        if len(value) > self._max_bytes:
            raise RefusedError(
                RejectReason.TOO_LARGE, f"{len(value)} bytes; at most {self._max_bytes} are read"
            )
        return value

    def _check_key(self, row: int, machine_id: str) -> None:
        key = self._raw.keys[row]
        if key is not None and key != machine_id.encode():
            raise RefusedError(
                RejectReason.KEY_MISMATCH,
                f"the key is {shown(key.decode('utf-8', 'backslashreplace'))}, "
                f"machine_id is {shown(machine_id)}",
            )

    def _lose(self, row: int, name: str, sensors: Iterable[str]) -> None:
        lost = self._lost.setdefault(name, _Lost())
        lost.sensors.update(sensors)
        lost.rows.append(row)

    def _unpack(self, row: int, value: bytes) -> None:
        message = read_packed(value)
        self._check_key(row, message.machine_id)
        for instant_us in (message.instants_us.min(), message.instants_us.max()):
            check_time(int(instant_us), self._latest_us)
        machine = self._roster.machines.get(message.machine_id)
        if machine is None:
            self._lose(row, message.machine_id, sensors_meant(message, self._roster))
            return
        machine_class = self._roster.class_of(machine)
        values = widened(message, machine_class)
        found = self._found.setdefault(machine_class.name, _Rows())
        found.rows += [row] * len(values)
        found.keys += [machine.key] * len(values)
        found.instants += message.instants_us.tolist()
        found.values += list(values)

    def _add(self, row: int, machine: Machine, instant_us: int, message: Message) -> None:
        machine_class = self._roster.class_of(machine)
        values = vector(message, machine_class)
        found = self._found.setdefault(machine_class.name, _Rows())
        found.rows.append(row)
        found.keys.append(machine.key)
        found.instants.append(instant_us)
        found.values.append(values)

    def result(self, read: Iterable[tuple[str, Columns]]) -> Decoded:
        """Return everything that was found, as columns.

        Args:
            read: What was read in bulk, each with the name of its class.
        """
        parts: dict[str, list[Columns]] = {}
        for name, each in read:
            parts.setdefault(name, []).append(each)
        for name, rows in self._found.items():
            parts.setdefault(name, []).append(rows.columns())
        found = {name: _merged(each) for name, each in parts.items()}
        found = {name: columns for name, columns in found.items() if len(columns.rows)}
        return Decoded(
            readings=tuple(
                ReadingBatch(
                    machine_class=self._roster.classes[name],
                    machine_keys=columns.machine_keys,
                    instants_us=columns.instants_us,
                    values=columns.values,
                )
                for name, columns in found.items()
            ),
            rows=tuple(columns.rows for columns in found.values()),
            rejections=tuple(self._rejections),
            strangers=tuple(
                Stranger(
                    name=name, sensors=frozenset(lost.sensors), rows=np.array(lost.rows, np.intp)
                )
                for name, lost in self._lost.items()
            ),
        )


def _merged(parts: list[Columns]) -> Columns:
    match parts:
        case [only]:
            return only
        case _:
            together = Columns(
                rows=np.concatenate([part.rows for part in parts]),
                machine_keys=np.concatenate([part.machine_keys for part in parts]),
                instants_us=np.concatenate([part.instants_us for part in parts]),
                values=np.concatenate([part.values for part in parts]),
            )
            return together.take(np.argsort(together.rows, kind="stable"))


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
