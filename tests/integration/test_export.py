"""Stored readings as Parquet, and back."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from domain.errors import BadInputError, NotFoundError
from ingestion import export as module
from ingestion.export import export
from ingestion.files import FileSpec, read
from storage import roster_store
from storage.connect import session
from storage.offsets import Topic
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, START_US, batch


@pytest.fixture
def pump(database: StorageSettings) -> str:
    """Return a machine with 1,000 readings, a value missing here and there."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        found = roster_store.register_machines(on, ["pump-1", "idle"], "pump")
    readings = batch(found["pump-1"].key, 0, 1000)
    readings.values[::7, 1] = np.nan
    with ReadingStore.open(database) as store:
        store.write(
            StoreBatch(
                group_id="",
                topic=Topic(name="", id=""),
                readings=(readings,),
                quarantined=(),
                steps=(),
            )
        )
    return "pump-1"


def test_an_export_is_what_replay_reads_bit_equal(
    database: StorageSettings, pump: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of bounded size; a missing value is null and comes back missing."""
    monkeypatch.setattr(module, "PIECE", 300)
    told: list[int] = []
    path = tmp_path / "pump.parquet"

    total = export(database, pump, path, start_us=0, end_us=2**60, progress=told.append)

    assert (total, told) == (1000, [300, 300, 300, 100])
    assert parquet.ParquetFile(path).num_row_groups == 4
    pieces = list(read(FileSpec(path=path, machine_column="machine", time_column="timestamp")))
    wanted = batch(0, 0, 1000)
    wanted.values[::7, 1] = np.nan
    assert {piece.sensors for piece in pieces} == {PUMP.sensor_names}
    assert {piece.machines for piece in pieces} == {("pump-1",)}
    assert np.array_equal(np.concatenate([one.instants_us for one in pieces]), wanted.instants_us)
    values = np.concatenate([one.values for one in pieces])
    assert np.array_equal(values, wanted.values, equal_nan=True)
    assert [each.name for each in tmp_path.iterdir()] == ["pump.parquet"]


def test_an_export_holds_its_period_alone(
    database: StorageSettings, pump: str, tmp_path: Path
) -> None:
    """The first instant is in it, the last one is not; without readings it is an empty table."""
    path = tmp_path / "part.parquet"

    start_us = START_US + 10 * 500_000
    assert export(database, pump, path, start_us=start_us, end_us=start_us + 5_000_000) == 10
    assert parquet.read_table(path)["s0"].to_pylist() == list(range(10, 20))
    assert export(database, "idle", path, start_us=0, end_us=2**60) == 0
    assert parquet.read_table(path).num_rows == 0


def test_what_cannot_be_exported_is_told(
    database: StorageSettings, pump: str, tmp_path: Path
) -> None:
    """An unknown machine, an empty period, a folder that is not there."""
    with pytest.raises(NotFoundError):
        export(database, "nobody", tmp_path / "x", start_us=0, end_us=1)
    with pytest.raises(BadInputError, match="ends before"):
        export(database, pump, tmp_path / "x", start_us=1, end_us=1)
    with pytest.raises(BadInputError, match="cannot be written"):
        export(database, pump, tmp_path / "no" / "x", start_us=0, end_us=1)
    assert list(tmp_path.iterdir()) == []
