"""Tables of readings in Arrow: read, checked and turned into columns of numbers.

The only modules of the replicas that import pyarrow are this and `arrow`, and only once somebody
asks in it.
"""

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from domain.machines import NAME_PATTERN, MachineClass
from domain.readings import Instants, Matrix
from domain.wire import EARLIEST_US
from ray_app.serve.problems import FieldProblem, RefusedError
from ray_app.serve.schema import MOST
from ray_app.serve.windows import invalid

MACHINE: Final = "machine_id"
TIME: Final = "timestamp"
LIST: Final = "values"
MOST_ROWS: Final = 100_000
_LATEST_US: Final = 253_402_300_799_000_000


def read(body: bytes) -> pa.Table:
    """Return the table; nothing in it is believed before Arrow has checked it as a whole.

    Raises:
        RefusedError: It cannot be read, is compressed, or has no or too many rows (422).
    """
    try:
        for message in pa.ipc.MessageReader.open_stream(body):
            if _is_compressed(message.metadata.to_pybytes()):
                raise wrong("its batches are compressed; send them as they are")
        batches, rows = [], 0
        with pa.ipc.open_stream(body) as reader:
            for batch in reader:
                rows += batch.num_rows
                if rows > MOST_ROWS:
                    raise wrong(f"it has more than {MOST_ROWS} rows; send several requests")
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
        table.validate(full=True)
        table = table.unify_dictionaries()
    except (pa.ArrowException, OSError, struct.error) as error:
        raise wrong(f"it cannot be read: {' '.join(str(error).split())[:300]}") from None
    if not rows:
        raise wrong("it has no rows")
    return table


class Sensors:
    """The sensors' values of a table, checked once.

    Args:
        table: As it came.
        classes: Of its machines.
    """

    def __init__(self, table: pa.Table, classes: dict[str, MachineClass]) -> None:
        names = [name for name in table.column_names if name not in {MACHINE, TIME}]
        self._lists: pa.ChunkedArray | None = None
        self._columns: dict[str, npt.NDArray[np.float64]] = {}
        if names == [LIST]:
            self._lists = _list_column(table.column(LIST))
            return
        known = {sensor for one in classes.values() for sensor in one.sensor_names}
        for name in names:
            if name not in known:
                raise wrong(
                    f"no class of its machines has a sensor {name[:128]!r}; there are "
                    + ", ".join(sorted(known)[:40])
                )
            self._columns[name] = _numbers(table.column(name), name)

    def of(self, machine_class: MachineClass, rows: npt.NDArray[np.intp]) -> Matrix:
        """Return the values of some rows, shape (n, S) in the class's order; NaN is missing."""
        names = machine_class.sensor_names
        if self._lists is not None:
            taken = self._lists.take(pa.array(rows)).combine_chunks()
            lengths = taken.value_lengths().to_numpy(zero_copy_only=False)
            if (lengths != len(names)).any():
                raise wrong(
                    f"a list of {machine_class.name} has {len(names)} values, in the order "
                    + ", ".join(names[:40])
                )
            values = _floats(taken.flatten()).reshape(len(rows), len(names))
        else:
            values = np.full((len(rows), len(names)), np.nan)
            for column, name in enumerate(names):
                if name in self._columns:
                    values[:, column] = self._columns[name][rows]
        if (np.abs(values) > MOST).any():
            raise wrong(f"a value is beyond {MOST:g}, or infinite")
        if (empty := np.isnan(values).all(axis=1)).any():
            raise wrong(f"no sensor has a value in row {rows[int(empty.argmax())]}")
        return values


def machines(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return names in order of appearance, and which of them each row belongs to."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # Never the other way round: a dictionary written out may be larger than any memory.
        column = column.dictionary_encode().unify_dictionaries()
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)) or column.null_count:
        raise wrong(f"column {MACHINE} is {column.type}; text without nulls is wanted")
    chunks = [one for one in column.chunks if len(one)]
    indices = np.concatenate([one.indices.to_numpy(zero_copy_only=False) for one in chunks])
    names = chunks[-1].dictionary.to_pylist()
    used, first, codes = np.unique(indices, return_index=True, return_inverse=True)
    order = np.argsort(first)
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    found = [names[int(used[at])] for at in order]
    strange = next((one for one in found if not one or not NAME_PATTERN.fullmatch(one)), None)
    if strange is not None or len(set(found)) < len(found):
        raise wrong(f"column {MACHINE} has {str(strange)[:40]!r}, which names no machine")
    return found, ranks[codes]


def instants(column: pa.ChunkedArray) -> Instants:
    """Return timestamps of any unit in microseconds; without a zone they are UTC."""
    if not pa.types.is_timestamp(column.type) or column.null_count:
        raise wrong(f"column {TIME} is {column.type}; timestamps without nulls are wanted")
    try:
        told = column.cast(pa.timestamp("us", tz=column.type.tz), safe=column.type.unit != "ns")
    except pa.ArrowException as error:
        raise wrong(f"column {TIME}: {error}") from None
    found: Instants = told.cast(pa.int64()).to_numpy()
    return found


def ordered(every: Instants, rows: npt.NDArray[np.intp], name: str) -> Instants:
    """Return the instants of a machine's rows, which must be in order."""
    found = every[rows]
    late = np.flatnonzero(np.diff(found) <= 0)
    if len(late):
        raise wrong(f"row {rows[late[0] + 1]} of {name} is not later than the one before it")
    if found[0] < EARLIEST_US:
        raise wrong(f"row {rows[0]} of {name} is before the year 2000")
    if found[-1] > _LATEST_US:
        raise wrong(f"row {rows[-1]} of {name} is beyond the year 9999")
    return found


def _list_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    lists = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    if not lists or not _is_number(kind.value_type) or column.null_count:
        raise wrong(f"column {LIST} is {kind}; lists of numbers without null lists are wanted")
    return column.cast(pa.list_(pa.float64()))


def _numbers(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    if not _is_number(column.type):
        raise wrong(f"column {name} is {column.type}; numbers are wanted")
    return _floats(column)


def _floats(column: Any) -> npt.NDArray[np.float64]:
    cast = column.cast(pa.float64(), safe=False)
    if isinstance(cast, pa.ChunkedArray):
        cast = cast.combine_chunks()
    found: npt.NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def wrong(detail: str) -> RefusedError:
    """Return the refusal of a table."""
    return invalid(FieldProblem(detail=f"the body is no table of readings: {detail}"))


def _is_compressed(metadata: bytes) -> bool:
    """Say whether a message's batch is compressed: a few bytes might then fill the memory.

    Reads the two fields of Arrow's flatbuffers that pyarrow does not show; Arrow itself has
    verified the buffer before.
    """
    message = _uoffset(metadata, 0)
    kind = _field(metadata, message, 1)
    header = _field(metadata, message, 2)
    if kind is None or header is None:
        return False
    batch = header + _uoffset(metadata, header)
    match metadata[kind]:
        case 3:  # RecordBatch: `compression` is its fourth field
            return _field(metadata, batch, 3) is not None
        case 2:  # DictionaryBatch: its second field is a RecordBatch
            data = _field(metadata, batch, 1)
            return data is not None and (
                _field(metadata, data + _uoffset(metadata, data), 3) is not None
            )
    return False


def _uoffset(raw: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", raw, at)[0])


def _field(raw: bytes, table: int, number: int) -> int | None:
    """Return where a field of a flatbuffers table stands; None when it is left out."""
    places = table - int(struct.unpack_from("<i", raw, table)[0])
    size = int(struct.unpack_from("<H", raw, places)[0])
    slot = 4 + 2 * number
    if slot >= size:
        return None
    offset = int(struct.unpack_from("<H", raw, places + slot)[0])
    return table + offset if offset else None
