"""Messages of another shape: what a mapping file may say, and what it makes of messages."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import BadInputError, NotFoundError
from domain.mapping import Mapping, gather, load, parse, translate
from domain.mapping.places import parse_path
from domain.wire import RawBatch, RejectReason

NOW_US = 1_750_000_000_000_000
WIDE = """
machine = "$.asset['serial no']"
machine_class = "press"
time = "$.at"
time_format = "epoch_ms"

[[sensors]]
name = "pressure"
from = "$.v[0]"
unit = "bar"
scale = 0.001
[[sensors]]
name = "temperature"
from = "$.v[1].celsius"
offset = 273.15
"""
LONG = """
machine = "key"
machine_class = "press"
time = "header:Sampled"
time_format = "epoch_s"
[pivot]
metric = "$.tag"
value = "$.v"
window_ms = 100
ignore = ["uptime"]
[[sensors]]
name = "pressure"
from = "P/1"
[[sensors]]
name = "temperature"
"""


def raw(
    values: list[bytes | None], keys: list[bytes | None] | None = None, times: Any = None
) -> RawBatch:
    """Return messages at the offsets 0 and following."""
    count = len(values)
    return RawBatch(
        topic="plant",
        partitions=np.zeros(count, np.int32),
        offsets=np.arange(count),
        keys=keys or [None] * count,
        values=values,
        headers=None if times is None else [[("sampled", one)] for one in times],
    )


def long(*messages: tuple[str, str, float, float]) -> RawBatch:
    """Return one message per (machine, tag, value, seconds after `NOW_US`)."""
    return raw(
        [json.dumps({"tag": tag, "v": value}).encode() for _, tag, value, _ in messages],
        [machine.encode() for machine, *_ in messages],
        [f"{NOW_US / 1e6 + at:.6f}".encode() for *_, at in messages],
    )


def wide(body: Any, mapping: Mapping | None = None) -> Any:
    """Translate one message."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return translate(raw([value]), mapping or parse(WIDE, "wide.toml"), now_us=NOW_US)


def test_paths_scales_and_offsets_make_a_reading() -> None:
    """Every value comes from its own path and arrives in the sensor's unit."""
    found = wide({"asset": {"serial no": 17}, "at": 1_749_999_999_123, "v": [2500, {"celsius": 1}]})

    assert found.machines == ["17"]
    assert found.instants_us.tolist() == [1_749_999_999_123_000]
    assert found.values.tolist() == [[2.5, 274.15]]
    assert found.rejections == ()


GOOD: dict[str, Any] = {"asset": {"serial no": "p1"}, "at": 1_749_999_999_123, "v": [2500]}


@pytest.mark.parametrize(
    ("body", "reason", "said"),
    [
        (b"\xff", RejectReason.NOT_UTF8, "byte 0"),
        (b"{", RejectReason.NOT_JSON, "no JSON"),
        (b"[" * 100_000, RejectReason.TOO_DEEP, "nested"),
        (b"[]", RejectReason.EMPTY_VALUES, "$.v[0]"),
        (GOOD | {"asset": {}}, RejectReason.MISSING_FIELD, "$.asset['serial no']"),
        (GOOD | {"asset": {"serial no": "a b"}}, RejectReason.BAD_NAME, "'a b'"),
        (GOOD | {"asset": {"serial no": None}}, RejectReason.WRONG_TYPE, "is null"),
        (GOOD | {"at": "2025-06-15T15:06:40Z"}, RejectReason.WRONG_TYPE, "$.at is text"),
        (GOOD | {"at": True}, RejectReason.WRONG_TYPE, "true or false"),
        (GOOD | {"at": 1e300}, RejectReason.BAD_TIMESTAMP, "epoch_ms"),
        (GOOD | {"at": 10**30}, RejectReason.BAD_TIMESTAMP, "epoch_ms"),
        (GOOD | {"at": 1_749_999_999}, RejectReason.TIME_OUT_OF_RANGE, "before 2000"),
        (GOOD | {"at": 1_850_000_000_000}, RejectReason.TIME_OUT_OF_RANGE, "ahead"),
        (GOOD | {"v": ["2500"]}, RejectReason.WRONG_TYPE, "$.v[0] is text"),
        (GOOD | {"v": [None, {"celsius": None}]}, RejectReason.EMPTY_VALUES, "no value at"),
        (GOOD | {"v": [False]}, RejectReason.WRONG_TYPE, "true or false"),
        (GOOD | {"v": [10**400]}, RejectReason.BAD_NUMBER, "range"),
        (
            b'{"asset":{"serial no":1},"at":1749999999123,"v":[1e400]}',
            RejectReason.BAD_NUMBER,
            "range",
        ),
        (GOOD | {"v": [1, {"celsius": [1]}]}, RejectReason.WRONG_TYPE, "a list"),
    ],
)
def test_a_message_that_is_no_reading_says_which_place_is_wrong(
    body: Any, reason: RejectReason, said: str
) -> None:
    """The reason is of the closed set, the words name the place as the mapping does."""
    (rejection,) = wide(body).rejections

    assert rejection.reason is reason
    assert said in rejection.detail


def test_tombstones_and_giants_are_refused() -> None:
    """What Kafka may deliver beside text."""
    found = translate(raw([None, b" " * 2_000_000]), parse(WIDE, "w"), now_us=NOW_US)

    assert [one.reason for one in found.rejections] == ["tombstone", "too_large"]


@pytest.mark.parametrize(
    ("form", "at", "instant_us"),
    [
        ("rfc3339", '"2025-06-15T17:06:40.25+02:00"', 1_750_000_000_250_000),
        ("epoch_s", "1750000000", 1_750_000_000_000_000),
        ("epoch_s", "1750000000.25", 1_750_000_000_250_000),
        ("epoch_ms", "1750000000250", 1_750_000_000_250_000),
        ("epoch_us", "1750000000250001", 1_750_000_000_250_001),
    ],
)
def test_times_are_read_as_the_mapping_says(form: str, at: str, instant_us: int) -> None:
    """RFC 3339 or a number since 1970, to the microsecond."""
    mapping = parse(WIDE.replace("epoch_ms", form), "wide.toml")
    body = b'{"asset": {"serial no": "p1"}, "v": [1], "at": %s}' % at.encode()

    assert wide(body, mapping).instants_us.tolist() == [instant_us]


def test_numbers_as_text_are_taken_where_the_mapping_allows_it() -> None:
    """And only where they are numbers."""
    mapping = parse("text_numbers = true\n" + WIDE, "wide.toml")

    assert wide(GOOD | {"v": [" 2.5e3"]}, mapping).values[0, 0] == 2.5
    for text in ("", "nan", "inf", "12 bar"):
        (rejection,) = wide(GOOD | {"v": [text]}, mapping).rejections
        assert rejection.reason is RejectReason.BAD_NUMBER


def test_single_values_become_readings_by_machine_and_window() -> None:
    """Times within a window are one instant; the first of two different values stands."""
    mapping = parse(LONG, "long.toml")
    batch = long(
        ("p1", "P/1", 1.0, 0.01),
        ("p2", "P/1", 2.0, 0.0),
        ("p1", "temperature", 20.0, -0.04),
        ("p1", "P/1", 1.0, 0.0),
        ("p1", "P/1", 9.0, 0.0),
        ("p1", "temperature", 21.0, 0.1),
        ("p1", "uptime", 5.0, 0.0),
        ("p1", "speed", 5.0, 0.0),
    )
    read = translate(batch, mapping, now_us=NOW_US)
    found = gather(read, mapping.sensor_names)

    assert found.machines == ["p1", "p1", "p2"]
    assert (found.instants_us - NOW_US).tolist() == [0, 100_000, 0]
    expected = np.array([[1, 20], [np.nan, 21], [2, np.nan]])
    assert np.array_equal(found.values, expected, equal_nan=True)
    assert found.origins.tolist() == [[0, 2], [-1, 5], [1, -1]]
    assert [(one.index, one.reason) for one in found.rejections] == [
        (4, RejectReason.CONFLICTING_VALUE),
        (7, RejectReason.UNKNOWN_SENSOR),
    ]
    assert read.ignored == 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2"]),
            st.sampled_from(["P/1", "temperature"]),
            st.sampled_from([1.0, 2.0]),
            st.sampled_from([0.0, 0.03, 0.1, 0.2]),
        ),
        max_size=30,
    )
)
def test_every_value_is_in_its_reading_or_its_message_is_rejected(
    messages: list[tuple[str, str, float, float]],
) -> None:
    """Nothing is silently lost: each message's value stands in the reading, or it is named."""
    mapping = parse(LONG, "long.toml")
    read = translate(long(*messages), mapping, now_us=NOW_US)
    found = gather(read, mapping.sensor_names)
    places = list(zip(found.machines, found.instants_us.tolist(), strict=True))
    refused = {one.index for one in found.rejections}

    assert len(set(places)) == len(places)
    for index, (machine, tag, value, at) in enumerate(messages):
        instant_us = NOW_US + round(at * 10) * 100_000
        column = 0 if tag == "P/1" else 1
        stands = found.values[places.index((machine, instant_us)), column]
        assert bool(stands == value) is (index not in refused)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["asset", "serial no", "at", "v", "celsius"]), inner
                )
            ),
        ).map(lambda body: json.dumps(body).encode()),
    )
)
def test_no_message_can_raise(value: bytes) -> None:
    """Each becomes one reading or one rejection."""
    found = wide(value)

    assert len(found.rows) + len(found.rejections) == 1


def test_a_wrong_file_is_told_whole_in_one_line() -> None:
    """Every broken rule at once: the key, what it is, what is allowed."""
    text = """
machine = "serial"
time = "$.a..b"
time_format = "unix"
machine_class = "a b"
period_s = 0
colour = "red"
text_numbers = 1
[pivot]
metric = "$.m"
wait_ms = -1
[[sensors]]
name = "pressure"
scale = 0
[[sensors]]
name = "pressure"
low = 2
high = 1
bias = 3
"""
    with pytest.raises(BadInputError) as caught:
        parse(text, "bad.toml")

    told = str(caught.value)
    assert told.startswith("bad.toml: ")
    assert "\n" not in told
    for part in (
        "colour is not known here; allowed are topic, machine",
        "machine is wrong: 'serial' is not a path such as",
        "time is wrong: '$.a..b' is not a path",
        "time_format is wrong: 'unix' is not one of rfc3339, epoch_s, epoch_ms, epoch_us",
        "machine_class is 'a b'",
        "period_s is 0: it must be from 1e-06 to 1e+06",
        "text_numbers is 1: it must be true or false",
        "pivot.value is missing: it must be text",
        "pivot.wait_ms is -1: it must be from 1 to 600000",
        "sensors[0].scale is 0",
        "sensors have the same name: pressure",
        "sensors[1].low is 2: it must be below high, 1",
        "sensors[1].bias is not known here; allowed are name, from",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine = ", "it is not TOML"),
        (WIDE.split("[[", maxsplit=1)[0], "sensors is missing"),
        (WIDE.split("[[", maxsplit=1)[0] + "sensors = []", "sensors is empty"),
        (WIDE.split("[[", maxsplit=1)[0] + "sensors = [1]", "sensors[0] must be a table"),
        ('pivot = "$.x"\n' + WIDE, "pivot must be a table with metric"),
        (LONG.replace('["uptime"]', "[1]"), "pivot.ignore must be a list"),
        (WIDE.replace('"$.v[0]"', '"v"'), "sensors[0].from is wrong: 'v' is not a path"),
        (WIDE.replace('from = "$.v[0]"', ""), "sensors[0].from is missing"),
    ],
)
def test_a_file_that_is_no_mapping_says_why(text: str, said: str) -> None:
    """Whatever its shape."""
    with pytest.raises(BadInputError, match=r"bad\.toml") as caught:
        parse(text, "bad.toml")

    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Any) -> None:
    """By its name."""
    with pytest.raises(NotFoundError, match=r"none\.toml"):
        load(tmp_path / "none.toml")
    odd = tmp_path / "odd.toml"
    odd.write_bytes(b"\xff")
    with pytest.raises(BadInputError, match="not UTF-8"):
        load(odd)
    odd.write_text(WIDE)
    assert load(odd) == parse(WIDE, "")


@pytest.mark.parametrize("text", ["", "a", "$a", "$.", "$.a[", "$.a[-1]", "$..a", "$.a b", "$['']"])
def test_what_names_no_place_is_refused(text: str) -> None:
    """Only paths to one place are taken."""
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(text)
