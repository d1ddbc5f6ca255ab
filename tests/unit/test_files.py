"""A user's own files: what is read, and what is told of what cannot be."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from domain.errors import BadInputError
from ingestion.files import FileSpec, read
from ingestion.publish import Piece

NOON_US = 1_750_000_000_000_000  # 2025-06-15T15:06:40Z


def write(folder: Path, text: str, name: str = "pump-7.csv") -> Path:
    """Write a text file; return where it is."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def only(spec: FileSpec) -> Piece:
    """Return the single piece of a small file."""
    (piece,) = read(spec)
    return piece


def test_a_csv_becomes_columns_of_one_machine(tmp_path: Path) -> None:
    """Time is found, the file names the machine, other columns are sensors, blanks are missing."""
    path = write(
        tmp_path, "time,temp °C,flow\n2025-06-15T15:06:40Z,1.5,\n2025-06-15 17:06:41+02:00,nan,3\n"
    )

    piece = only(FileSpec(path=path))

    assert (piece.machines, piece.sensors) == (("pump-7",), ("temp_C", "flow"))
    assert piece.instants_us.tolist() == [NOON_US, NOON_US + 1_000_000]
    assert np.array_equal(piece.values, [[1.5, np.nan], [np.nan, 3]], equal_nan=True)


def test_a_testbed_file_is_read_without_its_labels(tmp_path: Path) -> None:
    """Semicolons, a `datetime` column without a zone, and columns that are no sensors."""
    path = write(
        tmp_path,
        "datetime;Current;Volume Flow RateRMS;anomaly;changepoint\n"
        "2020-03-01 15:44:06;1.27794;76.0197;0.0;0.0\n",
    )

    piece = only(
        FileSpec(path=path, machine="valve", exclude=frozenset({"anomaly", "changepoint"}))
    )

    assert piece.sensors == ("Current", "Volume_Flow_RateRMS")
    assert piece.instants_us.tolist() == [1_583_077_446_000_000]


def test_columns_can_be_named_and_left_out(tmp_path: Path) -> None:
    """A mapping chooses and renames; a column may hold the machine's name."""
    path = write(tmp_path, "at\tunit\ta\tb\n1750000000\tp1\t1\tx\n1750000001\tp2\t2\ty\n", "f.tsv")

    piece = only(
        FileSpec(path=path, time_column="at", machine_column="unit", columns={"a": "amps"})
    )

    assert piece.machines == ("p1", "p2")
    assert piece.rows.tolist() == [0, 1]
    assert piece.sensors == ("amps",)
    assert piece.instants_us.tolist() == [NOON_US, NOON_US + 1_000_000]


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
def test_numbers_since_1970_are_told_apart_by_their_size(tmp_path: Path, factor: int) -> None:
    """Seconds, milliseconds, microseconds and nanoseconds name the same instant."""
    path = write(tmp_path, f"ts,x\n{1_750_000_000 * factor},1\n")

    assert only(FileSpec(path=path)).instants_us.tolist() == [NOON_US]


def test_parquet_is_read_like_text(tmp_path: Path) -> None:
    """Typed columns: instants with and without a zone, integers, missing values."""
    path = tmp_path / "pump-7.parquet"
    times = pd.to_datetime([NOON_US, NOON_US + 1], unit="us")
    pd.DataFrame({"timestamp": times, "a": [1, 2], "b": [0.5, None]}).to_parquet(path)

    piece = only(FileSpec(path=path))

    assert piece.instants_us.tolist() == [NOON_US, NOON_US + 1]
    assert np.array_equal(piece.values, [[1, 0.5], [2, np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("\x00\x01\n", "it is not text"),
        ("a,b\n1,2\n", "there is no time column"),
        ("time\n2025-06-15\n", "there is no sensor column"),
        ("time,a,a\n2025-06-15,1,2\n", "two columns have the same name"),
        ("time,a b,a_b\n2025-06-15,1,2\n", "two columns become the same sensor"),
        ("time,x\n", "it holds no readings"),
        ("time,x\n2025-06-15,1\nyesterday,2\n", "line 3, column time: 'yesterday' is no time"),
        ("time,x\n2025-06-15,1\n1999-06-15,2\n", "line 3, column time: is before the year 2000"),
        ("time,x\n2025-06-15,1\n2025-06-16,open\n", "line 3, column x: 'open' is no number"),
        ("time,x\n2025-06-15,inf\n", "line 2, column x: is infinite"),
        ("time,x\n2025-06-15,1,2\n", "it cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_where_and_why(
    tmp_path: Path, text: str, said: str
) -> None:
    """One clear answer that names file, line and column."""
    path = write(tmp_path, text)

    with pytest.raises(BadInputError) as told:
        list(read(FileSpec(path=path)))

    assert said in str(told.value)
    assert str(path) in str(told.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"time_column": "when"}, "there is no column 'when'"),
        ({"exclude": frozenset({"label"})}, "there is no column 'label'"),
        ({"machine": "no/name"}, "cannot name a machine"),
        ({"machine_column": "x"}, "cannot name a machine"),
        ({"time_format": "%d.%m.%Y"}, "is no time"),
    ],
)
def test_a_flag_that_does_not_fit_the_file_is_told(
    tmp_path: Path, given: dict[str, object], said: str
) -> None:
    """A column that is not there, a name that cannot be one, another format of time."""
    path = write(tmp_path, "time,x,y\n2025-06-15,-1,2\n")
    spec = FileSpec(path=path, **given)  # type: ignore[arg-type] # one flag each

    with pytest.raises(BadInputError) as told:
        list(read(spec))

    assert said in str(told.value)


def test_a_missing_or_damaged_file_is_told(tmp_path: Path) -> None:
    """No such file; a Parquet file that is none."""
    with pytest.raises(BadInputError, match="there is no such file"):
        list(read(FileSpec(path=tmp_path / "none.csv")))
    with pytest.raises(BadInputError, match="it cannot be read"):
        list(read(FileSpec(path=write(tmp_path, "time,x\n", "none.parquet"))))
