"""Labelled datasets as they are published: text in, runs out; nothing here opens a file."""

import csv
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from domain.errors import BadInputError
from domain.readings import Instants, Matrix
from domain.risk import Life
from domain.scorecard.points import Flags
from domain.scorecard.runs import Fleet, Format, Run

TIME_NAMES: Final = ("datetime", "timestamp", "time", "date", "ts", "instant")
LABEL_NAMES: Final = ("anomaly", "is_anomaly", "label")
CHANGE_NAME: Final = "changepoint"
ROOT_NAME: Final = "root"

type Windows = Mapping[str, Sequence[tuple[str, str]]]
"""NAB's `windows.json`: name of a file → first and last instant of each anomaly."""

_CMAPSS_COLUMNS: Final = 26
_CMAPSS_FIRST_SENSOR: Final = 2
"""Unit and cycle come first."""
_CMAPSS_SETTINGS: Final = (0, 1, 2)
"""Altitude, speed and throttle come next, before what is measured."""
_LEAST_ROWS: Final = 60
_ALIKE: Final = 0.8
"""Likeness, 0 to 1, from which a column's name is a slip of the pen."""


def guess_format(name: str, text: str) -> Format:
    """Tell a dataset by its first line.

    Args:
        name: Of the file, for the error.
        text: Its content, or the beginning of it.

    Raises:
        BadInputError: It is none that is known.
    """
    first = text.lstrip("\ufeff").split("\n", 1)[0].strip().lower()
    if first.startswith("datetime;"):
        return Format.SKAB
    if first == "timestamp,value":
        return Format.NAB
    if len(first.split()) == _CMAPSS_COLUMNS and all(map(_is_number, first.split())):
        return Format.CMAPSS
    if _named(re.split(r"[,;\t|]", first), TIME_NAMES) is not None:
        return Format.CSV
    raise BadInputError(
        "its first line is of no dataset that is known",
        name,
        "Give --format; a csv needs a header with `time`, sensors and `anomaly` (0 or 1)",
    )


def read_windows(name: str, text: str) -> Windows:
    """Read NAB's `windows.json`.

    Raises:
        BadInputError: It is something else.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, list[tuple[str, str]]])
    except msgspec.DecodeError as error:
        raise BadInputError(f"it is not NAB's windows: {error}", name) from error


def read_run(name: str, text: str, kind: Format, windows: Sequence[tuple[str, str]] = ()) -> Run:
    """Read one file of SKAB, NAB or csv.

    Args:
        name: Of the file, for people.
        text: Its content.
        kind: Anything but C-MAPSS, whose files hold many lives.
        windows: First and last instant of each anomaly, for NAB.

    Raises:
        BadInputError: No time column, no sensor, a cell that is no time or number, or too few rows.
    """
    header, cells = _table(name, text)
    time = _named(header, TIME_NAMES)
    if time is None:
        raise BadInputError("there is no time column", name, f"It has {', '.join(header)}")
    label, change = _named(header, LABEL_NAMES), _named(header, (CHANGE_NAME,))
    root = _named(header, (ROOT_NAME,))
    _refuse_typos(name, header)
    sensors = [at for at in range(len(header)) if at not in {time, label, change, root}]
    if not sensors:
        raise BadInputError("there is no sensor column", name, f"It has {', '.join(header)}")
    instants = _instants(name, [row[time] for row in cells])
    names = tuple(re.sub(r"[^A-Za-z0-9._:-]+", "_", header[at]) for at in sensors)
    anomalous = None if label is None else _flags(name, header, cells, label)
    if kind is Format.NAB:
        anomalous = _within(name, instants, windows)
    run = Run(
        name=name,
        kind=kind,
        sensors=names,
        instants_us=instants,
        values=_numbers(name, header, cells, sensors),
        anomalous=anomalous,
        changepoints=None if change is None else _flags(name, header, cells, change),
        roots=None if root is None else _roots(name, names, [row[root].strip() for row in cells]),
    )
    if len(run) - run.train_rows < _LEAST_ROWS or run.train_rows < _LEAST_ROWS:
        raise BadInputError(
            f"{len(run)} rows are too few to learn from {run.train_rows} and score the rest", name
        )
    return run


def read_fleet(name: str, text: str, unseen: Sequence[int] | None = None) -> Fleet:
    """Read a file of C-MAPSS: each unit is a life.

    Args:
        name: Of the file, for people.
        text: Its content.
        unseen: Of each unit, in order, the cycles from its last row to its failure, as
            `read_unseen` gives them; by default the last row is the failure.

    Raises:
        BadInputError: A row does not hold 26 numbers, cycles do not count up, or `unseen` is of
            another number of units.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != _CMAPSS_COLUMNS or not all(map(_is_number, cells)):
            raise BadInputError(f"line {number} does not hold {_CMAPSS_COLUMNS} numbers", name)
        rows.append([float(cell) for cell in cells])
    if not rows:
        raise BadInputError("it holds no rows", name)
    table = np.array(rows)
    units = np.unique(table[:, 0])
    after = [0] * len(units) if unseen is None else unseen
    if len(after) != len(units):
        what = f"it holds {len(units)} units, and the remaining life of {len(after)} is noted"
        raise BadInputError(what, name)
    lives = []
    for unit, cycles in zip(units, after, strict=True):
        life = table[table[:, 0] == unit]
        if (np.diff(life[:, 1]) != 1).any():
            raise BadInputError(f"the cycles of unit {unit:g} do not count up", name)
        lives.append(Life(values=life[:, _CMAPSS_FIRST_SENSOR:], unseen=cycles))
    return Fleet(name=name, lives=tuple(lives), conditions=_CMAPSS_SETTINGS)


def read_unseen(name: str, text: str) -> tuple[int, ...]:
    """Read a file `RUL_…` of C-MAPSS: the remaining cycles of each test unit, one per line.

    Raises:
        BadInputError: A line is no whole number, or below 0.
    """
    cells = text.split()
    for number, cell in enumerate(cells, start=1):
        if not cell.isdecimal():
            raise BadInputError(f"line {number}: {cell!r} is no number of cycles", name)
    return tuple(map(int, cells))


def _table(name: str, text: str) -> tuple[list[str], list[list[str]]]:
    text = text.lstrip("\ufeff")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=delimiter) if row]
    if len(rows) < 2:
        raise BadInputError("it holds no rows below a header", name)
    header = [cell.strip() for cell in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise BadInputError(f"row {number} has {len(row)} cells, not {len(header)}", name)
    return header, rows[1:]


def _named(header: Sequence[str], names: Sequence[str]) -> int | None:
    lower = [cell.strip().strip('"').lower() for cell in header]
    return next((lower.index(name) for name in names if name in lower), None)


def _refuse_typos(name: str, header: Sequence[str]) -> None:
    """Refuse a column that is nearly a label: as a sensor it would tell the answer.

    Raises:
        BadInputError: There is one.
    """
    labels = (*LABEL_NAMES, CHANGE_NAME)
    for cell in header:
        plain = cell.strip().strip('"').lower()
        near = difflib.get_close_matches(plain, labels, n=1, cutoff=_ALIKE)
        if near and plain not in labels:
            what = f"column {cell!r} is nearly {near[0]!r}, and would be taken for a sensor"
            raise BadInputError(what, name, f"Call it {near[0]}, or something else altogether")


def _instants(name: str, cells: Sequence[str]) -> Instants:
    plain = [re.sub(r"(Z|\+00:?00)$", "", cell.strip()) for cell in cells]
    if all(map(_is_number, plain)):
        return np.array([round(float(cell) * 1e6) for cell in plain], dtype=np.int64)
    try:
        return np.array(plain, dtype="datetime64[us]").astype(np.int64)
    except ValueError as error:
        raise BadInputError(f"a time cannot be read: {error}", name) from error


def _numbers(
    name: str, header: Sequence[str], cells: Sequence[Sequence[str]], columns: Sequence[int]
) -> Matrix:
    out = np.empty((len(cells), len(columns)))
    for place, at in enumerate(columns):
        for number, row in enumerate(cells):
            cell = row[at].strip()
            try:
                out[number, place] = float(cell) if cell else np.nan
            except ValueError:
                where = f"row {number + 2}, column {header[at]}"
                raise BadInputError(f"{where}: {cell!r} is not a number", name) from None
    return np.where(np.isfinite(out), out, np.nan)


def _flags(name: str, header: Sequence[str], cells: Sequence[Sequence[str]], column: int) -> Flags:
    flags: Flags = _numbers(name, header, cells, [column])[:, 0] > 0
    return flags


def _roots(name: str, sensors: Sequence[str], cells: Sequence[str]) -> Instants:
    known = {sensor: at for at, sensor in enumerate(sensors)} | {"": -1}
    strange = sorted(set(cells) - set(known))
    if strange:
        raise BadInputError(f"root {strange[0]!r} is no sensor of {', '.join(sensors)}", name)
    return np.array([known[cell] for cell in cells], dtype=np.int64)


def _within(name: str, instants: Instants, windows: Sequence[tuple[str, str]]) -> Flags:
    inside = np.zeros(len(instants), dtype=bool)
    for begin, end in windows:
        first, last = _instants(name, (begin, end))
        inside |= (instants >= first) & (instants <= last)
    return inside


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
