"""The usual message, read by a compiled scanner; anything else is left to the arbiter.

The scanner knows value v1 as encoders write it: the known fields in any order, plain ASCII, no
escapes, UTC as `Z`. It never decides that a message is wrong. Messages lie in one buffer, each
followed by a newline, which fits nowhere in its grammar: so no message reads into the next.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from domain.jit import njit_uncounted
from domain.readings import Instants, Matrix
from domain.wire.instants import read_instant
from domain.wire.numbers import Bytes, Cell, read_digits, read_number

type Places = npt.NDArray[np.int64]

_MACHINE_ID = np.frombuffer(b'"machine_id"', dtype=np.uint8)
_TIMESTAMP = np.frombuffer(b'"timestamp"', dtype=np.uint8)
_VALUES = np.frombuffer(b'"values"', dtype=np.uint8)
_SEQ = np.frombuffer(b'"seq"', dtype=np.uint8)
_NULL = np.frombuffer(b"null", dtype=np.uint8)
_STATUS = np.frombuffer(b'"status"', dtype=np.uint8)


class Names(NamedTuple):
    """Names one after the other.

    Attributes:
        text: All their bytes.
        begins: Shape (names + 1,), where each begins.
    """

    text: Bytes
    begins: Places


class Task(NamedTuple):
    """Messages of one machine class, and where their readings go.

    Attributes:
        text: All messages, a newline after each.
        sensors: Of the class, in stored order.
        instants_us: Shape (n,).
        values: Shape (n, sensors).
        usual: Shape (n,), whether the message was usual; rows of others hold nothing.
        stamps: Shape (sensors,), the row that named a sensor last.
        cell: Scratch.
    """

    text: Bytes
    sensors: Names
    instants_us: Instants
    values: Matrix
    usual: npt.NDArray[np.bool_]
    stamps: Places
    cell: Cell


@njit_uncounted
def scan_messages(task: Task, begins: Places, ends: Places, machines: Places, names: Names) -> None:
    """Read the usual messages of one machine class.

    Args:
        task: The messages, and where to put what they say.
        begins: Shape (n,), where each message begins.
        ends: Shape (n,), where its newline is.
        machines: Shape (n,), number in `names` of the machine that its Kafka key names.
        names: Of all machines.
    """
    for row in range(len(begins)):
        machine = machines[row]
        name = names.text[names.begins[machine] : names.begins[machine + 1]]
        task.usual[row] = _message(task, begins[row], name, row) == ends[row]


@njit_uncounted
def _message(task: Task, at: int, name: Bytes, row: int) -> int:
    """Return where the message ends, -1 if it is unusual; so do all below unless they say more."""
    text, seen = task.text, 0
    if text[at] != 123:  # {
        return -1
    while True:
        field, at = _field(text, _blank(text, at + 1))
        at = _colon(text, at)
        if at < 0 or field == 0 or seen & field:
            return -1
        seen |= field
        at = _content(task, field, at, name, row)
        if at < 0:
            return -1
        at = _blank(text, at)
        if text[at] != 44:  # ,
            return at + 1 if text[at] == 125 and seen & 7 == 7 else -1  # }


@njit_uncounted
def _content(task: Task, field: int, at: int, name: Bytes, row: int) -> int:
    if field == 1:
        return _name(task.text, at, name)
    if field == 2:
        task.instants_us[row], at = read_instant(task.text, at)
        return at
    if field == 4:
        return _values(task, at, row)
    if field == 8:
        return _integer(task.text, at)
    return _plain(task.text, at)


@njit_uncounted
def _field(text: Bytes, at: int) -> Any:
    """Return the flag of the field named here, 0 if unknown, and where its name ends."""
    for flag, name in ((1, _MACHINE_ID), (2, _TIMESTAMP), (4, _VALUES), (8, _SEQ), (16, _STATUS)):
        if _same(text, at, name):
            return flag, at + len(name)
    return 0, at


@njit_uncounted
def _colon(text: Bytes, at: int) -> int:
    at = _blank(text, at)
    return _blank(text, at + 1) if text[at] == 58 else -1


@njit_uncounted
def _same(text: Bytes, at: int, name: Bytes) -> bool:
    for place in range(len(name)):  # noqa: SIM110 - all() is no machine code
        if text[at + place] != name[place]:
            return False
    return True


@njit_uncounted
def _blank(text: Bytes, at: int) -> int:
    while text[at] == 32:
        at += 1
    return at


@njit_uncounted
def _name(text: Bytes, at: int, name: Bytes) -> int:
    end = at + 1 + len(name)
    if text[at] == 34 and _same(text, at + 1, name) and text[end] == 34:
        return end + 1
    return -1


@njit_uncounted
def _integer(text: Bytes, at: int) -> int:
    _, end = read_digits(text, at, 0)
    zero_led = end - at > 1 and text[at] == 48
    return -1 if end == at or zero_led else end


@njit_uncounted
def _plain(text: Bytes, at: int) -> int:
    if text[at] != 34:
        return -1
    at += 1
    while text[at] != 34:
        if text[at] < 32 or text[at] > 126 or text[at] == 92:
            return -1
        at += 1
    return at + 1


@njit_uncounted
def _values(task: Task, at: int, row: int) -> int:
    text, begins = task.text, task.sensors.begins
    if text[at] != 123:  # {
        return -1
    task.values[row, :] = np.nan
    guess, numbers = 0, 0
    while True:
        at = _blank(text, at + 1)
        column = _column(text, at, task.sensors, guess)
        if column < 0 or task.stamps[column] == row:  # unknown, or there twice
            return -1
        task.stamps[column], guess = row, column + 1
        at = _colon(text, at + 2 + begins[column + 1] - begins[column])
        if at > 0 and _same(text, at, _NULL):
            at += 4
        elif at > 0:
            at = read_number(text, at, task.cell)
            task.values[row, column] = task.cell.number[0]
            numbers += 1
        if at < 0:
            return -1
        at = _blank(text, at)
        if text[at] != 44:  # ,
            return at + 1 if text[at] == 125 and numbers else -1  # }


@njit_uncounted
def _column(text: Bytes, at: int, sensors: Names, guess: int) -> int:
    """Return the sensor whose quoted name stands here, trying `guess` first; -1 if none does."""
    count = len(sensors.begins) - 1
    if text[at] != 34:  # "
        return -1
    if guess < count and _is(text, at, sensors, guess):
        return guess
    for column in range(count):
        if _is(text, at, sensors, column):
            return column
    return -1


@njit_uncounted
def _is(text: Bytes, at: int, sensors: Names, column: int) -> bool:
    begin, end = sensors.begins[column], sensors.begins[column + 1]
    shift = at + 1 - begin
    for place in range(begin, end):
        if text[place + shift] != sensors.text[place]:
            return False
    return bool(text[end + shift] == 34)
