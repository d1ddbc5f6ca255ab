"""`millwright backtest` over readings, labels, incidents and models in a real PostgreSQL."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.class_files import load_class
from domain.incidents import IncidentRules
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.scorecard.backtest import history_run
from domain.scorecard.protocol import score_rest
from domain.simulation.fleet import Fleet
from ray_app.cli.main import run
from storage import failures, maintenance, models, offsets, roster_store, verdicts
from storage.connect import rows, session
from storage.history import instant
from storage.models import StoredModel
from storage.readings import ReadingStore, StoreBatch
from storage.settings import StorageSettings
from tests import environments

START_US = 1_790_000_000_000_000
LEARNT_S, ONSET_S, LIVED_S = 2400, 3000, 4200
PUMPS = load_class("pump")
NAMES = ("p-0", "p-1")

type Told = Callable[..., dict[str, Any]]


class Site:
    """Two pumps of which one wears out, stored as the ingestion stores them."""

    def __init__(self, storage: StorageSettings) -> None:
        self.storage = storage
        fleet = Fleet.create(PUMPS, NAMES, start_us=START_US, seed=5)
        self.failure = fleet.inject("p-1", "bearing_wear", onset_us=START_US + ONSET_S * 1_000_000)
        chunks = fleet.advance(START_US + LIVED_S * 1_000_000)
        self.histories = [
            History(machine=NAMES[at], instants_us=instants, values=values)
            for at, instants, values in chunks
        ]
        with session(storage) as on:
            roster_store.register_class(on, PUMPS.machine_class)
            self.machines = roster_store.register_machines(on, NAMES, "pump")
        batches = tuple(
            ReadingBatch(
                machine_class=PUMPS.machine_class,
                machine_keys=np.full(len(one), self.machines[one.machine].key, dtype=np.int32),
                instants_us=one.instants_us,
                values=one.values,
            )
            for one in self.histories
        )
        topic = offsets.Topic(name="history", id="history")
        with ReadingStore.open(storage) as into:
            into.write(
                StoreBatch(group_id="t", topic=topic, readings=batches, quarantined=(), steps=())
            )

    def label(self) -> None:
        """Write down what truly happened."""
        one = self.failure
        with session(self.storage) as on:
            failures.add(
                on,
                [
                    failures.Label(
                        machine=one.machine,
                        kind=one.kind,
                        source="operator",
                        onset_us=one.onset_us,
                        end_us=one.end_us,
                        sensors=one.sensors,
                    )
                ],
            )

    def learn(self) -> Pipeline:
        """Store and promote a model of the healthy time; return it."""
        until = START_US + LEARNT_S * 1_000_000
        healthy = [_before(one, until) for one in self.histories]
        pipeline = Pipeline.fit(PipelineSpec(), healthy, PUMPS.machine_class, seed=0)
        package = pipeline.to_package()
        model = StoredModel(
            machine_class="pump",
            version=1,
            run_id="",
            sha256=hashlib.sha256(package).hexdigest(),
            package=package,
        )
        with session(self.storage) as on:
            models.add_version(on, model, actor="test", reason="trained")
            models.promote(on, "pump", 1, actor="test", reason="the first")
        return pipeline

    def tell(self, began_us: int, closed_us: int) -> None:
        """Store an incident of the worn pump, as the scorer told it."""
        incident = verdicts.Incident(
            machine_key=self.machines["p-1"].key,
            kind="machine",
            began_us=began_us,
            opened_us=began_us,
            last_seen_us=closed_us,
            closed_us=closed_us,
            peak_score=3.0,
            anomalies=9,
            root_sensor="vibration_de",
            model_version=1,
        )
        with session(self.storage) as on:
            verdicts.open_incident(on, incident)
            verdicts.update_incident(on, incident)


def _before(one: History, until_us: int) -> History:
    kept = one.instants_us < until_us
    return History(machine=one.machine, instants_us=one.instants_us[kept], values=one.values[kept])


@pytest.fixture
def site(database: StorageSettings) -> Site:
    """Return the plant."""
    return Site(database)


@pytest.fixture
def told(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Told:
    """Run `millwright backtest … --json`; return the last line it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLWRIGHT_HOME", str(tmp_path / "home"))
    for name, value in environments.postgres(site.storage).items():
        monkeypatch.setenv(name, value)

    def call(*words: str, code: int = 0) -> dict[str, Any]:
        assert run(["backtest", *words, "--json"]) == code
        seen = capsys.readouterr()
        return dict(json.loads((seen.out if code == 0 else seen.err).splitlines()[-1]))

    return call


def test_labelled_history_gets_the_figures_of_the_scorecard(site: Site, told: Told) -> None:
    """The wear is met, its sensor named, and both machines and every baseline are there."""
    site.label()

    card = told("--seeds", "2", "--learn", "0.5")

    assert card["labelled"] is True
    assert (card["events"], card["events_detected"], card["hit_at_1"]) == (1, 1, 1.0)
    assert 0 < card["median_delay_s"] < 300
    assert card["far"] < 10
    assert set(card["per_file"]) == set(NAMES)
    assert card["spread"]["f1"]["sd_over_seeds"] >= 0
    assert card["baselines"]["always_alarm"]["far"] == 100.0


def test_without_labels_alarms_and_their_agreement_with_incidents_are_told(
    site: Site, told: Told
) -> None:
    """One stored incident is met again, one of another hour is not; F1 is not made up."""
    onset, minute = site.failure.onset_us, 60_000_000
    site.tell(onset + 3 * minute, onset + 8 * minute)
    site.tell(START_US + 41 * minute, START_US + 42 * minute)

    # A single machine, and not much of it: half of its history says too little of its wandering.
    card = told("p-1", "--seeds", "1", "--learn", f"{LEARNT_S / LIVED_S:.3f}")

    assert (card["labelled"], card["f1"]) == (False, None)
    assert card["alarms"] > 100
    assert card["alarm_rate"] == pytest.approx(card["far_unlabelled"])
    assert (card["stored_incidents"], card["stored_incidents_met"]) == (2, 1)
    assert card["changes"] == len(card["machines"]["p-1"]["changes_us"])
    line = card["machines"]["p-1"]["timeline"]
    peak = max(line, key=lambda one: float(one["score_max"]))
    assert onset <= peak["from_us"] <= site.failure.end_us + 5 * minute


def test_a_named_model_gives_the_scores_that_the_stream_would_have_given(
    site: Site, told: Told
) -> None:
    """Nothing is learnt, what the model was trained on is not judged, and scores are equal."""
    site.label()
    pipeline = site.learn()

    card = told("--model", "champion")

    worn = site.histories[1]
    learnt = int(np.searchsorted(worn.instants_us, START_US + LEARNT_S * 1_000_000))
    run_of = history_run(worn, PUMPS.machine_class, None, learnt_rows=learnt)
    wanted = score_rest(pipeline, run_of, rules=IncidentRules())
    one = card["machines"]["p-1"]
    assert one["readings"] == len(wanted.score)
    assert one["alarms"] == int(wanted.told.sum())
    assert max(each["score_max"] for each in one["timeline"]) == pytest.approx(
        float(wanted.score.max()), rel=1e-9
    )
    assert (card["events_detected"], card["baselines"]) == (1, {})


def test_a_period_is_judged_with_what_was_stored_before_it(site: Site, told: Told) -> None:
    """Windows and baselines are filled by readings before `--from`, which are not judged."""
    site.learn()
    begin = datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(seconds=ONSET_S)

    card = told("p-0", "--model", "1", "--from", begin.isoformat())

    assert card["readings"] == int(
        (site.histories[0].instants_us >= START_US + ONSET_S * 1_000_000).sum()
    )
    assert card["alarms"] == 0


@pytest.mark.parametrize("before_s", [0, 300])
def test_a_repair_that_somebody_told_of_is_heeded(site: Site, told: Told, before_s: int) -> None:
    """The machine stays elsewhere; with the word nothing is told, whether it lies in the period."""
    repaired_us = START_US + ONSET_S * 1_000_000
    model = ("p-0", "--model", "1")
    site.learn()
    with session(site.storage) as on:
        column = PUMPS.machine_class.position["vibration_de"]
        rows(
            on,
            f"UPDATE readings SET values[{column + 1}] = values[{column + 1}] + %s"
            " WHERE instant >= %s AND machine_key = %s",
            (
                float(8 * site.histories[0].values[:, column].std()),
                instant(repaired_us),
                site.machines["p-0"].key,
            ),
        )
    begin = ("--from", instant(repaired_us + before_s * 1_000_000).isoformat())
    assert told(*model, *begin)["alarms"] > 100

    with session(site.storage) as on:
        maintenance.repaired(on, machine="p-0", at=instant(repaired_us), who="ada")
    card = told(*model, *begin)

    assert (card["alarms"], card["incidents"]) == (0, 0)
    assert card["readings"] > 1000


def test_what_cannot_be_judged_is_said(told: Told) -> None:
    """Unknown machines, versions and classes, no champion, too little history."""
    assert "nobody" in told("nobody", code=4)["detail"]
    assert "version 7" in told("--model", "7", code=4)["detail"]
    assert "'newest' is no version" in told("--model", "newest", code=2)["detail"]
    assert "champion" in told("--model", "champion", code=3)["detail"]
    assert "turbine" in told("--class", "turbine", code=4)["detail"]
    assert "'noon'" in told("--from", "noon", code=2)["detail"]
    assert "no machine has 60 readings" in told("--to", "2020-01-01T00:00:00Z", code=2)["detail"]
