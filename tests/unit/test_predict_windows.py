"""The quick way from a request to numbers says what the careful way says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.machines import MachineClass, Sensor
from domain.wire import format_instant, parse_instant, parse_instants
from domain.wire.times import format_instants
from ray_app.serve.problems import RefusedError
from ray_app.serve.schema import PredictRequest, Reading
from ray_app.serve.windows import asked, columns

PUMP = MachineClass(name="pump", sensors=tuple(Sensor(name=name) for name in "abc"))
AT_US = 1_767_000_000_000_000

numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
windows = st.lists(
    st.tuples(st.integers(1, 10**12), st.dictionaries(st.sampled_from("abc"), numbers, min_size=1)),
    min_size=1,
    max_size=20,
)


def _window(readings: list[Reading]) -> PredictRequest:
    return PredictRequest(machine_class="pump", readings=readings)


@given(windows)
def test_every_value_is_where_its_sensor_is(
    given_window: list[tuple[int, dict[str, float | None]]],
) -> None:
    """Absent and null are NaN; a reading without any value is refused at its place."""
    instants = AT_US + np.cumsum([step for step, _ in given_window])
    readings = [
        Reading(timestamp=format_instant(int(at)), values=values)
        for at, (_, values) in zip(instants, given_window, strict=True)
    ]
    (window,) = asked(_window(readings))
    empty = [n for n, one in enumerate(readings) if all(v is None for v in one.values.values())]
    if empty:
        with pytest.raises(RefusedError) as caught:
            columns(window, PUMP)
        assert [each.pointer for each in caught.value.errors] == [
            f"/readings/{n}/values" for n in empty
        ]
        return
    found, values = columns(window, PUMP)

    assert found.tolist() == instants.tolist()
    for row, one in zip(values, readings, strict=True):
        wanted = [one.values.get(name) for name in "abc"]
        np.testing.assert_array_equal(row, [np.nan if v is None else v for v in wanted])


@pytest.mark.parametrize(
    ("readings", "pointer"),
    [
        ([("2026-01-02T03:04:05Z", {"a": 1.0, "z": 2.0})], "/readings/0/values/z"),
        ([("yesterday", {"a": 1.0})], "/readings/0/timestamp"),
        ([("2026-01-02T03:04:05Z", {"a": 1.0})] * 2, "/readings/1/timestamp"),
        ([("1999-12-31T00:00:00Z", {"a": 1.0})], "/readings/0/timestamp"),
        ([("2026-01-02T03:04:05Z", {})], "/readings/0/values"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    readings: list[tuple[str, dict[str, float | None]]], pointer: str
) -> None:
    """The quick way gives up without a word; the careful one finds the place."""
    (window,) = asked(_window([Reading(timestamp=at, values=values) for at, values in readings]))
    with pytest.raises(RefusedError) as caught:
        columns(window, PUMP)

    assert caught.value.errors[0].pointer == pointer


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_one_instant_is_written_as_many_are(instant_us: int) -> None:
    """Of the years 0001 to 9999, to the microsecond."""
    many = format_instants(np.array([instant_us], dtype=np.int64))

    assert format_instant(instant_us) == many[0].decode()


_TEXTS = st.one_of(
    st.integers(0, 4 * 10**15).map(format_instant),
    st.sampled_from(
        [
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05.1z",
            "2026-01-02 03:04:05.123456789+02:00",
            "2026-02-30T00:00:00Z",
            "2026-01-02T03:04:05",
            '2026-01-02T03:04:05Z"\n"2026-01-02T03:04:05Z',
            "2026-01-02T03:04:05Z\n",
            "",
            "\ud800",
            "٢026-01-02T03:04:05Z",
        ]
    ),
)


@given(st.lists(_TEXTS, max_size=20))
def test_many_instants_are_read_as_one_is(texts: list[str]) -> None:
    """However they are written; what one refuses, many refuse."""
    try:
        wanted = [parse_instant(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            parse_instants(texts)
    else:
        assert parse_instants(texts).tolist() == wanted
