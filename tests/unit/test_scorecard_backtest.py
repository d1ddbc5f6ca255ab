"""A machine's history as a run, and what is told of it without labels."""

from dataclasses import replace

import numpy as np

from domain.incidents import Incident
from domain.readings import History
from domain.scorecard.backtest import Period, history_run, timeline, told_of
from domain.scorecard.protocol import Verdicts
from tests.unit.learning_samples import START_US, history, machine_class

SECOND_US = 1_000_000


def _history(rows: int = 100) -> History:
    return history("m1", np.zeros((rows, 4)))


def _at(second: int) -> int:
    return START_US + second * SECOND_US


def test_labels_become_truth_of_machine_and_sensor_apart() -> None:
    """A sensor's fault is not the machine's; an unknown sensor name is passed over."""
    labels = [
        Period(from_us=_at(20), to_us=_at(29), kind="wear", sensors=("s1", "gone")),
        Period(from_us=_at(50), to_us=None, kind="sensor_stuck", sensors=("s2",)),
    ]

    run = history_run(_history(), machine_class(), labels, learnt_rows=10)

    assert np.flatnonzero(run.truth).tolist() == list(range(10, 20))
    assert run.touched is not None
    assert run.touched.sum(axis=0).tolist() == [0, 10, 0, 0]
    assert run.ill is not None
    assert np.flatnonzero(run.ill).tolist() == list(range(50, 100))
    assert history_run(_history(), machine_class(), None, learnt_rows=10).anomalous is None


def _told(rows: int, incidents: tuple[Incident, ...]) -> Verdicts:
    score = np.zeros(rows)
    score[40:60] = 2.0
    return Verdicts(score=score, told=score > 1, opened=np.array([40]), incidents=incidents)


def _incident(begin: int, end: int) -> Incident:
    return Incident(
        began_us=_at(begin),
        opened_us=_at(begin),
        last_seen_us=_at(end),
        peak_score=2.0,
        anomalies=end - begin,
        evidence=(1.0,),
    )


def test_incidents_are_held_against_those_that_were_stored() -> None:
    """Those that overlap meet, at their ends too; one that ended before is out."""
    run = history_run(_history(), machine_class(), None, learnt_rows=0)
    ours = (_incident(40, 50), _incident(70, 80))
    stored = [
        Period(from_us=_at(50), to_us=_at(55)),
        Period(from_us=_at(60), to_us=_at(65)),
        Period(from_us=_at(-20), to_us=_at(-10)),
    ]

    found = told_of(run, _told(100, ours), stored)

    assert (found["alarms"], found["alarm_rate"], found["incidents"]) == (20, 20.0, 2)
    assert found["stored_incidents"] == 2
    assert found["stored_incidents_met"] == 1
    assert found["new_incidents"] == 1
    going_on = told_of(run, _told(100, ours), [Period(from_us=_at(75), to_us=None)])
    assert (going_on["stored_incidents_met"], going_on["new_incidents"]) == (1, 1)


def test_changes_are_told_with_their_instants() -> None:
    """Beside incidents, without a label; none where the model tells none."""
    run = history_run(_history(), machine_class(), None, learnt_rows=0)
    changes = np.zeros(100, dtype=np.bool_)
    changes[[38, 61]] = True

    found = told_of(run, replace(_told(100, ()), changes=changes), [])
    none = told_of(run, _told(100, ()), [])

    assert (found["changes"], found["changes_us"]) == (2, [_at(38), _at(61)])
    assert (none["changes"], none["changes_us"]) == (0, [])


def test_a_timeline_cuts_the_scored_time_into_equal_stretches() -> None:
    """The third of five holds all the alarms."""
    run = history_run(_history(), machine_class(), None, learnt_rows=0)

    line = timeline(run, _told(100, ()), bins=5)

    assert [one["alarms"] for one in line] == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert [one["score_max"] for one in line] == [0.0, 0.0, 2.0, 0.0, 0.0]
    assert abs(line[2]["from_us"] - _at(40)) < SECOND_US
