"""Runs, artifacts, versions and aliases in a real MLflow server and in a real store."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from domain.errors import ServiceUnavailableError
from ray_app.aliases import AliasFollower
from storage import models, roster_store
from storage.connect import Connection, session
from storage.settings import StorageSettings
from tests.integration.test_models import version
from tests.tuning_support import FAN
from tuning import registry
from tuning.objective import Outcome, TrialRecord
from tuning.run_log import RunLog
from tuning.settings import TuningSettings
from tuning.tracking import EXPERIMENT, Tracking


@pytest.fixture
def tracking(mlflow_server: str) -> Tracking:
    """Return an open connection to the server."""
    opened = Tracking(mlflow_server)
    opened.open(10)
    return opened


def registered(tracking: Tracking, name: str, above: int = 0) -> int:
    """Register a version of a small model."""
    run = tracking.start_run("made")
    tracking.log_files(run, "model", {"pipeline.millwright": b"\x00bytes"})
    return tracking.register(name, run, "model", above=above, tags={"sweep": "s"})


def store_version(on: Connection, kind: str, number: int) -> None:
    """Register a class and store a version of its model in Postgres."""
    roster_store.register_class(on, type(FAN)(name=kind, sensors=FAN.sensors))
    made = replace(version(number, b"%d" % number), machine_class=kind, run_id="")
    models.add_version(on, made, actor="test", reason="")


def test_a_run_keeps_what_is_logged(tracking: Tracking, mlflow_server: str) -> None:
    """Parameters, figures, tags and files, below a parent, with the state it ended in."""
    from mlflow.tracking import MlflowClient

    parent = tracking.start_run("parent")
    child = tracking.start_run("child", parent=parent, tags={"stage": "screen"})
    tracking.log(child, params={"k": 8, "long": "x" * 900}, metrics={"objective": 0.5})
    tracking.log_files(child, "report", {"a.txt": b"one", "b.bin": bytes(range(256))})
    tracking.end_run(child, "FAILED")

    found = MlflowClient(mlflow_server).get_run(child)
    assert found.info.status == "FAILED"
    assert found.data.params["k"] == "8"
    assert found.data.metrics == {"objective": 0.5}
    assert found.data.tags["mlflow.parentRunId"] == parent
    assert tracking.read_file(child, "report/b.bin") == bytes(range(256))


def test_versions_count_up_and_aliases_point(tracking: Tracking) -> None:
    """A second connection finds what the first registered."""
    assert tracking.aliases("counted") == {}
    assert [registered(tracking, "counted") for _ in range(2)] == [1, 2]
    tracking.alias("counted", "champion", 2)
    tracking.alias("counted", "previous", 1)
    assert tracking.aliases("counted") == {"champion": 2, "previous": 1}
    tracking.alias("counted", "previous", None)
    assert tracking.aliases("counted") == {"champion": 2}


def test_a_registry_that_began_again_catches_up(tracking: Tracking) -> None:
    """Numbers that Postgres has given already are not given twice."""
    assert registered(tracking, "lost", above=3) == 4
    assert registered(tracking, "lost", above=4) == 5


def test_a_store_without_server_works_too(tmp_path: Path) -> None:
    """The tracking URI may be a database; artifacts go where they are told to."""
    opened = Tracking(f"sqlite:///{tmp_path / 'm.db'}", str(tmp_path / "artifacts"))
    opened.open(0)
    assert registered(opened, "local") == 1
    assert list((tmp_path / "artifacts").rglob("pipeline.millwright"))
    assert EXPERIMENT == "millwright"


def test_an_mlflow_that_is_away_is_told_in_time() -> None:
    """By our own error, after the time that was given; or at once, when nobody waits any more."""
    with pytest.raises(ServiceUnavailableError, match="MLflow is not available"):
        Tracking("http://127.0.0.1:9").open(0.1)
    given_up = Event()
    given_up.set()
    with pytest.raises(ServiceUnavailableError):
        Tracking("http://127.0.0.1:9").open(600, give_up=given_up)


def test_what_is_not_there_is_told_by_our_error(tracking: Tracking) -> None:
    """No MLflow exception leaves the room."""
    with pytest.raises(ServiceUnavailableError):
        tracking.log("0" * 32, metrics={"a": 1.0})
    with pytest.raises(ServiceUnavailableError):
        tracking.read_file("0" * 32, "nothing")
    with pytest.raises(ServiceUnavailableError):
        tracking.alias("nobody", "champion", 1)


def test_a_sweep_that_fails_ends_its_runs(mlflow_server: str) -> None:
    """Its trials are kept, its run is marked as failed; nobody waits for an MLflow that is away."""
    from mlflow.tracking import MlflowClient

    log = RunLog(Tracking(mlflow_server), "failing", tags={}, within_s=10)
    outcome = Outcome(metrics={"objective": -1.0}, seconds=0.1, failure="too little")
    log.trial(TrialRecord(number=0, stage="screen", spec=None, outcome=outcome))
    assert log.drain() is not None
    log.abandon()
    assert log.parent is not None
    client = MlflowClient(mlflow_server)
    child = client.get_run(log.children[0])
    assert (child.info.status, child.data.tags["failure"]) == ("FAILED", "too little")

    away = RunLog(Tracking("http://127.0.0.1:9"), "away", tags={}, within_s=600)
    away.abandon()
    assert away.drain() is None
    assert "MLflow is not available" in away.trouble


def until(holds: Callable[[], bool]) -> None:
    """Await a condition for half a minute."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def test_a_promotion_over_http_moves_the_aliases_and_what_failed_is_tried_again(
    database: StorageSettings, tracking: Tracking, mlflow_server: str
) -> None:
    """Only Postgres is told; a version that MLflow lacks holds up its own class alone."""

    def store(kind: str, number: int) -> None:
        with session(database) as on:
            store_version(on, kind, number)

    def promote(kind: str, number: int) -> None:
        with session(database) as on:
            models.promote(on, kind, number, actor="over http", reason="")

    for number in (1, 2):
        assert registered(tracking, "a-soon") == number
        store("a-soon", number)
        store("a-late", number)
    assert registered(tracking, "a-late") == 1
    promote("a-late", 2)
    promote("a-soon", 1)
    settings = TuningSettings(tracking_uri=mlflow_server)
    follower = AliasFollower(database, settings, poll_s=0.05, pauses_s=(0.1, 0.2))
    follower.start()
    try:
        until(lambda: tracking.aliases("a-soon") == {"champion": 1})
        promote("a-soon", 2)
        until(lambda: tracking.aliases("a-soon") == {"champion": 2, "previous": 1})
        with session(database) as on:
            models.rollback(on, "a-soon", actor="over http", reason="")
        until(lambda: tracking.aliases("a-soon") == {"champion": 1})
        assert tracking.aliases("a-late") == {}
        assert registered(tracking, "a-late") == 2
        until(lambda: tracking.aliases("a-late") == {"champion": 2})
        until(follower.follow)
    finally:
        follower.close()
    with session(database) as on:
        assert registry.behind(on, tracking) == []


def test_postgres_decides_and_aliases_follow(
    database: StorageSettings, tracking: Tracking, mlflow_server: str
) -> None:
    """Promotion, rollback, and a promotion that MLflow missed are all brought to the aliases."""
    settings = TuningSettings(tracking_uri=mlflow_server)
    kind = "followed"
    with session(database) as on:
        for number in (1, 2, 3):
            assert registered(tracking, kind) == number
            store_version(on, kind, number)
    for number in (1, 2):
        assert registry.promote(database, settings, kind, number, actor="me", reason="") == ""
    assert tracking.aliases(kind) == {"champion": 2, "previous": 1}
    assert registry.rollback(database, settings, kind, actor="me", reason="") == (1, "")
    assert tracking.aliases(kind) == {"champion": 1}

    away = TuningSettings(tracking_uri="sqlite:////nonexistent/folder/m.db")
    assert "aliases were not moved" in registry.promote(
        database, away, kind, 3, actor="me", reason=""
    )
    assert tracking.aliases(kind) == {"champion": 1}
    with session(database) as on:
        behind = registry.behind(on, tracking)
        assert registry.reconcile(on, tracking) == behind
        assert registry.behind(on, tracking) == []
    assert [str(one) for one in behind] == [
        f"champion of {kind}: 1 → 3",
        f"previous of {kind}: None → 1",
    ]
    assert registry.promote(database, None, kind, 2, actor="me", reason="") == ""
