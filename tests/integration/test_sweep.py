"""Whole sweeps: real Postgres, real Ray, a real MLflow server."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
from ray.tune.search.optuna import optuna_search

from domain.errors import (
    BadInputError,
    ConflictError,
    NotFoundError,
    PlatformError,
    ServiceUnavailableError,
)
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from observability.catalogue import SWEEP_TRIALS
from observability.metric import Metric, NoMetrics
from storage import failures, models, shadow, sweep_history, sweeps
from storage.connect import rows, session
from storage.history import instant
from storage.settings import StorageSettings
from storage.shadow import Tally
from tests.tuning_support import FAN, START_US, store
from tuning import data
from tuning.course import selection
from tuning.promotion import Gate
from tuning.settings import TuningSettings
from tuning.sweep import run_sweep
from tuning.tracking import Tracking

QUICK = TuningSettings(
    tracking_uri="http://127.0.0.1:9",  # the discard port: nobody listens
    tracking_wait_s=0.2,
    trials=3,
    finalists=2,
    screen_rows=800,
    confirm_rows=2000,
    replays=2,
    gate=Gate(min_detection=0.0),
)


@pytest.fixture(scope="module")
def cluster(run_home: Path) -> Iterator[None]:
    """Run a small Ray cluster for this module."""
    from ray_app import cluster as ray_cluster
    from ray_app.embedded.ports import free_port

    before = dict(os.environ)
    with ray_cluster.local(run_home / "sweep-ray", dashboard_port=free_port(), cpus=2):
        yield
    os.environ.clear()
    os.environ.update(before)


class Counted(NoMetrics):
    """Counts what a sweep reports."""

    def __init__(self) -> None:
        self.trials: dict[str, float] = {}

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Count and check."""
        super().add(metric, amount, **labels)
        if metric is SWEEP_TRIALS:
            self.trials[labels["outcome"]] = self.trials.get(labels["outcome"], 0) + amount


def sweeps_of(storage: StorageSettings) -> list[Any]:
    """Return sweeps, newest first."""
    with session(storage) as on:
        return list(sweep_history.listed(on))


@pytest.mark.usefixtures("cluster")
def test_a_sweep_ends_in_a_champion_that_mlflow_knows(
    database: StorageSettings, mlflow_starting: str
) -> None:
    """From stored readings to champion: nested runs, artifacts, version, aliases, events, package.

    The server is not up when the sweep begins; the sweep does not wait for it with its trials.
    """
    store(database)
    settings = replace(QUICK, tracking_uri=mlflow_starting, tracking_wait_s=240.0)
    counted, said = Counted(), list[str]()
    outcome = run_sweep(database, settings, say=said.append, actor="a test", metrics=counted)

    assert outcome.promoted, outcome.reason
    assert (outcome.trials, outcome.failed, outcome.version) == (5, 0, 1)
    assert outcome.trouble == ""
    assert counted.trials == {"finished": 5}
    assert sum("objective" in line for line in said) == 5
    assert outcome.spec == PipelineSpec() or any("against the default" in line for line in said)
    _check_storage(database, outcome)
    _check_runs(mlflow_starting, outcome)

    again = run_sweep(database, settings, "fan", actor="a test")
    assert (again.version, again.promoted) == (2, False), again.reason
    assert "is needed" in again.reason
    tracking = Tracking(mlflow_starting)
    tracking.open(10)
    assert tracking.aliases("fan") == {"champion": 1, "challenger": 2}
    assert [one.state for one in sweeps_of(database)] == ["succeeded", "succeeded"]


def _check_storage(database: StorageSettings, outcome: Any) -> None:
    with session(database) as on:
        stored = models.champion(on, "fan")
        events = [(one.event, one.actor) for one in models.history(on, "fan")]
    assert stored is not None
    assert (stored.version, stored.run_id) == (1, outcome.run_id)
    assert events == [("promoted", "a test"), ("trained", "a test")]
    pipeline = Pipeline.from_package(stored.package)
    assert pipeline.spec == outcome.spec
    # The whole history, not only the part that was judged.
    assert pipeline.about["rows"] == 2400
    assert stored.params["to_us"] == START_US + 1199 * 500_000
    assert stored.metrics["objective"] == pytest.approx(outcome.objective)
    (sweep,) = sweeps_of(database)
    assert (sweep.state, sweep.trials, sweep.version) == ("succeeded", 5, 1)
    assert sweep.run_id == outcome.run_id


def _check_runs(uri: str, outcome: Any) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    parent = client.get_run(outcome.run_id)
    children = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{outcome.run_id}'"
    )
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["decision"] == "promoted"
    assert parent.data.metrics["objective"] == pytest.approx(outcome.objective)
    assert len(children) == 5
    assert {one.info.status for one in children} == {"FINISHED"}
    assert all("objective" in one.data.metrics for one in children)
    assert all("window_s" in one.data.params for one in children)
    finalists = [one for one in children if one.data.tags["stage"] == "confirm"]
    assert len(finalists) == 2
    for one in finalists:
        assert [file.path for file in client.list_artifacts(one.info.run_id, "report")] == [
            "report/scores.png"
        ]
    files = {
        file.path
        for folder in ("model", "report")
        for file in client.list_artifacts(outcome.run_id, folder)
    }
    assert files == {
        "model/pipeline.millwright",
        "model/manifest.json",
        "report/contributions.png",
        "report/model_card.md",
        "report/parallel_coordinates.png",
        "report/roc.png",
        "report/scores.png",
        "report/timeline.png",
    }
    tracking = Tracking(uri)
    tracking.open(10)
    assert tracking.aliases("fan") == {"champion": 1, "challenger": 1}
    package = tracking.read_file(outcome.run_id, "model/pipeline.millwright")
    assert Pipeline.from_package(package).spec == outcome.spec
    picture = tracking.read_file(outcome.run_id, "report/timeline.png")
    assert picture.startswith(b"\x89PNG")


@pytest.mark.usefixtures("cluster")
def test_without_mlflow_a_model_still_serves_and_equal_seeds_give_it_again(
    database: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version is ours then, and the outcome says what is missing.

    One trial at a time, the same history and seed: the same choice and the same bytes. That a
    stalled machine takes a second for a draw is nothing to warn of.
    """
    monkeypatch.setattr(optuna_search, "DEFINE_BY_RUN_WARN_THRESHOLD_S", -1.0)
    store(database)
    one, two = (run_sweep(database, replace(QUICK, max_concurrent=1)) for _ in range(2))

    assert (one.version, one.promoted, one.run_id) == (1, True, "")
    assert "not recorded in MLflow" in one.trouble
    assert (two.version, two.promoted, two.spec) == (2, False, one.spec)
    assert two.figures == one.figures
    with session(database) as on:
        assert models.versions(on)["fan"][0] == 1
        first, second = (models.get(on, "fan", version) for version in (1, 2))
    assert first.sha256 == second.sha256
    _check_shadow_is_read(database)


@pytest.mark.usefixtures("cluster")
def test_a_failure_that_nobody_told_of_is_not_learnt_from(database: StorageSettings) -> None:
    """It is said by machine and time, kept with the model, and a person may call it healthy."""
    names = ("fan-1", "fan-2", "fan-3", "fan-4")
    store(database, names, rows=3000)
    failing = (START_US + 900_000_000, START_US + 1_050_000_000)
    with session(database) as on:
        rows(
            on,
            "UPDATE readings SET values[1] = values[1] + 3 FROM machines AS m "
            "WHERE machine_key = m.key AND m.name = 'fan-2' AND instant BETWEEN %s AND %s",
            tuple(map(instant, failing)),
        )
    said = list[str]()
    outcome = run_sweep(database, replace(QUICK, trials=2), say=said.append)

    (line,) = (one for one in said if "stand far out" in one)
    assert "fan-2 2026-" in line
    with session(database) as on:
        stored = models.get(on, "fan", outcome.version)
    (stretch,) = stored.params["unusual"]
    assert stretch["machine"] == "fan-2"
    assert stretch["from_us"] <= failing[0] <= failing[1] <= stretch["to_us"]
    about = Pipeline.from_package(stored.package).about
    assert about["unusual"] == [stretch]
    assert about["rows"] == 12_000 - stretch["rows"]

    with session(database) as on:
        rows(
            on,
            "INSERT INTO incidents (machine_key, kind, state, began, opened, last_seen, closed,"
            " peak_score, root_sensor, model_version, feedback) SELECT key, 'machine', 'closed',"
            " %s, %s, %s, %s, 2, 'flow', 1, 'false' FROM machines WHERE name = 'fan-2'",
            tuple(instant(at) for at in (failing[0], failing[0], stretch["to_us"], failing[1])),
        )
        dataset = data.read(on, "fan", selection(QUICK)).cleaned(seed=0)
    assert not any(one.from_us <= failing[1] <= one.to_us for one in dataset.unusual)


def _check_shadow_is_read(database: StorageSettings) -> None:
    """The gate heeds what an earlier version of the same configuration did in shadow."""
    settings = replace(QUICK, max_concurrent=1)
    tally = Tally(
        machine_class="fan",
        champion=1,
        challenger=2,
        readings=5000,
        champion_alerts=10,
        challenger_alerts=4000,
        both_alerts=10,
    )
    with session(database) as on:
        shadow.add(on, [tally])
    loud = run_sweep(database, settings)

    assert (loud.version, loud.promoted) == (3, False)
    assert loud.reason == "version 2 alarms on 80.0% of the live readings, 30% are allowed"


@pytest.mark.usefixtures("cluster")
def test_what_people_labelled_is_a_second_objective_and_is_told(database: StorageSettings) -> None:
    """Every trial is judged by it, the model carries its figures and the decision names it."""
    store(database)
    label = failures.Label(
        machine="fan-1",
        kind="wear",
        source="operator",
        onset_us=START_US + 400_000_000,
        end_us=START_US + 420_000_000,
    )
    with session(database) as on:
        failures.add(on, [label])
    said = list[str]()
    outcome = run_sweep(database, QUICK, say=said.append)

    assert "second objective: 1 periods that people judged" in said
    assert sum("by labels" in line for line in said) == 5
    assert outcome.figures["label_periods"] == 1
    assert -1 <= outcome.figures["label_objective"] <= 1
    assert "of 1 labelled failures" in outcome.reason
    with session(database) as on:
        stored = models.get(on, "fan", outcome.version)
    assert stored.metrics["label_recall"] == outcome.figures["label_recall"]


@pytest.mark.usefixtures("cluster")
def test_a_champion_of_other_sensors_is_replaced(database: StorageSettings) -> None:
    """A class that gained a sensor gets a new model, although the old one cannot be compared."""
    few = MachineClass(name="fan", sensors=FAN.sensors[:4], period_s=0.5)
    store(database, kind=few)
    with session(database) as on:
        history = data.read(on, "fan", selection(QUICK)).histories
        package = Pipeline.fit(PipelineSpec(detector="pca"), history, few, seed=0).to_package()
        made = models.StoredModel(
            machine_class="fan",
            version=1,
            run_id="",
            sha256=hashlib.sha256(package).hexdigest(),
            package=package,
        )
        models.add_version(on, made, actor="test", reason="trained")
        models.promote(on, "fan", 1, actor="test", reason="the first")
    store(database, start_us=START_US + 1_200_000_000)
    outcome = run_sweep(database, replace(QUICK, lookback_hours=0.16))

    assert outcome.promoted
    assert "other sensors" in outcome.reason


@pytest.mark.usefixtures("cluster")
def test_a_trial_that_is_killed_is_recorded_and_skipped(database: StorageSettings) -> None:
    """A trial's process that dies, as by a lack of memory, costs its trial and not the sweep."""
    store(database)
    first, over = Event(), Event()

    def begin(line: str) -> None:
        if line.startswith("trial 0"):
            first.set()

    settings = replace(QUICK, trials=6, max_concurrent=1)
    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(_kill_a_trial_at_work, first, over)
        try:
            outcome = run_sweep(database, settings, say=begin)
        finally:
            over.set()
            first.set()

    assert killing.result()
    assert (outcome.trials, outcome.failed, outcome.promoted) == (8, 1, True)


def _kill_a_trial_at_work(begin: Event, over: Event) -> bool:
    """Kill the trials' process of this test's own cluster in the middle of a trial.

    Ray writes into a process's title which method it runs. The process is stopped before it is
    looked at for the last time, so that the trial cannot end in between.
    """
    begin.wait()
    while not over.is_set():
        for one in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if not _works(one):
                    continue
                one.suspend()
                if _works(one):
                    one.kill()
                    return True
                one.resume()
    return False


def _works(process: psutil.Process) -> bool:
    return process.cmdline()[:1] == ["ray::ResourceTrainable.train"]


@pytest.mark.usefixtures("cluster")
def test_nothing_but_failed_trials_is_told_with_the_first_reason(
    database: StorageSettings,
) -> None:
    """No model comes of it; the sweep is recorded as failed, and the class is free again."""
    store(database)
    with pytest.raises(
        PlatformError,
        match=r"none of 3 trials could be judged; the first: .*14 readings of history",
    ):
        run_sweep(database, replace(QUICK, screen_rows=20))
    (sweep,) = sweeps_of(database)
    assert (sweep.state, sweep.trials) == ("failed", 3)
    with session(database) as on:
        assert models.latest_version(on, "fan") == 0
        assert not sweeps.attempts(on, "fan").running


def test_what_cannot_be_swept_is_told(database: StorageSettings) -> None:
    """Nothing is known; too little is stored; another sweep runs; a name is wrong."""
    with pytest.raises(BadInputError, match="no machine is known"):
        run_sweep(database, QUICK)
    store(database, rows=100)
    with pytest.raises(BadInputError, match="200 readings of 2 machines"):
        run_sweep(database, QUICK)
    with pytest.raises(NotFoundError, match="nobody"):
        run_sweep(database, QUICK, "nobody")
    with sweeps.alone(database, "fan"), pytest.raises(ConflictError, match="under way"):
        run_sweep(database, QUICK)
    other = MachineClass(name="other", sensors=FAN.sensors, period_s=0.5)
    store(database, ("other-1",), rows=10, kind=other)
    with pytest.raises(BadInputError, match="several machine classes: fan, other"):
        run_sweep(database, QUICK)
    assert [one.state for one in sweeps_of(database)] == ["failed"]


@pytest.mark.usefixtures("cluster")
def test_a_cluster_without_room_is_told(database: StorageSettings) -> None:
    """Instead of waiting for ever."""
    store(database)
    with pytest.raises(ServiceUnavailableError, match="a trial sets 64 aside"):
        run_sweep(database, replace(QUICK, trial_cpus=64))


@pytest.mark.usefixtures("cluster")
def test_the_retrainer_trains_what_is_due(database: StorageSettings) -> None:
    """The first model as soon as there is enough; then not before there is cause and new data."""
    from ray_app.retrainer_actor import RetrainerActor

    store(database)
    settings = replace(QUICK, cooldown_s=0.0)
    retrainer = RetrainerActor(database, settings, poll_s=0.05)
    worker = Thread(target=retrainer.run)
    worker.start()
    try:
        _until(lambda: "only 0 of 2400 readings are new" in _reason(retrainer))
    finally:
        retrainer.stop()
        worker.join()
    with session(database) as on:
        (trained, promoted) = reversed(models.history(on, "fan"))
    assert (trained.event, promoted.event) == ("trained", "promoted")
    assert {trained.actor, promoted.actor} == {"retrainer"}
    assert "; there is no champion yet" in trained.reason

    store(database, rows=600, start_us=START_US + 600_000_000)
    retrainer = RetrainerActor(database, settings)
    retrainer.look()
    assert "nothing asks for a training" in _reason(retrainer)
    with session(database) as on:
        rows(on, "UPDATE models SET created_at = created_at - interval '2 hours'")
    retrainer.look()
    assert "every 3600 s is asked for" in _reason(retrainer)
    with session(database) as on:
        assert models.latest_version(on, "fan") == 2


@pytest.mark.usefixtures("cluster")
def test_the_retrainer_runs_what_was_asked_for(database: StorageSettings) -> None:
    """With the wishes of who asked, in his name, under the id he was given; one at a time."""
    from ray_app.retrainer_actor import RetrainerActor

    store(database)
    wish = sweeps.Wish(sweep="asked-1", machine_class="fan", actor="ada", trials=2)
    with session(database) as on:
        sweeps.ask(on, wish)
        with pytest.raises(ConflictError, match="waits or is under way"):
            sweeps.ask(on, replace(wish, sweep="asked-2"))
    retrainer = RetrainerActor(database, replace(QUICK, trials=5))
    with sweeps.alone(database, "fan"):
        retrainer.answer()
        assert [one.state for one in sweeps_of(database)] == ["queued"]
    retrainer.answer()
    (sweep,) = sweeps_of(database)
    with session(database) as on:
        trained, promoted = reversed(models.history(on, "fan"))

    assert (sweep.id, sweep.state, sweep.asked_by, sweep.version) == (
        "asked-1",
        "succeeded",
        "ada",
        1,
    )
    assert 2 <= sweep.trials < 5
    assert promoted.actor == "retrainer"
    assert "ada asked for it" in trained.reason


def _reason(retrainer: Any) -> str:
    verdict = retrainer.verdicts().get("fan")
    return verdict.reason if verdict else ""


def _until(holds: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = monotonic() + within_s
    while not holds():
        assert monotonic() < deadline
        sleep(0.05)
