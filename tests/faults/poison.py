"""Thirty kinds of messages that are no readings, each with the reason it is turned away for."""

from domain.wire import PACKED_HEADERS, RejectReason
from domain.wire.raw import Headers
from tests.faults.case import times

R = RejectReason

_TIME = '"timestamp":"2025-06-15T15:06:40Z"'
_MACHINE = '"machine_id":"pump-1"'

type Poison = tuple[bytes | None, RejectReason, Headers | None]


def _values(text: str) -> bytes:
    return f'{{{_MACHINE},{_TIME},"values":{text}}}'.encode()


def _number(text: str) -> bytes:
    return _values(f'{{"s0":{text}}}')


def _stamped(text: str) -> bytes:
    return f'{{{_MACHINE},"timestamp":"{text}","values":{{"s0":1}}}}'.encode()


def _named(text: str) -> bytes:
    return f'{{"machine_id":"{text}",{_TIME},"values":{{"s0":1}}}}'.encode()


def _beside(field: bytes) -> bytes:
    return b'{"x":' + field + b"," + _number("1")[1:]


KINDS: dict[str, Poison] = {
    "tombstone": (None, R.TOMBSTONE, None),
    "empty": (b"", R.NOT_JSON, None),
    "text": (b"hello", R.NOT_JSON, None),
    "cut off": (_number("1")[:-1], R.NOT_JSON, None),
    "two in one": (_number("1") * 2, R.NOT_JSON, None),
    "leading zero": (_number("01"), R.NOT_JSON, None),
    "bad UTF-8": (b'{"machine_id":"\xff"}', R.NOT_UTF8, None),
    "bad UTF-8 in an ignored field": (_beside(b'"\xff"'), R.NOT_UTF8, None),
    "list": (b"[1,2]", R.NOT_AN_OBJECT, None),
    "null": (b"null", R.NOT_AN_OBJECT, None),
    "no field": (b"{}", R.MISSING_FIELD, None),
    "no values": (f"{{{_MACHINE},{_TIME}}}".encode(), R.MISSING_FIELD, None),
    "machine a number": (b'{"machine_id":1,' + _number("1")[23:], R.WRONG_TYPE, None),
    "true": (_number("true"), R.WRONG_TYPE, None),
    "number as text": (_number('"1.5"'), R.WRONG_TYPE, None),
    "nested": (_number('{"a":1}'), R.WRONG_TYPE, None),
    "NaN": (_number("NaN"), R.BAD_NUMBER, None),
    "minus infinity": (_number("-Infinity"), R.BAD_NUMBER, None),
    "1e400": (_number("1e400"), R.BAD_NUMBER, None),
    "5000 digits": (_number("1" * 5000), R.BAD_NUMBER, None),
    "deep nesting": (_beside(b"[" * 50_000 + b"]" * 50_000), R.TOO_DEEP, None),
    "NUL in a name": (_named("\\u0000"), R.BAD_NAME, None),
    "lone surrogate": (_named("\\ud800"), R.BAD_NAME, None),
    # Kept whole as well, which takes the database half a second for each of 10 MB.
    "too large": (b"x" * times(1_500_000, 10_000_000), R.TOO_LARGE, None),
    "no sensor": (_values("{}"), R.EMPTY_VALUES, None),
    "unknown sensor": (_values('{"s0":1,"s9":2}'), R.UNKNOWN_SENSOR, None),
    "unknown machine": (_named("stranger").replace(b"s0", b"x0"), R.UNKNOWN_MACHINE, None),
    "31 February": (_stamped("2026-02-31T03:04:05Z"), R.BAD_TIMESTAMP, None),
    "clock never set": (_stamped("1999-12-31T23:59:59Z"), R.TIME_OUT_OF_RANGE, None),
    "damaged packed message": (b"MWP1", R.BAD_PACKED, PACKED_HEADERS),
}
