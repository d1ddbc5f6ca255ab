"""One message at a time: the last word on what is a reading, and why something is not.

The batch decoder hands over whatever it finds unusual. msgspec decides; only when it has refused a
message is the standard library asked to read it once more, leniently, to tell its owner the reason.
"""

import json
from math import isfinite

import msgspec

from domain.machines import NAME_PATTERN
from domain.wire.times import parse_instant
from domain.wire.verdict import RejectReason


class Message(msgspec.Struct, frozen=True, gc=False):
    """Value v1 as it stands in Kafka; fields that are not named here are ignored.

    Attributes:
        machine_id: The machine's name.
        timestamp: RFC 3339 with an offset.
        values: Sensor name → number; null says that the sensor was missing.
    """

    machine_id: str
    timestamp: str
    values: dict[str, float | None]


class RefusedError(Exception):
    """A message is no reading; never leaves the wire format, where it becomes a `Rejection`.

    Attributes:
        reason: The broken rule.
        detail: The rule in words.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


_DECODER = msgspec.json.Decoder(Message)
_FIELDS: dict[str, type] = {"machine_id": str, "timestamp": str, "values": dict}
_JSON_NAMES: dict[type, str] = {
    bool: "true or false",
    str: "text",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read_message(value: bytes) -> Message:
    """Return the message in `value`.

    Raises:
        RefusedError: It is no value v1, or its machine cannot be a name.
    """
    try:
        value.decode()
        message = _DECODER.decode(value)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise _explained(value, error) from None
    if NAME_PATTERN.fullmatch(message.machine_id) is None:
        raise RefusedError(
            RejectReason.BAD_NAME, f"machine_id {shown(message.machine_id)} cannot be a name"
        )
    if all(number is None for number in message.values.values()):
        raise RefusedError(RejectReason.EMPTY_VALUES, "values holds no number")
    return message


def read_timestamp(text: str) -> int:
    """Return microseconds UTC.

    Raises:
        RefusedError: The text is no RFC 3339 instant.
    """
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise RefusedError(RejectReason.BAD_TIMESTAMP, f"timestamp {shown(text)} {error}") from None


def shown(text: str) -> str:
    """Return text fit for a message to a person: quoted, escaped and short."""
    return ascii(text if len(text) <= 60 else text[:60] + "...")


def _explained(value: bytes, error: Exception) -> RefusedError:
    try:
        # float takes integers of any length and becomes infinite, where int would refuse.
        found = json.loads(value.decode(), parse_int=float)
    except UnicodeDecodeError as bad:
        return RefusedError(
            RejectReason.NOT_UTF8,
            f"byte {bad.start} is 0x{value[bad.start]:02x}, which is not UTF-8",
        )
    except RecursionError:
        return RefusedError(RejectReason.TOO_DEEP, "objects or lists are nested too deeply")
    except ValueError as bad:
        return RefusedError(RejectReason.NOT_JSON, f"it is not JSON: {bad}")
    if not isinstance(found, dict):
        return RefusedError(
            RejectReason.NOT_AN_OBJECT, f"it is {_kind(found)} instead of an object"
        )
    return _wrong_field(found) or _wrong_number(found["values"]) or _strict(error)


def _wrong_field(found: dict[str, object]) -> RefusedError | None:
    for name, kind in _FIELDS.items():
        if name not in found:
            return RefusedError(RejectReason.MISSING_FIELD, f"{name} is missing")
        if not isinstance(found[name], kind):
            return RefusedError(
                RejectReason.WRONG_TYPE,
                f"{name} is {_kind(found[name])} instead of {_JSON_NAMES[kind]}",
            )
    for text in (found["machine_id"], found["timestamp"]):
        if isinstance(text, str) and not text.isascii():
            return RefusedError(RejectReason.BAD_NAME, f"{shown(text)} is not plain text")
    return None


def _wrong_number(values: dict[str, object]) -> RefusedError | None:
    for sensor, number in values.items():
        if number is not None and not isinstance(number, float):
            return RefusedError(
                RejectReason.WRONG_TYPE,
                f"sensor {shown(sensor)} is {_kind(number)} instead of a number",
            )
        if isinstance(number, float) and not isfinite(number):
            return RefusedError(
                RejectReason.BAD_NUMBER, f"sensor {shown(sensor)} is not a finite number"
            )
    return None


def _strict(error: Exception) -> RefusedError:
    # What the standard library tolerates and RFC 8259 does not, such as NaN in a field we ignore.
    return RefusedError(RejectReason.NOT_JSON, f"it is not JSON: {error}")


def _kind(found: object) -> str:
    return _JSON_NAMES[type(found)]
