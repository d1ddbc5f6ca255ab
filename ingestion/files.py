"""A user's own history: CSV, TSV, semicolon or Parquet, one row per instant, block by block."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from domain.errors import BadInputError
from domain.machines import checked_name
from domain.wire import EARLIEST_US
from ingestion import cells
from ingestion.publish import Piece

TIME_NAMES = ("time", "timestamp", "datetime", "date", "ts", "instant")
"""Columns taken for the time when none is named, in this order, in any case."""

_DELIMITERS = ",;\t|"
_BLOCK_BYTES = 8 << 20
_BLOCK_ROWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """What is in a file.

    Attributes:
        path: Where it is. `.parquet` and `.pq` are Parquet, everything else is text.
        machine: Name of the machine all rows belong to; the file's stem by default.
        machine_column: Column with the machine's name, instead of one name for all.
        time_column: Column with the time; the first of `TIME_NAMES` that is there by default.
        time_format: As of `strptime`; by default ISO 8601 or a number since 1970 in seconds,
            milli-, micro- or nanoseconds, told apart by its size. Without an offset it is UTC.
        columns: Column → sensor; other columns are left out. Empty: every column is a sensor of
            its own name, with other characters than `A-Za-z0-9._:-` replaced by `_`.
        exclude: Columns that are no sensors, such as labels.
        delimiter: Of a text file; found out by default.
    """

    path: Path
    machine: str | None = None
    machine_column: str | None = None
    time_column: str | None = None
    time_format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    exclude: frozenset[str] = frozenset()
    delimiter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the header of a file means.

    Attributes:
        time: Column of the time.
        machine: Column of the machine's name, or None.
        sensors: Column → sensor, in the order of the file.
    """

    time: str
    machine: str | None
    sensors: Mapping[str, str]


def read(spec: FileSpec) -> Iterator[Piece]:
    """Read a file block by block.

    Raises:
        BadInputError: The file is not there, has no time column, no sensor, or a cell that is no
            time or number; file, line and column are named. Blocks before it were given out.
    """
    blocks = _blocks(spec)
    layout: Layout | None = None
    line = 1 if is_parquet(spec.path) else 2
    for block in blocks:
        layout = layout or layout_of(spec, block.column_names)
        if block.num_rows:
            yield _piece(spec, layout, block, line)
        line += block.num_rows
    if layout is None or line <= 2 - is_parquet(spec.path):
        raise BadInputError("it holds no readings", str(spec.path))


def layout_of(spec: FileSpec, header: list[str]) -> Layout:
    """Return what the columns mean.

    Raises:
        BadInputError: A named column is missing, or no column is a time or a sensor.
    """
    where = str(spec.path)
    named = [spec.time_column, spec.machine_column, *spec.columns, *sorted(spec.exclude)]
    for name in named:
        if name is not None and name not in header:
            raise BadInputError(f"there is no column {name!r}", where, f"It has {_shown(header)}")
    time = spec.time_column or _time_column(header, where)
    taken = {time, spec.machine_column} | spec.exclude
    wanted = spec.columns or {name: cells.sensor_name(name) for name in header if name not in taken}
    if not wanted:
        raise BadInputError("there is no sensor column", where, f"It has {_shown(header)}")
    for sensor in wanted.values():
        checked_name("sensor", sensor)
    if len(set(wanted.values())) < len(wanted):
        raise BadInputError("two columns become the same sensor", where, "Name them with --column")
    return Layout(time=time, machine=spec.machine_column, sensors=wanted)


def is_parquet(path: Path) -> bool:
    """Say whether a file is read as Parquet."""
    return path.suffix.lower() in {".parquet", ".pq"}


def _time_column(header: list[str], where: str) -> str:
    lower = {name.strip().lower(): name for name in reversed(header)}
    for name in TIME_NAMES:
        if name in lower:
            return lower[name]
    raise BadInputError(
        "there is no time column",
        where,
        f"It has {_shown(header)}; name the one with the time by --time-column COLUMN",
    )


def _shown(header: list[str]) -> str:
    more = len(header) - 12
    return "the columns " + ", ".join(header[:12]) + (f" and {more} more" if more > 0 else "")


def _piece(spec: FileSpec, layout: Layout, block: Any, line: int) -> Piece:
    cell = cells.Place(path=spec.path, line=line)
    instants = cells.instants(block[layout.time], cell.column(layout.time), spec.time_format)
    early = np.flatnonzero(instants < EARLIEST_US)
    if len(early):
        raise cell.column(layout.time).bad(int(early[0]), "is before the year 2000")
    values = np.empty((block.num_rows, len(layout.sensors)))
    for position, column in enumerate(layout.sensors):
        values[:, position] = cells.numbers(block[column], cell.column(column))
    if layout.machine is None:
        alone = spec.machine or cells.sensor_name(spec.path.stem)
        names: tuple[str, ...] = (checked_name("machine", alone),)
        rows = np.zeros(block.num_rows, np.intp)
    else:
        names, rows = cells.machines(block[layout.machine], cell.column(layout.machine))
    return Piece(
        sensors=tuple(layout.sensors.values()),
        machines=names,
        rows=rows,
        instants_us=instants,
        values=values,
    )


def _blocks(spec: FileSpec) -> Iterator[Any]:
    """Return tables of pyarrow; those of a text file hold text in every column."""
    import pyarrow as pa

    if not spec.path.is_file():
        raise BadInputError("there is no such file", str(spec.path))
    try:
        yield from _parquet(spec.path) if is_parquet(spec.path) else _text(spec)
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        said = " ".join(str(error).split())
        raise BadInputError(f"it cannot be read: {said}", str(spec.path)) from error


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as opened:
        for batch in opened.iter_batches(batch_size=_BLOCK_ROWS):
            yield pa.Table.from_batches([batch])


def _text(spec: FileSpec) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header, delimiter = _header(spec)
    reader = arrow_csv.open_csv(
        spec.path,
        read_options=arrow_csv.ReadOptions(
            block_size=_BLOCK_BYTES, column_names=header, skip_rows=1
        ),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=False),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )
    with reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _header(spec: FileSpec) -> tuple[list[str], str]:
    with spec.path.open(encoding="utf-8-sig", newline="") as opened:
        first = opened.readline(1 << 20)
    if not first.strip():
        raise BadInputError("it is empty", str(spec.path))
    if "\x00" in first:
        raise BadInputError("it is not text", str(spec.path), "CSV or .parquet is read")
    delimiter = spec.delimiter or max(_DELIMITERS, key=first.count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    if len(set(header)) < len(header):
        raise BadInputError("two columns have the same name", str(spec.path))
    return header, delimiter
