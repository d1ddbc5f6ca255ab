"""The whole learning core against the simulator's truth: a seeded fleet that runs, then fails."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from domain.accounting import Account, Alarm, Fault, settle
from domain.class_files import load_class
from domain.incident_tracker import IncidentTracker
from domain.incidents import Change, IncidentEvent, IncidentRules, sensor_rows
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.scores import Scores
from domain.simulation.failures import Failure
from domain.simulation.fleet import Fleet

START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
MACHINES = tuple(f"m{at}" for at in range(8))


@dataclass(frozen=True, kw_only=True)
class Exam:
    """An hour to learn from, an hour of health, then every machine fails once."""

    fleet: Fleet
    learnt: dict[str, History]
    lived: dict[str, History]
    failures: dict[str, Failure]


def advance(fleet: Fleet, until_us: int) -> dict[str, History]:
    """Return what each machine sent."""
    return {
        fleet.names[at]: History(machine=fleet.names[at], instants_us=instants, values=values)
        for at, instants, values in fleet.advance(until_us)
    }


@pytest.fixture(scope="module", params=["pump", "fan"])
def exam(request: pytest.FixtureRequest) -> Exam:
    """Return a fleet of each shipped class."""
    fleet = Fleet.create(load_class(request.param), MACHINES, start_us=START_US, seed=11)
    learnt = advance(fleet, START_US + HOUR_US)
    onset_us = START_US + 2 * HOUR_US
    failures = {
        name: fleet.inject(name, fleet.modes[at % len(fleet.modes)], onset_us=onset_us)
        for at, name in enumerate(MACHINES)
    }
    return Exam(
        fleet=fleet,
        learnt=learnt,
        lived=advance(fleet, onset_us + HOUR_US // 3),
        failures=failures,
    )


@dataclass(frozen=True, kw_only=True)
class Story:
    """What was said about a machine: when, and which sensor was blamed."""

    alarms: tuple[Alarm, ...]
    roots: tuple[str, ...]


def watch(pipeline: Pipeline, exam: Exam, machine: str) -> Story:
    """Score one machine as the stream would and follow its incidents."""
    past, one = exam.learnt[machine], exam.lived[machine]
    state, rows = pipeline.new_state(machine), pipeline.warmup_rows
    pipeline.score(state, past.instants_us[-rows:], past.values[-rows:])
    scores = pipeline.score(state, one.instants_us, one.values)
    closed = [
        event.incident
        for events in (_machine_events(one, scores), _sensor_events(one, scores))
        for event in events
        if event.change is Change.CLOSED
    ]
    names = pipeline.machine_class.sensor_names
    return Story(
        alarms=tuple(
            Alarm(machine=machine, raised_us=each.opened_us, cleared_us=each.closed_us)
            for each in closed
        ),
        roots=tuple(
            names[each.root] for each in closed if each.opened_us >= exam.failures[machine].onset_us
        ),
    )


def _machine_events(one: History, scores: Scores) -> list[IncidentEvent]:
    tracker = IncidentTracker(IncidentRules())
    events = tracker.advance(one.instants_us, scores.score, scores.contributions, scores.ready)
    return [*events, *tracker.quiet_until(int(one.instants_us[-1]) + HOUR_US)]


def _sensor_events(one: History, scores: Scores) -> list[IncidentEvent]:
    tracker = IncidentTracker(IncidentRules())
    events = tracker.advance(one.instants_us, *sensor_rows(scores.sensor_faults))
    return [*events, *tracker.quiet_until(int(one.instants_us[-1]) + HOUR_US)]


def account(exam: Exam, stories: dict[str, Story]) -> Account:
    """Hold the stories against the truth."""
    return settle(
        [
            Fault(machine=each.machine, kind=each.kind, onset_us=each.onset_us, end_us=each.end_us)
            for each in exam.failures.values()
        ],
        [alarm for story in stories.values() for alarm in story.alarms],
        machines=len(MACHINES),
        watched_us=HOUR_US + HOUR_US // 3,
        grace_us=HOUR_US,
    )


@pytest.mark.parametrize(
    "spec",
    [
        PipelineSpec(),
        PipelineSpec(detector="ensemble"),
        PipelineSpec(features="gated", detector="pca", window_s=30.0),
        PipelineSpec(features="gated", detector="gmm", window_s=30.0),
        PipelineSpec(features="gated", detector="kmeans", window_s=30.0),
    ],
    ids=lambda spec: f"{spec.features}-{spec.detector}",
)
def test_every_failure_mode_is_caught_without_crying_wolf(exam: Exam, spec: PipelineSpec) -> None:
    """Regimes and drift stay quiet; failures do not, and a sensor that has it is blamed."""
    pipeline = Pipeline.fit(spec, tuple(exam.learnt.values()), exam.fleet.machine_class, seed=0)

    stories = {name: watch(pipeline, exam, name) for name in MACHINES}

    found = account(exam, stories)
    assert found.detected == len(MACHINES), found
    assert found.false_alarms == 0, found
    assert found.median_delay_s is not None
    assert found.median_delay_s < 180
    blamed = [stories[name].roots[0] in exam.failures[name].sensors for name in MACHINES]
    assert np.mean(blamed) >= 0.85


def test_a_machine_met_in_the_middle_of_its_work_is_judged_as_if_known_from_the_start(
    exam: Exam,
) -> None:
    """A scorer that starts anew sees the last readings only: temperatures carry an unseen past."""
    fleet = exam.fleet
    pipeline = Pipeline.fit(
        PipelineSpec(), tuple(exam.learnt.values()), fleet.machine_class, seed=0
    )
    wait = pipeline.warmup_rows
    strays = []
    for one in exam.learnt.values():
        known = _alarms(pipeline, one, 0)
        for first in range(0, len(one) - wait - 1000, 400):
            met = _alarms(pipeline, one, first)
            strays.append(np.mean((met & ~known[first:])[wait:]))

    assert len(strays) > 60
    assert max(strays) < 0.01


def _alarms(pipeline: Pipeline, one: History, first: int) -> npt.NDArray[np.bool_]:
    state = pipeline.new_state(one.machine)
    return pipeline.score(state, one.instants_us[first:], one.values[first:]).score > 1
