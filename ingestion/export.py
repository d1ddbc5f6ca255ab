"""Stored readings of a machine to a Parquet file, piece by piece."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from domain.errors import BadInputError
from domain.machines import MachineClass
from domain.readings import History
from storage import history, roster_store
from storage.connect import session
from storage.settings import StorageSettings

PIECE = 100_000
"""Readings, at the nominal period, that are in memory at a time; one row group each."""


def export(  # noqa: PLR0913 - what, when, where to
    storage: StorageSettings,
    machine: str,
    path: Path,
    *,
    start_us: int,
    end_us: int,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write a machine's readings of a period to Parquet; return how many.

    The columns are `machine`, `timestamp` (microseconds UTC) and one per sensor, null where it was
    missing: what `millwright replay` reads. The file appears under its name when it is whole.

    Args:
        storage: Where the database is.
        machine: Its name.
        path: The file; one that is there is replaced.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period.
        progress: Called with how many readings were written since its last call.

    Raises:
        NotFoundError: The machine is not registered.
        BadInputError: The period is empty, or the file cannot be written.
    """
    from pyarrow import parquet

    if end_us <= start_us:
        raise BadInputError("the period ends before it begins", "--to")
    machine_class = _class_of(storage, machine)
    partial = path.with_name(path.name + ".partial")
    total = 0
    try:
        with parquet.ParquetWriter(partial, schema_of(machine_class), compression="zstd") as writer:
            for piece in _pieces(storage, machine, machine_class, start_us, end_us):
                writer.write_table(table_of(piece, machine_class))
                total += len(piece)
                progress(len(piece))
        partial.replace(path)
    except OSError as error:
        raise BadInputError(
            f"it cannot be written: {error.strerror or error}", str(path)
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return total


def _class_of(storage: StorageSettings, machine: str) -> MachineClass:
    with session(storage, application="millwright export") as on:
        history.read_history(on, [machine], 0, 0)  # says so if the machine is not registered
        roster = roster_store.load(on)
    return roster.class_of(roster.machines[machine])


def _pieces(
    storage: StorageSettings, machine: str, machine_class: MachineClass, start_us: int, end_us: int
) -> Iterator[History]:
    step_us = max(1, int(PIECE * machine_class.period_s * 1e6))
    with session(storage, application="millwright export") as on:
        first_us, last_us = history.span(on, machine)
        at = max(start_us, first_us)
        while at < min(end_us, last_us + 1):
            until = min(at + step_us, end_us)
            (found,) = history.read_history(on, [machine], at, until)
            if len(found):
                yield found
            at = until


def schema_of(machine_class: MachineClass) -> "object":
    """Return the columns of a file of readings, as Arrow has them."""
    import pyarrow as pa

    sensors = [(name, pa.float64()) for name in machine_class.sensor_names]
    return pa.schema([("machine", pa.string()), ("timestamp", pa.timestamp("us", "UTC")), *sensors])


def table_of(piece: History, machine_class: MachineClass) -> "object":
    """Return readings of a machine as an Arrow table."""
    import pyarrow as pa

    names = pa.DictionaryArray.from_arrays(np.zeros(len(piece), np.int32), [piece.machine])
    columns = [
        names.cast(pa.string()),
        pa.array(piece.instants_us, pa.timestamp("us", "UTC")),
        *(
            pa.array(np.ascontiguousarray(piece.values[:, column]), from_pandas=True)
            for column in range(piece.values.shape[1])
        ),
    ]
    return pa.Table.from_arrays(columns, schema=schema_of(machine_class))
