"""Postgres's binary COPY format, there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import PlatformError
from domain.machines import MachineClass, Sensor
from domain.readings import ReadingBatch
from storage import copy_format


def batch(width: int, rows: int, seed: int) -> ReadingBatch:
    """Return random readings, some of them missing."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, width))
    values[generator.random((rows, width)) < 0.1] = np.nan
    return ReadingBatch(
        machine_class=MachineClass(
            name="any", sensors=tuple(Sensor(name=f"s{n}") for n in range(width))
        ),
        machine_keys=generator.integers(0, 2**31, rows, dtype=np.int32),
        instants_us=generator.integers(0, 2**53, rows),
        values=values,
    )


@given(
    runs=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 300)), max_size=8),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read_bit_equal(runs: list[tuple[int, int]], seed: int) -> None:
    """Rows of any widths, mixed in any way, come back as they were; missing columns are NaN."""
    batches = [batch(width, rows, seed + n) for n, (width, rows) in enumerate(runs)]

    keys, instants, values = copy_format.decode(copy_format.encode(batches), 6)

    at = 0
    for one in batches:
        rows = slice(at, at + len(one))
        width = one.values.shape[1]
        assert np.array_equal(keys[rows], one.machine_keys)
        assert np.array_equal(instants[rows], one.instants_us)
        assert np.array_equal(values[rows, :width], one.values, equal_nan=True)
        assert np.isnan(values[rows, width:]).all()
        at += len(one)
    assert len(keys) == at


def test_output_that_is_cut_off_is_refused() -> None:
    """A connection that dies in the middle of a COPY never passes for a short history."""
    data = copy_format.encode([batch(3, 5, 0)])

    with pytest.raises(PlatformError, match="cut off"):
        copy_format.decode(data[:-2], 3)


def test_rows_of_another_form_are_refused() -> None:
    """An array with a NULL in it, which only a stranger's INSERT can write, is not misread."""
    data = bytearray(copy_format.encode([batch(3, 5, 0)]))
    data[len(copy_format.HEADER) + 33] = 1  # the flag that says that there are NULLs

    with pytest.raises(PlatformError, match="plain array"):
        copy_format.decode(bytes(data), 3)
