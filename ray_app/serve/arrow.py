"""Predict in Arrow: windows of many machines as one table, and their scores as one table.

The only module of the replicas that imports pyarrow, and only when somebody asks in it.

Columns of a request: `machine_id`; `timestamp`; and the sensors, each as a number column of its
name, or all as one list column `values` in the order of the machine's class. Rows of a machine are
in order; machines may be mixed. A table of `machine_id` alone asks about stored readings.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from domain.machines import NAME_PATTERN, MachineClass
from domain.readings import History, Instants, Matrix
from domain.wire import EARLIEST_US
from ray_app.champions import Champion
from ray_app.serve.problems import FieldProblem, RefusedError
from ray_app.serve.schema import Predictions
from ray_app.serve.scorer import Scorer
from ray_app.serve.verdict import THRESHOLD, predict
from ray_app.serve.verdict import scored as scores_of
from ray_app.serve.windows import invalid

MOST_ROWS: Final = 100_000
_MACHINE, _TIME, _LIST = "machine_id", "timestamp", "values"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """One machine's part of a request, ready to be scored.

    Attributes:
        champion: What scores it.
        rows: Shape (n,), where its rows stand in the answer.
        given: The window.
        context: Stored readings before it.
        note: What limits the score, in words.
    """

    champion: Champion
    rows: npt.NDArray[np.intp]
    given: History
    context: History | None
    note: str


def predicted(scorer: Scorer, body: bytes) -> Predictions:
    """Return a verdict per machine, in the order in which the machines first appear.

    Raises:
        RefusedError: The body is no such table (422).
        NotFoundError: A machine is not registered.
        NoChampionError: A class has no champion yet.
    """
    return Predictions(
        results=[
            predict(one.champion, one.given, context=one.context, note=one.note)
            for one in _windows(scorer, _table(body))
        ]
    )


def scored(scorer: Scorer, body: bytes) -> bytes:
    """Return a table with the verdict on every row, as an Arrow stream; errors as `predicted`."""
    parts = list(_windows(scorer, _table(body)))
    columns: dict[str, list[Any]] = {name: [] for name in _ANSWER.names}
    for one in parts:
        for name, found in _verdicts(one).items():
            columns[name].append(found)
    order = np.argsort(np.concatenate([one.rows for one in parts]), kind="stable")
    arrays = [
        pa.concat_arrays([pa.array(one, _ANSWER.field(name).type) for one in found]).take(order)
        for name, found in columns.items()
    ]
    classes = {one.champion.machine_class: one.champion.pipeline.machine_class for one in parts}
    names = {name: list(found.sensor_names) for name, found in classes.items()}
    schema = _ANSWER.with_metadata({"sensors": json.dumps(names)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


_ANSWER: Final = pa.schema(
    [
        (_MACHINE, pa.string()),
        ("machine_class", pa.string()),
        (_TIME, pa.timestamp("us", tz="UTC")),
        ("score", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("ready", pa.bool_()),
        ("model_version", pa.int32()),
        ("root_sensor", pa.string()),
        ("contributions", pa.list_(pa.float64())),
        ("expected", pa.list_(pa.float64())),
    ]
)


def _verdicts(one: _Judged) -> dict[str, Any]:
    scores, skip = scores_of(one.champion, one.given, one.context)
    found, parts = scores.score[skip:], scores.contributions[skip:]
    names = np.array(one.champion.pipeline.machine_class.sensor_names)
    return {
        _MACHINE: [one.given.machine] * len(found),
        "machine_class": [one.champion.machine_class] * len(found),
        _TIME: one.given.instants_us,
        "score": found,
        "is_anomaly": found > THRESHOLD,
        "ready": scores.ready[skip:],
        "model_version": np.full(len(found), one.champion.version, np.int32),
        "root_sensor": names[parts.argmax(axis=1)].tolist(),
        "contributions": _lists(parts),
        "expected": _lists(scores.expected[skip:]),
    }


def _lists(values: Matrix) -> pa.Array:
    rows, width = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), from_pandas=True)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _table(body: bytes) -> pa.Table:
    """Return the table; nothing in it is believed before Arrow has checked it as a whole."""
    try:
        for message in pa.ipc.MessageReader.open_stream(body):
            if _is_compressed(message.metadata.to_pybytes()):
                raise _wrong("its batches are compressed; send them as they are")
        batches, rows = [], 0
        with pa.ipc.open_stream(body) as reader:
            for batch in reader:
                rows += batch.num_rows
                if rows > MOST_ROWS:
                    raise _wrong(f"it has more than {MOST_ROWS} rows; send several requests")
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
        table.validate(full=True)
        table = table.unify_dictionaries()
    except (pa.ArrowException, OSError, struct.error) as error:
        raise _wrong(f"it cannot be read: {' '.join(str(error).split())[:300]}") from None
    if not rows:
        raise _wrong("it has no rows")
    return table


def _windows(scorer: Scorer, table: pa.Table) -> Iterator[_Judged]:
    names = table.column_names
    if len(set(names)) < len(names) or _MACHINE not in names:
        raise _wrong(f"each column has a name of its own, and one is {_MACHINE}; it has {names}")
    machines, codes = _machines(table.column(_MACHINE))
    champions = [scorer.champion_of(name) for name in machines]
    if names == [_MACHINE]:
        if len(machines) < len(codes):
            raise _wrong("without readings each machine stands in one row")
        for row, name in enumerate(machines):
            newest, past = scorer.newest(champions[row], name)
            yield _Judged(
                champion=champions[row],
                rows=np.array([row]),
                given=newest,
                context=past,
                note="",
            )
        return
    if _TIME not in names:
        raise _wrong(f"column {_TIME} is missing")
    instants = _instants(table.column(_TIME))
    sensors = _Sensors(table, {one.machine_class: one.pipeline.machine_class for one in champions})
    for code, name in enumerate(machines):
        rows = np.flatnonzero(codes == code)
        given = History(
            machine=name,
            instants_us=_ordered(instants, rows, name),
            values=sensors.of(champions[code].pipeline.machine_class, rows),
        )
        context, note = scorer.past(champions[code], given)
        yield _Judged(champion=champions[code], rows=rows, given=given, context=context, note=note)


class _Sensors:
    """The sensors' values of a table, checked once.

    Args:
        table: As it came.
        classes: Of its machines.
    """

    def __init__(self, table: pa.Table, classes: dict[str, MachineClass]) -> None:
        names = [name for name in table.column_names if name not in {_MACHINE, _TIME}]
        self._lists: pa.ChunkedArray | None = None
        self._columns: dict[str, npt.NDArray[np.float64]] = {}
        if names == [_LIST]:
            self._lists = _list_column(table.column(_LIST))
            return
        known = {sensor for one in classes.values() for sensor in one.sensor_names}
        for name in names:
            if name not in known:
                raise _wrong(
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
                raise _wrong(
                    f"a list of {machine_class.name} has {len(names)} values, in the order "
                    + ", ".join(names[:40])
                )
            values = _floats(taken.flatten()).reshape(len(rows), len(names))
        else:
            values = np.full((len(rows), len(names)), np.nan)
            for column, name in enumerate(names):
                if name in self._columns:
                    values[:, column] = self._columns[name][rows]
        if np.isinf(values).any():
            raise _wrong("a value is infinite")
        if (empty := np.isnan(values).all(axis=1)).any():
            raise _wrong(f"no sensor has a value in row {rows[int(empty.argmax())]}")
        return values


def _machines(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return names in order of appearance, and which of them each row belongs to."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # Never the other way round: a dictionary written out may be larger than any memory.
        column = column.dictionary_encode().unify_dictionaries()
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)) or column.null_count:
        raise _wrong(f"column {_MACHINE} is {column.type}; text without nulls is wanted")
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
        raise _wrong(f"column {_MACHINE} has {str(strange)[:40]!r}, which names no machine")
    return found, ranks[codes]


def _instants(column: pa.ChunkedArray) -> Instants:
    if not pa.types.is_timestamp(column.type) or column.null_count:
        raise _wrong(f"column {_TIME} is {column.type}; timestamps without nulls are wanted")
    try:
        told = column.cast(pa.timestamp("us", tz=column.type.tz), safe=column.type.unit != "ns")
    except pa.ArrowException as error:
        raise _wrong(f"column {_TIME}: {error}") from None
    found: Instants = told.cast(pa.int64()).to_numpy()
    return found


def _ordered(instants: Instants, rows: npt.NDArray[np.intp], name: str) -> Instants:
    found = instants[rows]
    late = np.flatnonzero(np.diff(found) <= 0)
    if len(late):
        raise _wrong(f"row {rows[late[0] + 1]} of {name} is not later than the one before it")
    if found[0] < EARLIEST_US:
        raise _wrong(f"row {rows[0]} of {name} is before the year 2000")
    return found


def _list_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    lists = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    if not lists or not _is_number(kind.value_type) or column.null_count:
        raise _wrong(f"column {_LIST} is {kind}; lists of numbers without null lists are wanted")
    return column.cast(pa.list_(pa.float64()))


def _numbers(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    if not _is_number(column.type):
        raise _wrong(f"column {name} is {column.type}; numbers are wanted")
    return _floats(column)


def _floats(column: Any) -> npt.NDArray[np.float64]:
    cast = column.cast(pa.float64(), safe=False)
    if isinstance(cast, pa.ChunkedArray):
        cast = cast.combine_chunks()
    found: npt.NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _wrong(detail: str) -> RefusedError:
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
