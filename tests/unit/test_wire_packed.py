"""Several readings in one message: bytes as documented, all kinds of damage, JSON beside it."""

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.wire import (
    EARLIEST_US,
    PACKED_HEADERS,
    Decoded,
    RejectReason,
    decode,
    encode_packed,
)
from tests.unit.wire_samples import NOW_US, PUMP, ROSTER, examples, message, raw

if TYPE_CHECKING:
    from domain.wire.raw import Headers

R = RejectReason
VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data/packed_vectors.json").read_text()
)


def _decode(*values: bytes | None, key: bytes | None = b"p1") -> Decoded:
    headers: list[Headers | None] = [PACKED_HEADERS] * len(values)
    return decode(raw(values, [key] * len(values), headers), ROSTER, now_us=NOW_US)


def _sent(values: list[list[float]], **options: int) -> bytes:
    instants = NOW_US - np.arange(len(values))
    return encode_packed("p1", instants, np.array(values), PUMP.sensor_names, **options)[0]


def _matrix(vector: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[np.nan if v is None else v for v in row] for row in vector["values"]])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["description"])
@pytest.mark.parametrize("path", ["in bulk", "one by one"])
def test_the_committed_vectors_are_what_is_written_and_read(
    vector: dict[str, Any], path: str
) -> None:
    """An implementation in another language that passes them is understood."""
    values, sent = _matrix(vector), bytes.fromhex(vector["hex"])
    made = encode_packed(
        vector["machine"],
        np.array(vector["instants_us"]),
        values,
        vector["sensors"],
        value_bytes=vector["value_bytes"],
    )
    assert made == [sent]

    decoded = _decode(sent, key=vector["machine"].encode() if path == "in bulk" else None)

    (readings,) = decoded.readings
    assert readings.instants_us.tolist() == vector["instants_us"]
    count = len(vector["sensors"])
    assert readings.values[:, :count].tobytes() == values.tobytes()
    assert np.isnan(readings.values[:, count:]).all()
    assert decoded.rows[0].tolist() == [0] * len(values)


_ROW = st.tuples(
    st.integers(EARLIEST_US, NOW_US),
    st.tuples(
        st.floats(allow_infinity=False, allow_nan=False), *[st.floats(allow_infinity=False)] * 2
    ),
)


@examples(10)
@given(st.lists(_ROW, min_size=1, max_size=7), st.integers(1, 4))
def test_a_reading_comes_back_bit_equal(
    rows: list[tuple[int, tuple[float, ...]]], per_message: int
) -> None:
    """In order, whatever was cut where."""
    instants = np.array([instant for instant, _ in rows])
    values = np.array([each for _, each in rows])
    values[np.isnan(values)] = np.nan  # one kind of NaN
    sent = encode_packed("p1", instants, values, PUMP.sensor_names, per_message=per_message)

    decoded = _decode(*sent)

    (readings,) = decoded.readings
    assert len(sent) == -(-len(rows) // per_message)
    assert readings.values.tobytes() == values.tobytes()
    assert readings.instants_us.tolist() == instants.tolist()
    assert decoded.rows[0].tolist() == [at // per_message for at in range(len(rows))]


GOOD = _sent([[1, 2, 3], [4, 5, 6]])


def _with(at: int, layout: str, number: float) -> bytes:
    packed = struct.pack(layout, number)
    return GOOD[:at] + packed + GOOD[at + len(packed) :]


BROKEN: dict[str, tuple[bytes | None, RejectReason, str]] = {
    "tombstone": (None, R.TOMBSTONE, "no value"),
    "empty": (b"", R.BAD_PACKED, "0 bytes; the head alone has 24"),
    "JSON": (message(), R.BAD_PACKED, "MWP1"),
    "half a head": (GOOD[:13], R.BAD_PACKED, "13 bytes"),
    "head alone": (GOOD[:24], R.BAD_PACKED, "24 bytes; its head promises"),
    "cut off": (GOOD[:-1], R.BAD_PACKED, "its head promises"),
    "too long": (GOOD + b"\0", R.BAD_PACKED, "its head promises"),
    "another version": (b"MWP2" + GOOD[4:], R.BAD_PACKED, "MWP1"),
    "reserved bytes": (_with(12, "<I", 1), R.BAD_PACKED, "reserved"),
    "float2": (_with(4, "<B", 2), R.BAD_PACKED, "values of 2 bytes"),
    "no sensor": (_with(6, "<H", 0), R.BAD_PACKED, "2 readings of 0 values"),
    "no reading": (_with(8, "<I", 0), R.BAD_PACKED, "0 readings"),
    "4 billion readings": (_with(8, "<I", 2**32 - 1), R.BAD_PACKED, "its head promises"),
    "no name": (_with(5, "<B", 0), R.BAD_PACKED, "its head promises"),
    "a name of NUL": (_with(24, "<H", 0), R.BAD_NAME, "cannot be a name"),
    "a name of others": (_with(24, "<H", 0x3270), R.KEY_MISMATCH, "'p1', machine_id is 'p2'"),
    "other sensors": (_with(16, "<Q", 7), R.UNKNOWN_SENSOR, "0000000000000007 of 3 sensors"),
    "infinite": (_with(34 + 8, "<d", np.inf), R.BAD_NUMBER, "value 1 of reading 0"),
    "1999": (_with(26, "<q", EARLIEST_US - 1), R.TIME_OUT_OF_RANGE, "before 2000"),
    "two days ahead": (_with(26, "<q", NOW_US + 2 * 86_400 * 10**6), R.TIME_OUT_OF_RANGE, "ahead"),
    "the end of time": (_with(26, "<q", 2**63 - 1), R.TIME_OUT_OF_RANGE, "ahead"),
    "the beginning": (_with(26, "<q", -(2**63)), R.TIME_OUT_OF_RANGE, "before 2000"),
    "nothing but NaN": (
        GOOD[:34] + np.full(3, np.nan).tobytes() + GOOD[58:],
        R.EMPTY_VALUES,
        "reading 0",
    ),
    "more sensors than known": (
        encode_packed("p1", np.array([NOW_US]), np.ones((1, 4)), [*PUMP.sensor_names, "x"])[0],
        R.UNKNOWN_SENSOR,
        "of 4 sensors",
    ),
    "2 MB": (GOOD + bytes(2_000_000), R.TOO_LARGE, "bytes; at most"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_is_rejected_alone(name: str) -> None:
    """Its neighbours are stored, and its owner reads what is wrong."""
    value, reason, detail = BROKEN[name]

    decoded = _decode(GOOD, value, GOOD)

    (rejected,) = decoded.rejections
    assert (rejected.index, rejected.reason) == (1, reason)
    assert detail in rejected.detail
    assert decoded.rows[0].tolist() == [0, 0, 2, 2]


@examples(30)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)), st.binary())
def test_no_damage_raises(at: int, byte: int, end: int, rest: bytes) -> None:
    """Each message ends in exactly one place, and its neighbours are not touched."""
    flipped = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    values = [flipped, GOOD, GOOD[:end] + rest, rest]

    for key in (b"p1", None):
        decoded = _decode(*values, key=key)
        places = [set(rows.tolist()) for rows in decoded.rows]
        places += [{one.index} for one in decoded.rejections]
        places += [set(one.rows.tolist()) for one in decoded.strangers]
        assert sorted(row for place in places for row in place) == [0, 1, 2, 3]
        assert any(1 in set(rows.tolist()) for rows in decoded.rows)


def test_json_and_packed_in_one_batch_keep_their_order() -> None:
    """A topic may be moved from one encoding to the other while it is read."""
    packed = [_sent([[1, 2, 3], [4, 5, 6]], value_bytes=each) for each in (4, 8)]
    values = [message(), packed[0], message(), packed[1], b"?", b"?"]
    headers: list[Headers | None] = [
        None,
        PACKED_HEADERS,
        [("Content-Type", b"application/json")],
        [("Content-Type", b"Application/vnd.millwright.packed+v1; x=y"), ("trace", b"1")],
        PACKED_HEADERS,
        [*PACKED_HEADERS, ("content-type", b"application/json")],
    ]

    decoded = decode(raw(values, [b"p1"] * 6, headers), ROSTER, now_us=NOW_US)

    assert decoded.rows[0].tolist() == [0, 1, 1, 2, 3, 3]
    assert decoded.readings[0].values[:, 0].tolist() == [1, 1, 4, 1, 1, 4]
    assert [one.reason for one in decoded.rejections] == [R.BAD_PACKED, R.UNSUPPORTED_ENCODING]


def test_a_stranger_names_the_sensors_of_the_class_it_means() -> None:
    """So that it is admitted as any other; an unknown fingerprint names none."""
    at = np.array([NOW_US])
    known = encode_packed("new", at, np.ones((1, 3)), PUMP.sensor_names)[0]
    unknown = encode_packed("odd", at, np.ones((1, 2)), ["a", "b"])[0]

    decoded = _decode(known, unknown, key=None)

    assert [(one.name, one.sensors) for one in decoded.strangers] == [
        ("new", frozenset(PUMP.sensor_names)),
        ("odd", frozenset()),
    ]


@pytest.mark.parametrize(
    "values", [[[np.inf, 1, 1]], [[np.nan] * 3], [[1e39, 1, 1]]], ids=["inf", "nan", "float4"]
)
def test_what_would_be_refused_is_not_sent(values: list[list[float]]) -> None:
    """The encoder says so at once."""
    with pytest.raises(ValueError, match="too large"):
        _sent(values, value_bytes=4)
