"""`millwright replay`: a file's readings go the way that a machine's do."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from domain.errors import BadInputError, ConflictError
from ingestion.consume import Ingestion
from ingestion.files import FileSpec, read
from ingestion.replay import ReplayPlan, replay
from ingestion.settings import KafkaSettings
from storage import history, roster_store
from storage.connect import session
from storage.settings import StorageSettings
from tests.ingest_support import running, settings_of, stored, until

SKAB = Path(os.environ.get("MILLWRIGHT_DATA", "../shared/data")) / "skab"


@pytest.fixture
def settings(kafka: str, topic: str) -> KafkaSettings:
    """Return settings of this test alone."""
    return settings_of(kafka, topic)


def test_a_file_is_stored_reading_by_reading(
    settings: KafkaSettings, database: StorageSettings, tmp_path: Path
) -> None:
    """Class and machine are registered from the file; replayed twice it is stored once."""
    path = tmp_path / "fan-3.csv"
    path.write_text("time,amps,rpm\n2025-06-15T00:00:00Z,1.25,900\n2025-06-15T00:00:01Z,,901\n")
    plan = ReplayPlan(spec=FileSpec(path=path), register_as="fan")

    first = replay(settings, database, plan)
    again = replay(settings, database, replace(plan, register_as=None))
    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 4)

    assert (first.readings, first.machine_class, again.machine_class) == (2, "fan", "fan")
    assert ingestion.totals.duplicates == 2
    with session(database) as on:
        (found,) = history.read_history(on, ["fan-3"], 0, 2**62)
    assert np.array_equal(found.values, [[1.25, 900], [np.nan, 901]], equal_nan=True)


def test_a_file_replayed_packed_is_the_same_readings(
    settings: KafkaSettings, database: StorageSettings, tmp_path: Path
) -> None:
    """The class decides the order of sensors, whatever order the file has them in."""
    first, second = tmp_path / "fan-3.csv", tmp_path / "fan-4.csv"
    first.write_text("time,amps,rpm\n2025-06-15T00:00:00Z,1.25,900\n2025-06-15T00:00:01Z,,901\n")
    second.write_text("time,rpm,amps\n2025-06-15T00:00:00Z,902,1.5\n")
    plan = ReplayPlan(spec=FileSpec(path=first), register_as="fan")
    replay(settings, database, plan)

    replay(settings, database, replace(plan, packed=True))
    sent = replay(settings, database, replace(plan, spec=FileSpec(path=second), packed=True))
    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == 4)

    assert (sent.readings, sent.failed) == (1, 0)
    totals = ingestion.totals
    assert (totals.stored, totals.duplicates, totals.quarantined) == (3, 2, 0)
    with session(database) as on:
        (found,) = history.read_history(on, ["fan-4"], 0, 2**62)
    assert found.values.tolist() == [[1.5, 902]]


def test_a_file_that_fits_no_class_is_refused_before_anything_is_sent(
    settings: KafkaSettings, database: StorageSettings, tmp_path: Path
) -> None:
    """The answer says which flag to use; neither class nor machine nor message appears."""
    path = tmp_path / "fan-3.csv"
    path.write_text("time,amps\n2025-06-15T00:00:00Z,1.25\n")

    with pytest.raises(BadInputError, match="--register CLASS"):
        replay(settings, database, ReplayPlan(spec=FileSpec(path=path)))

    with session(database) as on:
        roster = roster_store.load(on)
    assert (roster.machines, roster.classes) == ({}, {})


def test_a_machine_of_another_class_is_not_taken_over(
    settings: KafkaSettings, database: StorageSettings, tmp_path: Path
) -> None:
    """A name means one machine."""
    path = tmp_path / "fan-3.csv"
    path.write_text("time,amps\n2025-06-15T00:00:00Z,1.25\n")
    replay(settings, database, ReplayPlan(spec=FileSpec(path=path), register_as="fan"))
    path.write_text("time,bar\n2025-06-15T00:00:00Z,1.25\n")

    with pytest.raises(ConflictError, match="is registered as 'fan'"):
        replay(settings, database, ReplayPlan(spec=FileSpec(path=path), register_as="pump"))


def test_instants_can_be_moved_to_the_present(
    settings: KafkaSettings, database: StorageSettings, tmp_path: Path
) -> None:
    """The first reading gets the given instant, the others keep their distance."""
    path = tmp_path / "fan-3.csv"
    path.write_text("time,amps\n2025-06-15T00:00:00Z,1\n2025-06-15T00:00:02.5Z,2\n")
    from_us = 1_760_000_000_000_000
    plan = ReplayPlan(spec=FileSpec(path=path), register_as="fan", from_us=from_us)

    replay(settings, database, plan)
    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.stored == 2)

    with session(database) as on:
        (found,) = history.read_history(on, ["fan-3"], 0, 2**62)
    assert found.instants_us.tolist() == [from_us, from_us + 2_500_000]


@pytest.mark.skipif(not SKAB.is_dir(), reason="MILLWRIGHT_DATA/skab is not here")
def test_a_run_of_the_testbed_is_stored_whole(
    settings: KafkaSettings, database: StorageSettings
) -> None:
    """A real file with semicolons and label columns comes back bit-equal."""
    path = min((SKAB / "valve1").glob("*.csv"))
    spec = FileSpec(path=path, machine="valve", exclude=frozenset({"anomaly", "changepoint"}))
    wanted = list(read(spec))

    sent = replay(settings, database, ReplayPlan(spec=spec, register_as="testbed"))
    with running(Ingestion(settings, database)) as ingestion:
        until(lambda: ingestion.totals.consumed == sent.readings)

    assert stored(database) == sent.readings == sum(map(len, wanted)) > 500
    with session(database) as on:
        (found,) = history.read_history(on, ["valve"], 0, 2**62)
    assert np.array_equal(found.values, np.vstack([piece.values for piece in wanted]))
