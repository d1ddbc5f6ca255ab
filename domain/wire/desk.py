"""Where the messages that the scanner leaves are judged one by one."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from domain.machines import Machine
from domain.readings import ReadingBatch
from domain.roster import Roster
from domain.wire.arbiter import Message, RefusedError, read_message, read_timestamp, shown
from domain.wire.bulk import Columns
from domain.wire.checks import check_encoding, check_time, vector
from domain.wire.packed import is_packed
from domain.wire.raw import RawBatch
from domain.wire.unpack import read_packed, sensors_meant, widened
from domain.wire.verdict import Decoded, Rejection, RejectReason, Stranger


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


class Desk:
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
