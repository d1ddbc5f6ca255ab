"""Batches of messages sorted into readings, rejections and strangers."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.wire import Decoded, RejectReason, decode
from domain.wire.raw import Headers
from tests.unit.wire_samples import FAN, NOW, NOW_US, PUMP, ROSTER, examples, message, raw

R = RejectReason


def _decode(*values: bytes | None, key: bytes | None = b"p1") -> Decoded:
    return decode(raw(values, [key] * len(values)), ROSTER, now_us=NOW_US)


def _number(text: str) -> bytes:
    return message(f'{{"flow":{text}}}')


def _stamped(text: str) -> bytes:
    return message().replace(NOW.encode(), text.encode())


POISON: dict[str, tuple[bytes | None, RejectReason, str]] = {
    "tombstone": (None, R.TOMBSTONE, "no value"),
    "empty": (b"", R.NOT_JSON, "not JSON"),
    "bad UTF-8": (b'{"machine_id":"\xff"}', R.NOT_UTF8, "byte 15 is 0xff"),
    "bad UTF-8 in an ignored field": (
        message().replace(b'{"m', b'{"x":"\xff","m', 1),
        R.NOT_UTF8,
        "byte 6",
    ),
    "text": (b"hello", R.NOT_JSON, "not JSON"),
    "cut off": (message()[:-1], R.NOT_JSON, "not JSON"),
    "two in one": (message() + message(), R.NOT_JSON, "Extra data"),
    "list": (b"[1,2]", R.NOT_AN_OBJECT, "a list instead of an object"),
    "number": (b"1", R.NOT_AN_OBJECT, "a number instead of an object"),
    "null": (b"null", R.NOT_AN_OBJECT, "null instead"),
    "no machine": (b'{"timestamp":"","values":{}}', R.MISSING_FIELD, "machine_id is missing"),
    "no time": (b'{"machine_id":"p1","values":{}}', R.MISSING_FIELD, "timestamp is missing"),
    "no values": (b'{"machine_id":"p1","timestamp":""}', R.MISSING_FIELD, "values is missing"),
    "machine a number": (
        message().replace(b'"p1"', b"1"),
        R.WRONG_TYPE,
        "machine_id is a number instead of text",
    ),
    "time a number": (
        message().replace(f'"{NOW}"'.encode(), b"17"),
        R.WRONG_TYPE,
        "timestamp is a number instead of text",
    ),
    "values a list": (message("[1]"), R.WRONG_TYPE, "values is a list instead of an object"),
    "NaN": (_number("NaN"), R.BAD_NUMBER, "'flow' is not a finite number"),
    "Infinity": (_number("-Infinity"), R.BAD_NUMBER, "'flow' is not a finite number"),
    "1e400": (_number("1e400"), R.BAD_NUMBER, "'flow' is not a finite number"),
    "5000 digits": (_number("1" * 5000), R.BAD_NUMBER, "'flow' is not a finite number"),
    "true": (_number("true"), R.WRONG_TYPE, "'flow' is true or false instead of a number"),
    "number as text": (_number('"1.5"'), R.WRONG_TYPE, "'flow' is text instead of a number"),
    "nested": (_number('{"a":1}'), R.WRONG_TYPE, "'flow' is an object instead of a number"),
    "leading zero": (_number("01"), R.NOT_JSON, "not JSON"),
    "NaN in an ignored field": (
        message().replace(b'{"m', b'{"x":NaN,"m', 1),
        R.NOT_JSON,
        "not JSON",
    ),
    "deep nesting": (
        message().replace(b'{"m', b'{"x":' + b"[" * 90_000 + b"]" * 90_000 + b',"m', 1),
        R.TOO_DEEP,
        "too deeply",
    ),
    "NUL": (message(machine="\\u0000"), R.BAD_NAME, "cannot be a name"),
    "lone surrogate": (message(machine="\\ud800"), R.BAD_NAME, "'\\ud800' is not plain text"),
    "umlaut": (message(machine="Mühle"), R.BAD_NAME, "'M\\xfchle' cannot be a name"),
    "long name": (message(machine="a" * 129), R.BAD_NAME, "aaa..."),
    "key differs": (message(machine="p2"), R.KEY_MISMATCH, "the key is 'p1', machine_id is 'p2'"),
    "10 MB": (b"x" * 10_000_000, R.TOO_LARGE, "10000000 bytes; at most 1048576 are read"),
    "no sensor": (message("{}"), R.EMPTY_VALUES, "no number"),
    "only nulls": (message('{"flow":null}'), R.EMPTY_VALUES, "no number"),
    "unknown sensor": (
        message('{"flow":1,"flaw":2}'),
        R.UNKNOWN_SENSOR,
        "class pump has no sensor 'flaw'; it has flow, heat, rpm",
    ),
    "no offset": (_stamped("2026-01-02T03:04:05"), R.BAD_TIMESTAMP, "RFC 3339 with an offset"),
    "a word": (_stamped("yesterday"), R.BAD_TIMESTAMP, "RFC 3339"),
    "31 February": (_stamped("2026-02-31T03:04:05Z"), R.BAD_TIMESTAMP, "day"),
    "leap second": (_stamped("2016-12-31T23:59:60Z"), R.BAD_TIMESTAMP, "second"),
    "year 0": (_stamped("0000-01-01T00:00:00Z"), R.BAD_TIMESTAMP, "year"),
    "31 digits": (
        _stamped("2026-01-02T03:04:05." + "1" * 31 + "Z"),
        R.BAD_TIMESTAMP,
        "more than 30 digits",
    ),
    "clock never set": (
        _stamped("1999-12-31T23:59:59.999999Z"),
        R.TIME_OUT_OF_RANGE,
        "before 2000",
    ),
    "end of time": (_stamped("9999-12-31T23:59:59-23:59"), R.TIME_OUT_OF_RANGE, "ahead of now"),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_becomes_a_rejection_with_its_reason(name: str) -> None:
    """Whatever a message holds, it is told in words and harms no neighbour."""
    value, reason, words = POISON[name]

    decoded = _decode(message(), value, message())

    assert [(each.index, each.reason) for each in decoded.rejections] == [(1, reason)]
    assert words in decoded.rejections[0].detail
    assert len(decoded.rejections[0].detail) < 300
    assert decoded.rows[0].tolist() == [0, 2]


def test_readings_come_as_columns_per_class_in_arrival_order() -> None:
    """Machines of two classes are parted; a row of the arbiter's stands where it arrived."""
    values = [
        message(),
        message('{"speed":5,"speed.2":6}', machine="f1"),
        b" " + message('{"rpm":7,"flow":8,"heat":9}', machine="p2"),
        message('{"flow":4,"heat":5,"rpm":6}'),
    ]
    decoded = decode(raw(values, [b"p1", b"f1", b"p2", b"p1"]), ROSTER, now_us=NOW_US)

    pumps, fans = decoded.readings
    assert (pumps.machine_class, fans.machine_class) == (PUMP, FAN)
    assert pumps.machine_keys.tolist() == [1, 2, 1]
    assert pumps.values.tolist() == [[1, 2, 3], [8, 9, 7], [4, 5, 6]]
    assert [rows.tolist() for rows in decoded.rows] == [[0, 2, 3], [1]]
    assert fans.values.tolist() == [[5, 6]]
    assert set(pumps.instants_us.tolist()) == {NOW_US}
    assert not decoded.rejections
    assert not decoded.strangers


def test_a_batch_without_messages_is_empty() -> None:
    """Nothing in, nothing out."""
    decoded = _decode()

    assert (decoded.readings, decoded.rows, decoded.rejections) == ((), (), ())


@pytest.mark.parametrize("key", [b"p1", None])
def test_a_missing_sensor_reads_as_nan(key: bytes | None) -> None:
    """Absent and null are the same, with and without a Kafka key."""
    decoded = _decode(message('{"rpm":1}'), message('{"heat":null,"flow":2}'), key=key)

    np.testing.assert_array_equal(
        decoded.readings[0].values, [[np.nan, np.nan, 1], [2, np.nan, np.nan]]
    )


def test_unknown_fields_are_ignored_and_known_optional_ones_accepted() -> None:
    """Senders may add what they like beside value v1."""
    extra = b'{"status":"ok","seq":3,"site":{"hall":[1,2,null]},"note":"\xc3\xbc","m'
    decoded = _decode(message().replace(b'{"m', extra, 1))

    assert decoded.readings[0].values.tolist() == [[1, 2, 3]]


def test_of_a_key_given_twice_the_last_one_counts() -> None:
    """For sensors as for fields."""
    twice = message('{"flow":1,"flow":2}').replace(b"}}", b'},"values":{"flow":3,"flow":4}}')

    assert _decode(twice).readings[0].values[0, 0] == 4


@pytest.mark.parametrize(
    "stamp",
    [
        NOW,
        "2026-01-02T03:04:05.123456999Z",
        "2026-01-02 03:04:05.1234569+00:00",
        "2026-01-02t04:34:05.123456+01:30",
        "2026-01-01T22:04:05.123456-05:00",
        "2026-01-02T03:04:05.123456z",
    ],
)
def test_an_offset_is_converted_and_finer_digits_are_cut_off(stamp: str) -> None:
    """All of these are the same microsecond."""
    assert _decode(_stamped(stamp)).readings[0].instants_us.tolist() == [NOW_US]


@pytest.mark.parametrize(("ahead_s", "kept"), [(86_400.0, True), (86_400.000001, False)])
def test_a_reading_may_be_a_day_ahead(ahead_s: float, kept: bool) -> None:  # noqa: FBT001 - a case
    """The bound itself is still allowed; a batch of late ones only leaves no empty readings."""
    decoded = decode(raw([message()], [b"p1"]), ROSTER, now_us=NOW_US - round(ahead_s * 1e6))

    assert bool(decoded.readings) is kept
    assert bool(decoded.rejections) is not kept


@pytest.mark.parametrize(
    ("headers", "rejected"),
    [
        (None, False),
        ([("trace", b"1")], False),
        ([("Content-Type", b"application/json; charset=utf-8")], False),
        ([("content-type", b"application/x-packed")], True),
    ],
)
def test_a_content_type_we_do_not_read_is_rejected(
    headers: Headers | None, *, rejected: bool
) -> None:
    """No header means JSON."""
    decoded = decode(
        raw([message(), message()], [b"p1", None], [headers, headers]), ROSTER, now_us=NOW_US
    )

    reasons = {each.reason for each in decoded.rejections}
    assert reasons == ({R.UNSUPPORTED_ENCODING} if rejected else set())


def test_strangers_are_gathered_by_name_with_all_their_sensors() -> None:
    """So that one class can be matched and their messages decoded again."""
    values = [
        message('{"a":1}', machine="new"),
        message(),
        message('{"b":null,"a":2}', machine="new"),
        message('{"a":1}', machine="other"),
    ]
    batch = raw(values)

    new, other = decode(batch, ROSTER, now_us=NOW_US).strangers

    assert (new.name, sorted(new.sensors), new.rows.tolist()) == ("new", ["a", "b"], [0, 2])
    assert (other.name, other.rows.tolist()) == ("other", [3])
    assert batch.take(new.rows).values == [values[0], values[2]]
    assert batch.place(2) == "readings[0]@2"


def test_no_message_reads_into_its_neighbour() -> None:
    """Halves of a message in two messages stay two halves, whatever stands around them."""
    whole = message()
    decoded = _decode(whole[:40], whole[40:], whole + whole, b"", whole)

    assert decoded.rows[0].tolist() == [4]
    assert [each.index for each in decoded.rejections] == [0, 1, 2, 3]


def test_columns_of_different_lengths_are_refused() -> None:
    """A batch is checked at birth."""
    with pytest.raises(ValueError, match="different lengths"):
        raw([b"", b""], [b""])


_FRAGMENTS = st.sampled_from(
    ["{", "}", '"', ":", ",", "[", "]", "\\u0000", "\\", "1e400", "null", "-", "\xff", "NaN"]
) | st.sampled_from(["9" * 400, "\n", " ", "Z", "0", "true", "flow", '"flow":1,', "\0", "+"])


@examples(40)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 4), _FRAGMENTS), min_size=1, max_size=4),
    st.booleans(),
)
@example([(0, 200, "")], True)
def test_no_mutation_of_a_message_can_raise(
    edits: list[tuple[int, int, str]],
    keyed: bool,  # noqa: FBT001 - drawn
) -> None:
    """Every message ends up in exactly one place, and scanner and arbiter agree on it."""
    broken = message('{"flow": -1.5e-3, "rpm": 12}')
    for at, cut, piece in edits:
        broken = broken[:at] + piece.encode("latin-1") + broken[at + cut :]

    decoded = _decode(message(), broken, key=b"p1" if keyed else None)

    places = [row for rows in decoded.rows for row in rows.tolist()]
    places += [each.index for each in decoded.rejections]
    places += [row for stranger in decoded.strangers for row in stranger.rows.tolist()]
    assert sorted(places) == [0, 1]
    _agree(broken)


def _agree(value: bytes) -> None:
    # Without a Kafka key the scanner keeps out: the arbiter's word.
    scanned, judged = _decode(value), _decode(value, key=None)
    if judged.readings and judged.readings[0].machine_keys[0] == 1:
        np.testing.assert_array_equal(
            scanned.readings[0].values.view(np.int64), judged.readings[0].values.view(np.int64)
        )
        np.testing.assert_array_equal(
            scanned.readings[0].instants_us, judged.readings[0].instants_us
        )
    else:
        assert not scanned.readings


_DIGITS = st.text("0123456789", max_size=25)
_NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(repr),
    st.builds(
        "{}{}{}{}{}{}".format,
        st.sampled_from(["", "-", "+"]),
        _DIGITS,
        st.sampled_from(["", ".", "."]),
        _DIGITS,
        st.sampled_from(["", "e", "E-", "E+", "e"]),
        st.text("0123456789", max_size=3),
    ),
)


@examples(50)
@given(_NUMBERS)
@example("-0")
@example("-0.0")
@example("-0e1")
@example("9007199254740993")
@example("1e23")
@example("2.2250738585072014e-308")
@example("123456789012345678e62")
@example("0." + "0" * 30 + "1")
@example("1e123456789012")
@example("9007199254740993.0e0")
def test_the_scanner_reads_numbers_as_the_arbiter_does(text: str) -> None:
    """To the last bit, and refuses what it refuses."""
    _agree(_number(text))


@examples(10)
@given(st.datetimes().map(lambda moment: moment.isoformat() + "Z"), _DIGITS, st.integers(0, 27))
@example("2024-02-29T00:00:00Z", "", 0)
@example("2023-02-29T00:00:00Z", "", 0)
@example("2000-02-29T00:00:00Z", "", 0)
@example("2100-02-29T00:00:00Z", "", 0)
@example("2026-04-31T24:00:00Z", "", 0)
def test_the_scanner_reads_instants_as_the_arbiter_does(stamp: str, digits: str, at: int) -> None:
    """Whatever digits are put into a timestamp."""
    _agree(_stamped(stamp))
    _agree(_stamped(stamp[:at] + digits + stamp[at:]))
    _agree(_stamped("20" + stamp[2:at] + digits[: max(0, 26 - at)] + stamp[at + len(digits) :]))
