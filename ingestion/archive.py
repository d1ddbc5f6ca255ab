"""Days that retention lets go of, copied to Parquet before they are dropped.

The order of it, which nothing may change:

1. The day's partition is locked against writers, in the transaction that will drop it.
2. Its readings are written to files of another name, a file per machine class, and brought to disk.
3. The files get their names; one that is taken is never overwritten.
4. The partition is dropped if it holds exactly as many readings as the files, else nothing happens
   and the files are taken back.

A crash between 3 and the commit leaves the day in Postgres and a copy of it in the archive. A copy
too many does no harm: a reading that is replayed twice is stored once.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from domain.errors import BadInputError, ConflictError
from domain.machines import Machine, MachineClass
from domain.readings import History
from ingestion.export import PIECE, schema_of, table_of
from storage import history, retention, roster_store
from storage.connect import Connection, rows, translated
from storage.partitions import DAY_US

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """A day that was archived and dropped.

    Attributes:
        day: Which, UTC.
        readings: How many.
        files: Where they are.
    """

    day: date
    readings: int
    files: tuple[Path, ...]


def archive_next(on: Connection, now_us: int) -> Archived | None:
    """Archive and drop the oldest day that is past retention, in a transaction of its own.

    Args:
        on: A connection that is not within a transaction.
        now_us: The present, microseconds UTC.

    Returns:
        What was done; None if there is nothing to do, no archive, or someone else is at it.

    Raises:
        BadInputError: The folder cannot be written; nothing was dropped.
        ConflictError: The day changed meanwhile; nothing was dropped.
        ServiceUnavailableError: Somebody uses the day, or the server is away.
    """
    with translated(), on:
        rule = retention.rule(on)
        if rule is None or rule.archive is None or not retention.alone(on):
            return None
        days = retention.due(on, now_us)
        if not days:
            return None
        retention.hold(on, days[0])
        written: list[Path] = []
        try:
            count = _write_day(on, days[0], Path(rule.archive), written)
            _drop(on, days[0], count, now_us)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
    _LOG.info("archived %s readings of %s to %s, and dropped them", count, days[0], rule.archive)
    return Archived(day=days[0], readings=count, files=tuple(written))


def _drop(on: Connection, day: date, count: int, now_us: int) -> None:
    if not retention.drop_archived(on, day, count, now_us):
        raise ConflictError(f"{day} is not as it was archived: it was not dropped")


def _write_day(on: Connection, day: date, folder: Path, written: list[Path]) -> int:
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    found = rows(
        on,
        "SELECT DISTINCT machine_key FROM readings WHERE instant >= %s AND instant < %s",
        (begin, begin + timedelta(days=1)),
    )
    roster = roster_store.load(on)
    classes: dict[str, list[Machine]] = {}
    for (key,) in sorted(found):
        machine = roster.by_key.get(key)
        if machine is None:
            raise ConflictError(
                f"{day} has readings of machine number {key}, which is not registered: it was not "
                "dropped"
            )
        classes.setdefault(machine.machine_class, []).append(machine)
    start_us = history.microseconds(begin)
    total = 0
    for name, machines in sorted(classes.items()):
        pieces = _pieces(on, machines, roster.classes[name], start_us)
        total += _write(folder / name, day, roster.classes[name], pieces, written)
    return total


def _pieces(
    on: Connection, machines: list[Machine], machine_class: MachineClass, start_us: int
) -> Iterator[History]:
    step_us = max(1, int(PIECE * machine_class.period_s * 1e6))
    for machine in machines:
        for at in range(start_us, start_us + DAY_US, step_us):
            until = min(at + step_us, start_us + DAY_US)
            (found,) = history.read_history(on, [machine.name], at, until)
            if len(found):
                yield found


def _write(
    folder: Path,
    day: date,
    machine_class: MachineClass,
    pieces: Iterator[History],
    written: list[Path],
) -> int:
    from pyarrow import parquet

    partial = folder / f".{day}.{os.getpid()}.partial"
    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with parquet.ParquetWriter(partial, schema_of(machine_class), compression="zstd") as writer:
            for piece in pieces:
                writer.write_table(table_of(piece, machine_class))
                count += len(piece)
        _to_disk(partial)
        if parquet.read_metadata(partial).num_rows != count:
            raise BadInputError("what was written is not what is there", str(partial))
        written.append(_named(partial, folder, day))
        _to_disk(folder)
    except OSError as error:
        raise BadInputError(
            f"it cannot be written: {error.strerror or error}", str(folder)
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return count


def _named(partial: Path, folder: Path, day: date) -> Path:
    """Give a file its name, or the next one where that is taken."""
    number = 1
    while True:
        path = folder / (f"{day}.parquet" if number == 1 else f"{day}-{number}.parquet")
        try:
            os.link(partial, path)
        except FileExistsError:
            number += 1
        else:
            return path


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
