"""From anomalous readings to incidents."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadInputError
from domain.incident_tracker import IncidentTracker, Seen
from domain.incidents import Change, IncidentEvent, IncidentRules, sensor_rows
from domain.sensor_health import SensorFault

RULES = IncidentRules(k=3, n=5, stay=0.8, quiet_s=10.0, cool_s=0.0)


def advance(
    tracker: IncidentTracker, scores: list[float], *, start_s: int = 0
) -> list[IncidentEvent]:
    """Feed one score per second; sensor 1 of 3 bears two thirds of each."""
    values = np.array(scores)
    instants = (start_s + np.arange(len(scores))) * 1_000_000
    return tracker.advance(instants, values, values[:, None] * np.array([1, 4, 1]) / 6)


def test_k_of_n_anomalous_readings_open_an_incident() -> None:
    """It began with the first of them, and names the sensor with the most evidence."""
    events = advance(IncidentTracker(RULES), [0.1, 1.5, 0.2, 2.0, 3.0])

    assert [event.change for event in events] == [Change.OPENED]
    incident = events[0].incident
    assert (incident.began_us, incident.opened_us) == (1_000_000, 4_000_000)
    assert (incident.peak_score, incident.anomalies, incident.root) == (3.0, 3, 1)
    assert incident.evidence == pytest.approx((6.5 / 6, 4 * 6.5 / 6, 6.5 / 6))


def test_an_incident_keeps_what_was_seen_at_its_peak() -> None:
    """After a repair the newest reading is healthy: it shows nothing of the trouble."""
    tracker = IncidentTracker(RULES)
    scores = np.array([1.5, 1.5, 4.0, 1.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    instants = np.arange(len(scores)) * 2_000_000
    observed = np.stack([scores * 10, scores], axis=1)
    seen = Seen(observed=observed, expected=np.full((10, 2), 0.5))
    events = []
    for part in (slice(0, 4), slice(4, 10)):
        events += tracker.advance(
            instants[part],
            scores[part],
            np.ones((10, 2))[part],
            None,
            Seen(observed=seen.observed[part], expected=seen.expected[part]),
        )

    assert [one.change for one in events] == [Change.OPENED, Change.UPDATED, Change.CLOSED]
    for event in events:
        peak = event.incident.peak
        assert peak is not None
        assert (peak.instant_us, peak.observed, peak.expected) == (
            4_000_000,
            (40.0, 4.0),
            (0.5, 0.5),
        )


def test_of_a_fault_that_always_scores_the_same_the_newest_reading_is_kept() -> None:
    """A sensor's fault has no peak; what it reads now is what a person finds there."""
    tracker = IncidentTracker(RULES)
    observed = np.arange(6.0)[:, None]
    seen = Seen(observed=observed, expected=observed)
    tracker.advance(np.arange(6) * 1_000_000, np.full(6, 2.0), np.ones((6, 1)), None, seen)

    assert tracker.incident is not None
    assert tracker.incident.peak is not None
    assert tracker.incident.peak.observed == (5.0,)


def test_fewer_than_k_in_any_n_open_nothing() -> None:
    """Single outliers are no incident, however many there are in all."""
    tracker = IncidentTracker(RULES)

    assert advance(tracker, [2.0, 2.0, 0.0, 0.0, 0.0] * 8) == []
    assert tracker.incident is None


@given(cuts=st.lists(st.integers(0, 20), max_size=5))
def test_an_incident_began_when_its_readings_rose(cuts: list[int]) -> None:
    """They were high before they were anomalous: the machine did not fall ill when it was told."""
    scores = [0.2] * 5 + [0.9] * 10 + [2.0] * 5
    tracker, events = IncidentTracker(RULES), []
    for first, end in pairwise(sorted({0, len(scores), *cuts})):
        events += advance(tracker, scores[first:end], start_s=first)

    assert events[0].incident.began_us == 5_000_000
    assert events[0].incident.opened_us == 17_000_000
    assert events[0].incident.anomalies == 3


def test_a_repair_and_a_quiet_reading_end_what_rose_before() -> None:
    """What was high before them led to nothing."""
    values = np.array([0.9] * 4 + [0.1] + [0.9] * 4 + [2.0] * 3)
    repaired = np.arange(len(values)) == 7
    rows = np.arange(len(values)) * 1_000_000

    def began(word: np.ndarray | None, cut: int) -> int:
        tracker, events = IncidentTracker(RULES), []
        for part in (slice(0, cut), slice(cut, None)):
            said = None if word is None else word[part]
            events += tracker.advance(rows[part], values[part], values[part, None], repaired=said)
        return events[0].incident.began_us

    assert [began(None, cut) for cut in range(12)] == [5_000_000] * 12
    assert [began(repaired, cut) for cut in range(12)] == [7_000_000] * 12


def test_readings_that_are_not_ready_count_as_healthy() -> None:
    """A window that still fills opens nothing."""
    values = np.full(6, 5.0)

    events = IncidentTracker(RULES).advance(
        np.arange(6), values, values[:, None], np.zeros(6, dtype=np.bool_)
    )

    assert events == []


def test_hysteresis_keeps_an_incident_open_below_the_threshold() -> None:
    """Scores between `stay` and 1 hold it, but are no evidence."""
    tracker = IncidentTracker(RULES)
    opened = advance(tracker, [2.0, 2.0, 2.0])[0].incident

    events = advance(tracker, [0.9] * 30, start_s=3)

    assert [event.change for event in events] == [Change.UPDATED]
    assert events[0].incident.last_seen_us == 32_000_000
    assert events[0].incident.anomalies == 3
    assert events[0].incident.evidence == opened.evidence


def test_an_incident_closes_after_quiet_and_another_may_open() -> None:
    """The end is the quiet period after the last reading that held it."""
    tracker = IncidentTracker(RULES)

    events = advance(tracker, [2.0] * 4 + [0.0] * 11 + [3.0] * 3)

    assert [event.change for event in events] == [
        Change.OPENED,
        Change.UPDATED,
        Change.CLOSED,
        Change.OPENED,
    ]
    assert events[2].incident.closed_us == 13_000_000
    assert events[3].incident.began_us == 15_000_000


def test_what_flickers_within_the_cool_down_is_told_once() -> None:
    """Another incident waits for the end of the cool-down, unless it is worse."""
    cool = IncidentRules(k=3, n=5, stay=0.8, quiet_s=10.0, cool_s=30.0)
    flicker = [2.0] * 4 + [0.0] * 11 + [1.5] * 40

    events = advance(IncidentTracker(cool), flicker)

    opened = [one.incident for one in events if one.change is Change.OPENED]
    closed = [one.incident.closed_us for one in events if one.change is Change.CLOSED]
    assert closed == [13_000_000]
    assert [one.opened_us for one in opened] == [2_000_000, 43_000_000]
    worse = advance(IncidentTracker(cool), [2.0] * 4 + [0.0] * 11 + [3.0] * 3)
    assert [one.change for one in worse][-1] is Change.OPENED


def test_a_restored_tracker_still_cools_down() -> None:
    """A restart in between opens nothing that would not have been opened."""
    cool = IncidentRules(k=3, n=5, stay=0.8, quiet_s=10.0, cool_s=30.0)
    before = IncidentTracker(cool)
    advance(before, [2.0] * 4 + [0.0] * 11)
    after = IncidentTracker(cool, None, before.cooling)

    assert advance(after, [1.5] * 20, start_s=15) == []
    assert [one.change for one in advance(after, [1.5] * 9, start_s=35)][:1] == [Change.OPENED]


def test_a_silent_machine_closes_its_incident_too() -> None:
    """Event time may pass without readings."""
    tracker = IncidentTracker(RULES)
    advance(tracker, [2.0] * 3)

    assert tracker.quiet_until(11_000_000) == []
    (event,) = tracker.quiet_until(12_000_000)
    assert event.change is Change.CLOSED
    assert tracker.incident is None
    assert tracker.quiet_until(99_000_000) == []


def test_a_restored_tracker_goes_on_from_the_open_incident() -> None:
    """What was seen before the restart is not counted twice."""
    before = IncidentTracker(RULES)
    advance(before, [2.0] * 4)
    after = IncidentTracker(RULES, before.incident)

    assert advance(after, [2.0] * 4) == []
    (event,) = advance(after, [4.0], start_s=4)
    assert (event.change, event.incident.anomalies, event.incident.peak_score) == (
        Change.UPDATED,
        5,
        4.0,
    )


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"k": 11}, {"stay": 0.0}, {"stay": 1.1}, {"quiet_s": 0}, {"cool_s": -1}]
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    """A wrong rule is named when it is made."""
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        IncidentRules(**wrong)


def test_sensor_faults_become_rows_for_a_tracker_of_their_own() -> None:
    """Faulty sensors share the blame evenly."""
    faults = np.array([[0, 0, 0], [0, SensorFault.STUCK, SensorFault.DROPOUT]], dtype=np.uint8)

    scores, contributions = sensor_rows(faults)

    assert scores.tolist() == [0.0, 2.0]
    assert contributions.tolist() == [[0, 0, 0], [0, 1, 1]]


@given(
    scores=st.lists(st.sampled_from([0.0, 0.9, 1.0, 1.5, 4.0]), min_size=1, max_size=60),
    cut=st.integers(0, 60),
)
def test_any_split_tells_the_same_story(scores: list[float], cut: int) -> None:
    """Openings, closings and the last state do not depend on how rows arrive."""
    whole, split = IncidentTracker(RULES), IncidentTracker(RULES)

    told = advance(whole, scores)
    parts = advance(split, scores[:cut]) + advance(split, scores[cut:], start_s=len(scores[:cut]))

    def marks(events: list[IncidentEvent]) -> list[IncidentEvent]:
        return [event for event in events if event.change is not Change.UPDATED]

    assert marks(told) == marks(parts)
    assert whole.incident == split.incident
