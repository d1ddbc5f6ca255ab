"""Readings to bytes and back."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.wire import EARLIEST_US, decode, encode, format_instant, parse_instant
from domain.wire.bulk import scan
from domain.wire.compose import compose
from domain.wire.encode import _by_template
from tests.unit.wire_samples import NOW, NOW_US, PUMP, ROSTER, examples, raw

_ROWS = st.lists(
    st.tuples(
        st.integers(EARLIEST_US, NOW_US),
        st.tuples(*[st.floats(allow_infinity=False) | st.just(np.nan)] * 3),
    ),
    min_size=1,
    max_size=4,
)


@examples(10)
@given(_ROWS)
@example([(NOW_US, (-0.0, 5e-324, 1.7976931348623157e308))])
def test_a_reading_comes_back_bit_equal(rows: list[tuple[int, tuple[float, ...]]]) -> None:
    """Except where nothing is left to send: a reading without any number is rejected."""
    instants = np.array([instant for instant, _ in rows])
    values = np.array([each for _, each in rows])
    values[np.isnan(values)] = np.nan  # one kind of NaN
    sent = encode("p1", instants, values, PUMP.sensor_names, range(len(rows)))

    decoded = decode(raw(sent, [b"p1"] * len(sent)), ROSTER, now_us=NOW_US)

    there = ~np.isnan(values).all(axis=1)
    assert [each.index for each in decoded.rejections] == np.flatnonzero(~there).tolist()
    if there.any():
        (readings,) = decoded.readings
        assert readings.values.tobytes() == values[there].tobytes()
        assert readings.instants_us.tolist() == instants[there].tolist()


def test_what_we_send_is_usual() -> None:
    """The scanner leaves none of our own messages to the arbiter, however long their numbers."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2000, 3)) * 10.0 ** rng.integers(-12, 12, (2000, 3))
    instants = NOW_US - rng.integers(0, 10**14, 2000)
    sent = encode("p1", instants, values, PUMP.sensor_names, range(2000))

    found, left = scan(raw(sent, [b"p1"] * 2000), ROSTER, max_bytes=1000)

    assert not left
    assert found["pump"].values.tobytes() == values.tobytes()
    assert found["pump"].instants_us.tolist() == instants.tolist()


def test_a_message_looks_as_documented() -> None:
    """A missing sensor is left out; a sequence number is sent when there is one."""
    values = np.array([[1.5, np.nan, -2e-7], [1, 2, 3]])
    first, second = encode("p1", np.array([NOW_US] * 2), values, PUMP.sensor_names, [7, 8])

    assert json.loads(first) == {
        "machine_id": "p1",
        "timestamp": NOW,
        "seq": 7,
        "values": {"flow": 1.5, "rpm": -2e-7},
    }
    assert json.loads(second)["values"] == {"flow": 1, "heat": 2, "rpm": 3}
    (bare,) = encode("p1", np.array([NOW_US]), values[1:], PUMP.sensor_names)
    assert "seq" not in json.loads(bare)


_DECIMALS = st.builds(
    lambda number, places: number / 10**places,
    st.integers(-(10**16), 10**16),
    st.integers(0, 12),
)
_EITHER = st.floats(allow_infinity=False) | _DECIMALS | st.just(0.0) | st.just(-0.0)


@examples(20)
@given(st.lists(st.tuples(_EITHER, _EITHER, st.just(1.0) | _EITHER), min_size=1, max_size=5))
@example([(0.001, 999_999_999.999999, 1e9), (9.999e-4, 123456.7890123, -0.1)])
@example([(5e-324, 0.1 + 0.2, 1e15), (100.0, 1e-3, 0.5)])
def test_compiled_and_general_encoder_write_the_same_bytes(
    rows: list[tuple[float, float, float]],
) -> None:
    """Short decimals are written by compiled code, all others by msgspec: nobody can tell which."""
    values = np.array(rows)
    instants = NOW_US - np.arange(len(rows))
    columns = (instants, values, PUMP.sensor_names)

    for seqs in (None, range(5, 5 + len(rows))):
        assert encode("p1", *columns, seqs) == _by_template("p1", *columns, seqs)


def test_what_a_sensor_measures_is_written_by_compiled_code() -> None:
    """Numbers of up to ten decimals and fifteen digits, with a sensor missing now and then."""
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(50, 20, (3000, 3)), 4) * rng.choice([1, 100, 0.01], (3000, 1))
    values = np.round(values, 6)
    values[np.abs(values) < 1e-3] = np.nan

    messages = compose("p1", NOW_US - np.arange(3000), values, PUMP.sensor_names, None)

    assert all(messages)


def test_nothing_gives_no_message() -> None:
    """An empty chunk is no error."""
    assert encode("p1", np.empty(0, np.int64), np.empty((0, 3)), PUMP.sensor_names) == []


@pytest.mark.parametrize(
    ("values", "names", "seqs"),
    [
        (np.array([[np.inf]]), ("flow",), None),
        (np.array([[1.0, 2.0]]), ("flow",), None),
        (np.array([[1.0]]), ("flow",), [1, 2]),
        (np.empty((1, 0)), (), None),
    ],
)
def test_what_cannot_be_sent_is_refused(
    values: np.ndarray[tuple[int, int]], names: tuple[str, ...], seqs: list[int] | None
) -> None:
    """Before a byte is written."""
    with pytest.raises(ValueError, match=r"columns disagree|infinite"):
        encode("p1", np.array([NOW_US]), values, names, seqs)


@examples(2)
@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_an_instant_comes_back(instant_us: int) -> None:
    """From year 1 to year 9999."""
    assert parse_instant(format_instant(instant_us)) == instant_us
