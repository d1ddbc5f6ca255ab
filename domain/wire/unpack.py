"""Packed messages of a batch to columns: whole groups by numpy, the unusual one by one."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from domain.machines import NAME_PATTERN, MachineClass
from domain.readings import Instants, Keys, Matrix
from domain.roster import Roster
from domain.wire.arbiter import RefusedError, shown
from domain.wire.bulk import Columns, Rows
from domain.wire.packed import HEAD, MAGIC, fingerprints, record
from domain.wire.raw import RawBatch
from domain.wire.verdict import RejectReason

type Heads = npt.NDArray[np.void]
type Usual = npt.NDArray[np.bool_]
type Found = list[tuple[str, Columns]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bounds:
    """What is read at all.

    Attributes:
        earliest_us: First instant that a working clock gives.
        latest_us: Last one.
        max_bytes: A longer message is rejected unread.
    """

    earliest_us: int
    latest_us: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """One packed message.

    Attributes:
        machine_id: The machine's name.
        sensors: How many sensors it has values of.
        fingerprint: Of their names.
        instants_us: Shape (n,), n >= 1.
        values: Shape (n, sensors), finite or NaN.
    """

    machine_id: str
    sensors: int
    fingerprint: int
    instants_us: Instants
    values: Matrix


def unpack(raw: RawBatch, rows: Rows, roster: Roster, bounds: Bounds) -> tuple[Found, list[int]]:
    """Return what is usual, by class, and the rows that have to be judged one by one.

    A message is usual whose Kafka key is a known machine, and of which nothing is to be refused.

    Args:
        raw: The messages.
        rows: Those that are packed, ascending.
        roster: Machines and classes known now.
        bounds: What is read at all.
    """
    index = _index(roster)
    picked = rows.tolist()
    values = [raw.values[row] or b"" for row in picked]
    keys = [raw.keys[row] or b"" for row in picked]
    machines = np.fromiter((index.slots.get(key, -1) for key in keys), np.int64, len(keys))
    heads, usual = _heads(values, keys, bounds)
    usual &= machines >= 0
    # Class, sensors and bytes of a value decide how a reading lies: a group has all three alike.
    shape = (heads["sensors"].astype(np.int64) << 4) | heads["value_bytes"]
    groups = np.where(usual, (index.classes[machines] << 20) | shape, -1)
    found: Found = []
    for group in np.unique(groups[usual]).tolist():
        machine_class, known = index.sets[group >> 20]
        count = (group >> 4) & 0xFFFF
        of_group = groups == group
        if count >= len(known):
            usual[of_group] = False
            continue
        usual[of_group] &= heads["fingerprint"][of_group] == known[count]
        members = np.flatnonzero(of_group & usual)
        bodies = [values[at][HEAD.itemsize + len(keys[at]) :] for at in members.tolist()]
        each = np.frombuffer(b"".join(bodies), record(count, group & 15))
        of = np.repeat(members, heads["readings"][members])
        instants, matrix, good = _columns(each, len(machine_class.sensors), bounds)
        columns = Columns(
            rows=rows[of],
            machine_keys=index.keys[machines[of]],
            instants_us=instants,
            values=matrix,
        )
        if not good.all():
            # One reading that is none, and its message is refused as a whole.
            usual[of[~good]] = False
            columns = columns.take(usual[of])
        found.append((machine_class.name, columns))
    return found, rows[~usual].tolist()


def read_packed(value: bytes) -> Packed:
    """Return the message in `value`.

    Raises:
        RefusedError: It is not laid out as a packed message, or a reading in it is none.
    """
    if len(value) < HEAD.itemsize:
        raise _broken(f"{len(value)} bytes; the head alone has {HEAD.itemsize}")
    head = np.frombuffer(value, HEAD, count=1)[0]
    width, count, readings = (int(head[name]) for name in ("value_bytes", "sensors", "readings"))
    if head["magic"] != MAGIC or head["reserved"] != 0:
        raise _broken("it does not begin with MWP1, or the reserved bytes are not zero")
    if width not in {4, 8} or not count or not readings:
        raise _broken(f"{readings} readings of {count} values of {width} bytes")
    begin = HEAD.itemsize + int(head["name_bytes"])
    wanted = begin + readings * (8 + width * count)
    if len(value) != wanted:
        raise _broken(f"{len(value)} bytes; its head promises {wanted}")
    name = value[HEAD.itemsize : begin].decode("ascii", "backslashreplace")
    if NAME_PATTERN.fullmatch(name) is None:
        raise RefusedError(RejectReason.BAD_NAME, f"machine_id {shown(name)} cannot be a name")
    each = np.frombuffer(value, record(count, width), offset=begin)
    anything = Bounds(earliest_us=-(2**63), latest_us=2**63 - 1, max_bytes=0)
    instants, values, good = _columns(each, count, anything)
    if not good.all():
        _refuse_values(values[np.argmin(good)], int(np.argmin(good)))
    return Packed(
        machine_id=name,
        sensors=count,
        fingerprint=int(head["fingerprint"]),
        instants_us=instants,
        values=values,
    )


def widened(message: Packed, machine_class: MachineClass) -> Matrix:
    """Return a message's values in the order of its class; shape (n, sensors).

    Raises:
        RefusedError: Its sensors are not the class's.
    """
    known = fingerprints(machine_class.sensor_names)
    if message.sensors >= len(known) or known[message.sensors] != message.fingerprint:
        raise RefusedError(
            RejectReason.UNKNOWN_SENSOR,
            f"fingerprint {message.fingerprint:016x} of {message.sensors} sensors is not that of "
            f"the first sensors of class {machine_class.name}: send its sensors in stored order",
        )
    values = np.full((len(message.values), len(machine_class.sensors)), np.nan)
    values[:, : message.sensors] = message.values
    return values


def sensors_meant(message: Packed, roster: Roster) -> frozenset[str]:
    """Return the sensors that a fingerprint stands for, of the classes known; none if it is new."""
    for machine_class, known in _index(roster).sets:
        if message.sensors == len(known) - 1 and known[-1] == message.fingerprint:
            return frozenset(machine_class.sensor_names)
    return frozenset()


def _heads(values: list[bytes], keys: list[bytes], bounds: Bounds) -> tuple[Heads, Usual]:
    """Return the heads, and of which messages head, name and length fit together."""
    size = HEAD.itemsize
    parts = b"".join([value[:size].ljust(size, b"\0") for value in values])
    heads = np.frombuffer(parts, HEAD)
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    names = np.fromiter(map(len, keys), np.int64, len(keys))
    width = heads["value_bytes"].astype(np.int64)
    body = heads["readings"].astype(np.int64) * (8 + width * heads["sensors"])
    fits = [value.startswith(key, size) for value, key in zip(values, keys, strict=True)]
    usual = np.array(fits, dtype=np.bool_) & (lengths <= bounds.max_bytes)
    usual &= (heads["magic"] == MAGIC) & (heads["reserved"] == 0) & (heads["name_bytes"] == names)
    usual &= ((width == 4) | (width == 8)) & (body > 0) & (heads["sensors"] > 0)
    return heads, usual & (lengths == size + names + body)


def _columns(each: Heads, width: int, bounds: Bounds) -> tuple[Instants, Matrix, Usual]:
    """Return instants, values in float8, widened with NaN, and which readings are readings."""
    instants = each["instant"].astype(np.int64)
    count = each["values"].shape[1]
    values = np.empty((len(each), width))
    values[:, count:] = np.nan
    with np.errstate(all="ignore"):
        values[:, :count] = each["values"]
        # A row whose sum is finite has nothing missing and nothing infinite: most rows, cheaply.
        odd = np.flatnonzero(~np.isfinite(values[:, :count].sum(axis=1)))
    good = (instants >= bounds.earliest_us) & (instants <= bounds.latest_us)
    if len(odd):
        rows = values[odd, :count]
        missing = np.isnan(rows)
        good[odd] &= ~(np.isinf(rows).any(axis=1) | missing.all(axis=1))
        rows[missing] = np.nan  # one kind of NaN
        values[odd, :count] = rows
    return instants, values, good


def _refuse_values(values: npt.NDArray[np.float64], number: int) -> None:
    if np.isnan(values).all():
        raise RefusedError(RejectReason.EMPTY_VALUES, f"reading {number} holds no number")
    column = int(np.argmax(np.isinf(values)))
    raise RefusedError(
        RejectReason.BAD_NUMBER, f"value {column} of reading {number} is not a finite number"
    )


def _broken(detail: str) -> RefusedError:
    return RefusedError(RejectReason.BAD_PACKED, f"it is not packed as docs/wire.md says: {detail}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Index:
    """A roster as arrays; machines are numbered in its order.

    Attributes:
        slots: Kafka key → the machine's number.
        keys: Shape (machines,).
        classes: Shape (machines,), numbers in `sets`.
        sets: Each class with the fingerprints of the beginnings of its sensors.
    """

    slots: dict[bytes, int]
    keys: Keys
    classes: npt.NDArray[np.int64]
    sets: tuple[tuple[MachineClass, npt.NDArray[np.uint64]], ...]


@lru_cache(maxsize=4)
def _index(roster: Roster) -> _Index:
    machines = list(roster.machines.values())
    number = {name: at for at, name in enumerate(roster.classes)}
    return _Index(
        slots={machine.name.encode(): at for at, machine in enumerate(machines)},
        keys=np.array([*(machine.key for machine in machines), -1], dtype=np.int32),
        # One more at the end for the machine that is not known, which has number -1.
        classes=np.array([*(number[one.machine_class] for one in machines), -1], dtype=np.int64),
        sets=tuple((one, fingerprints(one.sensor_names)) for one in roster.classes.values()),
    )
