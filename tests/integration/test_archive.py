"""Days past retention go to Parquet before they are dropped, or they are not dropped."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.errors import BadInputError, ConflictError, ServiceUnavailableError
from domain.machines import MachineClass, Sensor
from domain.readings import ReadingBatch
from ingestion.archive import archive_next
from ingestion.files import FileSpec, read
from ingestion.housekeeping import Housekeeping
from storage import history, partitions, retention, roster_store
from storage.connect import Connection, connect, rows, session
from storage.offsets import Topic
from storage.partitions import DAY_US
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tests import environments
from tests.ingest_support import PUMP, START_US, stored, until, waits

FAN = MachineClass(name="fan", sensors=(Sensor(name="rpm"),))
NOW_US = START_US + 10 * DAY_US
DAYS = [date(2025, 6, 15), date(2025, 6, 16)]


def store(database: StorageSettings, kind: MachineClass, machine: str, instants: Any) -> None:
    """Store readings at instants, microseconds after the start."""
    with session(database) as on:
        key = roster_store.register_machines(on, [machine], kind.name)[machine].key
    at = START_US + np.asarray(instants, dtype=np.int64)
    values = (at[:, None] % 1_000_003) / np.arange(7, 7 + len(kind.sensors))
    values[::5, 0] = np.nan
    made = ReadingBatch(
        machine_class=kind,
        machine_keys=np.full(len(at), key, dtype=np.int32),
        instants_us=at,
        values=values,
    )
    with ReadingStore.open(database) as opened:
        opened.write(
            StoreBatch(
                group_id="g",
                topic=Topic(name="t", id="t"),
                readings=(made,),
                quarantined=(),
                steps=(),
            )
        )


@pytest.fixture
def three_days(database: StorageSettings, tmp_path: Path) -> Iterator[Connection]:
    """Store readings of two classes on the first two days, and of one today; keep a week."""
    with session(database) as on:
        for kind in (PUMP, FAN):
            roster_store.register_class(on, kind)
    numbers = np.arange(400)
    store(database, PUMP, "pump-1", numbers * 250_000_000)
    store(database, PUMP, "pump-2", numbers[:100] * 1_000_000)
    store(database, FAN, "fan-1", numbers[:50] * 1_000_000)
    store(database, FAN, "fan-1", [9 * DAY_US])
    with session(database) as on:
        retention.set_days(on, 7, str(tmp_path / "archive"))
    on = connect(database)
    yield on
    on.close()


def columns(path: Path) -> dict[str, tuple[Any, Any]]:
    """Return a file's readings by machine, as `replay` reads them."""
    pieces = list(read(FileSpec(path=path, machine_column="machine")))
    found: dict[str, tuple[Any, Any]] = {}
    for piece in pieces:
        for index, name in enumerate(piece.machines):
            mine = piece.rows == index
            found[name] = (piece.instants_us[mine], piece.values[mine])
    return found


def test_what_is_dropped_is_in_the_archive_bit_equal(
    three_days: Connection, database: StorageSettings, tmp_path: Path
) -> None:
    """A file per day and class, which replay reads; nothing younger goes, nothing is lost."""
    folder = tmp_path / "archive"
    with session(database) as on:
        before = history.read_history(on, ["pump-1", "pump-2"], 0, 2**62)
        total = history.count(on)

    done = [archive_next(three_days, NOW_US) for _ in range(3)]

    assert [one.day for one in done if one] == DAYS
    assert done[2] is None
    assert total - sum(one.readings for one in done if one) == stored(database) == 1
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "fan/2025-06-15.parquet",
        "pump/2025-06-15.parquet",
        "pump/2025-06-16.parquet",
    ]
    first, second = columns(folder / files[1]), columns(folder / files[2])
    for one in before:
        parts = [each[one.machine] for each in (first, second) if one.machine in each]
        assert np.array_equal(np.concatenate([at for at, _ in parts]), one.instants_us)
        values = np.concatenate([value for _, value in parts])
        assert np.array_equal(values, one.values, equal_nan=True)


def test_with_an_archive_age_alone_drops_nothing(
    three_days: Connection, database: StorageSettings
) -> None:
    """No plain rule, no wrong count and no younger day passes the database's own check."""
    with three_days:
        assert retention.due(three_days, NOW_US) == tuple(DAYS)
        assert retention.apply(three_days, NOW_US) == ()
        assert not retention.drop_archived(three_days, DAYS[0], 1, NOW_US)
        assert not retention.drop_archived(three_days, date(2025, 6, 24), 1, NOW_US)
    assert stored(database) == 551

    with session(database) as on:
        retention.set_days(on, 7)
        assert retention.apply(on, NOW_US) == tuple(DAYS)
    assert stored(database) == 1


def test_a_folder_that_cannot_be_written_drops_nothing(
    three_days: Connection, database: StorageSettings, tmp_path: Path
) -> None:
    """The file that stands in the way is named; the readings stay, and no half file is left."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "pump").write_text("a file where the folder should be")

    with pytest.raises(BadInputError, match="archive/pump"):
        archive_next(three_days, NOW_US)

    assert stored(database) == 551
    assert [path.name for path in (tmp_path / "archive").rglob("*")] in (
        ["fan", "pump"],
        ["pump", "fan"],
    )


def test_a_day_that_changes_meanwhile_is_not_dropped(
    three_days: Connection, database: StorageSettings, tmp_path: Path
) -> None:
    """Its count differs from the file's: the file is taken back, the day stays."""
    original = retention.drop_archived

    def late(on: Connection, day: date, archived: int, now_us: int) -> bool:
        # A fault that cannot be made from outside: the lock keeps every other writer out.
        rows(on, "INSERT INTO readings VALUES (1, '2025-06-15T15:06:40.5Z', '{1,2,3,4}')")
        return original(on, day, archived, now_us)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "drop_archived", late)
        with pytest.raises(ConflictError, match="2025-06-15"):
            archive_next(three_days, NOW_US)

    assert stored(database) == 551
    assert not list((tmp_path / "archive").rglob("*.p*"))


def test_writers_of_the_day_wait_and_are_not_lost(
    three_days: Connection, database: StorageSettings
) -> None:
    """A reading that comes while its day is archived is stored after, and archived later."""
    with three_days:
        retention.hold(three_days, DAYS[0])
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(store, database, FAN, "fan-1", [123_456])
            until(lambda: waits(database, "millwright ingest"))
            three_days.commit()
            late.result()
    assert stored(database) == 552
    done = archive_next(three_days, NOW_US)
    assert done is not None
    store(database, FAN, "fan-1", [654_321])

    again = archive_next(three_days, NOW_US)
    assert again is not None
    assert [path.name for path in again.files] == ["2025-06-15-2.parquet"]
    assert again.readings == 1


def test_one_archives_at_a_time_and_a_reader_only_delays(
    three_days: Connection, database: StorageSettings
) -> None:
    """Beside another who archives nothing is done; beside a reader it is tried again later."""
    with session(database) as other:
        assert retention.alone(other)
        assert archive_next(three_days, NOW_US) is None
    with session(database) as reader:
        rows(reader, "SELECT count(*) FROM readings")
        with pytest.raises(ServiceUnavailableError):
            archive_next(three_days, NOW_US)
    assert stored(database) == 551
    assert archive_next(three_days, NOW_US) is not None


def test_consumers_archive_by_themselves(three_days: Connection, database: StorageSettings) -> None:
    """The housekeeping beside the stream does all that is due."""
    assert not three_days.closed
    house = Housekeeping(database, now_us=lambda: NOW_US)
    house.start()
    try:
        until(lambda: stored(database) == 1)
    finally:
        house.stop()


def test_a_reader_in_the_way_of_an_archive_is_not_in_that_of_the_rollups(
    three_days: Connection, database: StorageSettings
) -> None:
    """The day is tried again in its time; meanwhile minutes are summed up."""
    assert not three_days.closed
    house = Housekeeping(database, now_us=lambda: NOW_US)
    with session(database) as reader:
        rows(reader, "SELECT count(*) FROM readings")
        house.start()
        try:
            until(lambda: _waiting_minutes(database) == 0)
        finally:
            house.stop()
    assert stored(database) == 551


def _waiting_minutes(database: StorageSettings) -> int:
    with session(database) as on:
        return int(rows(on, "SELECT count(*) FROM readings_1m_dirty")[0][0])


def test_the_command_shows_sets_applies_and_ends_it(
    three_days: Connection,
    database: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`millwright retention`, from a person's and a program's side."""
    from ray_app.cli.main import run

    assert not three_days.closed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLWRIGHT_HOME", str(tmp_path / "home"))
    for name, value in environments.postgres(database).items():
        monkeypatch.setenv(name, value)

    def told(words: str, code: int = 0) -> str:
        assert run(["retention", *words.split()]) == code
        seen = capsys.readouterr()
        return seen.out if code == 0 else seen.err

    assert told("off") == "every reading is kept\n"
    assert told("show").startswith("every reading is kept\nthe oldest day is 2025-06-15, 0 days")
    told("set 0", 2)
    told("set 9 --archive x --no-archive", 2)
    (tmp_path / "file").touch()
    assert "--archive" in told("set 9 --archive file/x", 2)
    assert "would be set" in told("set 9 --archive kept --dry-run")
    assert json.loads(told("show --json"))["days"] is None
    assert "readings of 9 days are kept, older ones go to" in told("set 9 --archive kept")
    assert json.loads(told("set 8 --json"))["archive"] == str(tmp_path / "kept")
    assert told("apply --dry-run") == "3 days would be dropped\n"
    done = json.loads(told("apply --json"))
    assert done["dropped"] == ["2025-06-15", "2025-06-16", "2025-06-24"]
    assert all(Path(path).is_file() for path in done["files"])
    assert "dropped for good" in told("set 8 --no-archive")
    with session(database) as on:
        assert partitions.existing(on) == ()
