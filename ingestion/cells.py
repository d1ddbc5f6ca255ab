"""Columns of a table to numpy; what cannot be read is named by line, column and content."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from domain.errors import BadInputError
from domain.machines import checked_name
from domain.readings import Instants

MISSING = ("", "na", "n/a", "nan", "null", "none", "-")
"""Texts, in any case, that say that a sensor was missing."""

_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1))
"""A number of times since 1970 smaller than the first is multiplied by the second to be µs: up to
the year 5138 it is seconds, then milliseconds, then microseconds; beyond, nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a block of cells lies.

    Attributes:
        path: The file.
        line: Line, or row, of the block's first cell.
        name: Its column.
    """

    path: Path
    line: int
    name: str = ""

    def column(self, name: str) -> Self:
        """Return the place of another column of the same block."""
        return replace(self, name=name)

    def bad(self, row: int, what: str, hint: str = "") -> BadInputError:
        """Return the error for a cell of the block."""
        return BadInputError(what, f"{self.path}, line {self.line + row}, column {self.name}", hint)


def sensor_name(column: str) -> str:
    """Return a column's name as the name of a sensor or machine."""
    return re.sub(r"[^A-Za-z0-9._:-]+", "_", column.strip()).strip("_.:-")


def numbers(column: Any, place: Place) -> npt.NDArray[np.float64]:
    """Return a column as floats; an empty cell is NaN.

    Raises:
        BadInputError: A cell is no finite number.
    """
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = compute.utf8_trim_whitespace(column)
        gone = compute.is_in(compute.utf8_lower(text), value_set=pa.array(MISSING))
        column = compute.if_else(gone, pa.scalar(None, column.type), text)
    try:
        found = np.array(compute.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException:
        raise _first_bad_number(column, place) from None
    infinite = np.flatnonzero(np.isinf(found))
    if len(infinite):
        raise place.bad(int(infinite[0]), "is infinite")
    return found


def instants(column: Any, place: Place, time_format: str | None) -> Instants:
    """Return a column of times as microseconds UTC.

    Raises:
        BadInputError: A cell is no time.
    """
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz="UTC"), safe=False)
        nothing = np.flatnonzero(column.is_null().to_numpy())
        if len(nothing):
            raise place.bad(int(nothing[0]), "is empty")
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _since_1970(column.to_numpy().astype(np.float64), place)
    texts = column.to_pandas()
    if time_format is None and (counted := _counted(texts)) is not None:
        return _since_1970(counted, place)
    moments = pd.to_datetime(texts, utc=True, format=time_format or "ISO8601", errors="coerce")
    bad = np.flatnonzero(moments.isna().to_numpy())
    if len(bad):
        raise place.bad(
            int(bad[0]),
            f"{texts.iloc[int(bad[0])]!r} is no time",
            "ISO 8601 is read, or what --time-format says (as of strptime)",
        )
    return np.asarray(moments.dt.as_unit("us").astype("int64").to_numpy(), dtype=np.int64)


def machines(column: Any, place: Place) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
    """Return the machines' names and, for each row, which of them it is.

    Raises:
        BadInputError: A cell cannot name a machine.
    """
    import pyarrow as pa

    coded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    names = tuple(str(name or "") for name in coded.dictionary.to_pylist())
    rows = coded.indices.fill_null(-1).to_numpy().astype(np.intp)
    if (rows < 0).any():
        raise place.bad(int(np.argmax(rows < 0)), "is empty")
    for number, name in enumerate(names):
        try:
            checked_name("machine", name)
        except BadInputError as error:
            raise place.bad(int(np.argmax(rows == number)), error.what, error.hint) from None
    return names, rows


def _first_bad_number(column: Any, place: Place) -> BadInputError:
    for row, cell in enumerate(column.to_pylist()):
        try:
            float(cell if cell is not None else "nan")
        except (TypeError, ValueError):
            return place.bad(
                row, f"{str(cell)[:40]!r} is no number", f"Leave it out by --exclude {place.name}"
            )
    return place.bad(0, "the column holds no numbers", f"Leave it out by --exclude {place.name}")


def _counted(texts: Any) -> npt.NDArray[np.float64] | None:
    # One look at the first cell decides: a column of times is written in one way.
    try:
        float(texts.iloc[0])
        return np.asarray(texts.to_numpy(), dtype=np.float64)
    except ValueError:
        return None


def _since_1970(counted: npt.NDArray[np.float64], place: Place) -> Instants:
    bad = np.flatnonzero(~np.isfinite(counted))
    if len(bad):
        raise place.bad(int(bad[0]), "is no time")
    largest = np.abs(counted).max(initial=0.0)
    for limit, factor in _UNITS:
        if largest < limit:
            return np.rint(counted * factor).astype(np.int64)
    return (counted // 1000).astype(np.int64)
