"""Lives, censoring, trends and failure modes: what a class's risk is made of."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import BadInputError, ModelRejectedError
from domain.failure_modes import Modes, Sample
from domain.machines import MachineClass, Sensor
from domain.readings import History, Matrix
from domain.risk.book import StepBook
from domain.risk.class_risk import ClassRisk
from domain.risk.learning import healthy_part, samples_of
from domain.risk.lives import Life, folds_of, watched
from domain.risk.steps import Event, gridded, lives_of, steps_of
from domain.risk.trend import HealthTrend

MINUTE = 60_000_000
PUMP = MachineClass(name="pump", sensors=tuple(Sensor(name=n) for n in "abc"), period_s=1.0)


def _steps(count: int, seed: int = 0) -> Matrix:
    drawn: Matrix = np.random.default_rng(seed).normal(size=(count, 3))
    return drawn


def _history(values: Matrix, machine: str = "m") -> History:
    at = np.arange(len(values), dtype=np.int64) * MINUTE
    return History(machine=machine, instants_us=at, values=values)


def test_a_life_ends_with_its_failure_and_the_next_begins_with_the_repair() -> None:
    """What lies between is nobody's life; what has not ended is censored."""
    event = Event(
        machine="m", kind="x", onset_us=80 * MINUTE, failed_us=100 * MINUTE, ended_us=120 * MINUTE
    )
    lives = lives_of(_history(_steps(200)), [event], MINUTE)

    assert [(len(one.values), one.failed) for one in lives] == [(101, True), (80, False)]


def test_a_machine_that_was_silent_when_it_failed_was_not_seen_failing() -> None:
    """A label long after its last reading censors the life where it was seen last."""
    event = Event(
        machine="m", kind="x", onset_us=400 * MINUTE, failed_us=400 * MINUTE, ended_us=None
    )
    (life,) = lives_of(_history(_steps(200)), [event], MINUTE)

    assert not life.failed


def test_the_chance_of_being_watched_is_that_of_kaplan_and_meier() -> None:
    """Of four rows one is lost after each step: 3/4, then 2/3 of that, and so on."""
    left, failed = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, False, True])

    np.testing.assert_allclose(watched(left, failed, 10)[3], 3 / 4 * 2 / 3 * 1 / 2)
    np.testing.assert_array_equal(watched(left, np.ones(4, bool), 10), 1.0)


def test_weights_undo_censoring() -> None:
    """Lives that end by chance look worse without weights: what is unknown is left out."""
    rng = np.random.default_rng(3)
    life, seen = rng.integers(1, 200, 40_000), rng.integers(1, 120, 40_000)
    left, failed = np.minimum(life, seen).astype(float), life <= seen
    known = failed | (left > 60)
    weight = 1 / watched(left, failed, 60)
    soon = left <= 60

    plain = soon[known].mean()
    weighed = np.average(soon[known], weights=weight[known])
    assert weighed == pytest.approx((life <= 60).mean(), abs=0.01)
    assert abs(plain - (life <= 60).mean()) > 0.05


def test_lives_of_one_machine_are_held_out_together() -> None:
    """Or its own habits would be taken for foresight."""
    lives = [Life(values=_steps(3), machine=f"m{at // 3}") for at in range(30)]
    folds = folds_of(lives, 5, 0).reshape(10, 3)

    assert (folds == folds[:, :1]).all()
    assert set(folds[:, 0]) == set(range(5))


def test_a_long_gap_ends_what_is_known() -> None:
    """A short one is a row of NaN."""
    at = np.array([0, 1, 3, 100, 101], dtype=np.int64) * MINUTE
    begins, values = gridded(at[:3], _steps(3), MINUTE)
    assert begins.tolist() == [0, MINUTE, 2 * MINUTE, 3 * MINUTE]
    assert np.isnan(values[2]).all()
    begins, _ = gridded(at, _steps(5), MINUTE)
    assert begins.tolist() == [100 * MINUTE, 101 * MINUTE]


@given(st.lists(st.integers(1, 150), min_size=1, max_size=8), st.integers(0, 100))
def test_steps_are_the_same_however_readings_arrive(cuts: list[int], seed: int) -> None:
    """One by one, in batches or at once."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(1, 20_000_000, 150)).astype(np.int64)
    values = rng.normal(size=(150, 3))
    nothing = History(machine="m", instants_us=at[:0], values=values[:0])
    book = StepBook(nothing, nothing, MINUTE)
    places = sorted({0, *cuts, 150})
    for first, end in pairwise(places):
        book.see(at[first:end], values[first:end])
    whole = int(np.searchsorted(at, at[-1] // MINUTE * MINUTE))
    begins, means = steps_of(at[:whole], values[:whole], MINUTE)

    np.testing.assert_array_equal(book.begins_us, begins)
    if whole:
        np.testing.assert_array_equal(book.values, means)


def test_a_trend_says_when_and_a_steady_machine_says_nothing() -> None:
    """The interval holds the time at which the level truly gets there."""
    trend = HealthTrend.fit([_steps(300, seed) for seed in range(8)])
    rising = _steps(120, 9) + np.linspace(0, 1.0, 120)[:, None]
    found = trend.remaining(rising, 60.0)

    assert found.kind == "time_to_threshold"
    assert found.interval is not None
    assert found.seconds is not None
    assert found.interval[0] < found.seconds
    assert trend.remaining(_steps(120, 10), 60.0).kind == "unknown"
    gone = trend.remaining(_steps(120, 11) + 3 * trend.threshold, 60.0)
    assert (gone.kind, gone.seconds) == ("time_to_threshold", 0.0)


def test_a_healthy_machine_is_told_no_time_to_the_threshold() -> None:
    """However its departure wanders within health: sixty minutes of luck are no trend."""
    machines = [_steps(400, seed) for seed in range(8)]
    trend = HealthTrend.fit(machines)
    told = [
        trend.remaining(one[:end], 60.0)
        for one in (_steps(400, seed) for seed in range(100, 130))
        for end in range(60, 401, 20)
    ]

    assert {one.kind for one in told} == {"unknown"}


def test_a_trend_is_not_drawn_out_for_longer_than_the_machine_was_watched() -> None:
    """What rises surely, but slowly, is told to be so, and no number is made of it."""
    trend = HealthTrend.fit([_steps(400, seed) for seed in range(8)])
    slow = _steps(70, 9) * 0.02 + np.linspace(0.28, 0.66, 70)[:, None]
    found = trend.remaining(slow, 60.0)

    assert (found.kind, found.seconds) == ("unknown", None)
    assert "longer than it was watched" in found.reason


def test_a_change_of_regime_does_not_look_like_wear() -> None:
    """All sensors together, as healthy machines do: no departure, so no trend."""
    rng = np.random.default_rng(4)

    def machine(steps: int) -> Matrix:
        load = np.repeat(rng.uniform(0, 1, steps // 20 + 1), 20)[:steps, None]
        made: Matrix = load * np.array([30.0, -20.0, 10.0]) + rng.normal(size=(steps, 3))
        return made

    trend = HealthTrend.fit([machine(400) for _ in range(8)])
    ramp = np.linspace(0, 1, 60)[:, None] * np.array([30.0, -20.0, 10.0])
    assert trend.remaining(ramp + rng.normal(size=(60, 3)), 60.0).kind == "unknown"


def _failing(way: list[float], seed: int) -> Matrix:
    values = _steps(120, seed)
    values[-8:] += np.array(way)
    return values


def test_modes_are_named_by_labels_or_by_their_sensors_and_far_ones_are_unknown() -> None:
    """A new departure is held against each mode, and against the bound of the nearest."""
    named = [Sample(kind="leak", values=_failing([0, 8, 0], s), lead_s=300) for s in range(5)]
    other = [Sample(kind="failure", values=_failing([9, 0, 0], s), lead_s=60) for s in range(5, 9)]
    unseen = Sample(kind="ghost", values=_steps(120, 40), lead_s=0)
    healthy = [_steps(200, seed) for seed in range(20, 26)]
    modes = Modes.fit([*named, *other, unseen], healthy, ("a", "b", "c"))

    assert [(one.name, one.count, one.named_by) for one in modes.modes] == [
        ("leak", 5, "labels"),
        ("a up", 4, "sensors"),
    ]
    near = modes.nearest(_failing([0, 7, 0], 50))
    far = modes.nearest(_failing([0, 0, -9], 51))
    calm = modes.nearest(_steps(120, 52))
    assert near is not None
    assert far is not None
    assert calm is not None
    assert (near.mode, near.lead_time_s) == ("leak", 300)
    assert near.confidence > 0.5
    assert (far.mode, calm.mode) == ("unknown", "unknown")
    assert "farther than its bound" in far.reason
    assert "does not depart" in calm.reason


def test_what_an_earlier_release_learnt_knows_no_modes_and_no_trend() -> None:
    """It is loaded all the same, its departure as it was, until risk is learnt anew."""
    mode = {"name": "leak", "named_by": "labels", "count": 5, "lead_time_s": 300.0, "bound": 0.3}
    old = {"centres": np.eye(1, 3), "whitening": np.eye(3), "clear": np.array([2.0])}
    modes = Modes.restore([{**mode, "sensors": []}], old)
    trend = HealthTrend.from_arrays(
        {"centre": np.zeros(3), "scale": np.ones(3), "threshold": np.array([9.0])}
    )
    rising = _steps(120, 9) + np.linspace(0, 8.0, 120)[:, None]

    assert modes.nearest(_failing([0, 8, 0], 1)) is None
    assert trend.departure(np.full((60, 3), 2.0)) == pytest.approx(2.0)
    assert trend.remaining(rising, 60.0).kind == "unknown"


def test_a_package_says_the_same_and_a_damaged_one_is_refused() -> None:
    """Without failures as well: trend and health are kept too."""
    risk = ClassRisk.fit(PUMP, [_history(_steps(200))], [], seed=0)
    blob = risk.to_package()
    back = ClassRisk.from_package(blob)
    at = np.arange(100, dtype=np.int64) * MINUTE

    assert back.outlook(at, _steps(100)) == risk.outlook(at, _steps(100))
    assert risk.outlook(at, _steps(100)).status == "unknown"
    assert blob == back.to_package()
    with pytest.raises(ModelRejectedError, match="SHA-256"):
        ClassRisk.from_package(blob[:-1] + b"x")


def test_a_class_without_history_is_told_so() -> None:
    """With what to do."""
    with pytest.raises(BadInputError, match="no machine has 12 steps"):
        ClassRisk.fit(PUMP, [_history(_steps(5))], [], seed=0)


def test_a_word_of_a_repair_censors_a_life_and_begins_another() -> None:
    """The step that it cuts is of neither; what led to the repair is not taken for health."""
    word = 100 * MINUTE + 1
    before, after = lives_of(_history(_steps(200)), [], MINUTE, (word,))

    assert (len(before.values), before.failed, before.repaired) == (100, False, True)
    assert (len(after.values), after.failed, after.repaired) == (99, False, False)
    np.testing.assert_array_equal(after.values, _steps(200)[101:])
    assert (len(healthy_part(before)), len(healthy_part(after))) == (66, 99)


def test_a_word_is_the_end_of_a_failure_that_nobody_ended() -> None:
    """And within one that was labelled to its end it says nothing new."""
    open_ = Event(machine="m", kind="x", onset_us=80 * MINUTE, failed_us=99 * MINUTE, ended_us=None)
    ended = replace(open_, ended_us=120 * MINUTE)
    words = (40 * MINUTE, 110 * MINUTE)

    def told(event: Event) -> list[tuple[int, bool]]:
        found = lives_of(_history(_steps(200)), [event], MINUTE, words)
        return [(len(one.values), one.failed) for one in found]

    assert told(open_) == [(40, False), (60, True), (90, False)]
    assert told(ended) == [(40, False), (60, True), (80, False)]


def test_a_failure_mode_is_learnt_from_what_came_after_the_repair_before_it() -> None:
    """As the outlook begins at the word: what was before would count as its sign."""
    event = Event(machine="m", kind="x", onset_us=90 * MINUTE, failed_us=99 * MINUTE, ended_us=None)
    words = {"m": (20 * MINUTE, 70 * MINUTE, 150 * MINUTE)}
    (sample,) = samples_of([_history(_steps(200))], [event], MINUTE, words)

    np.testing.assert_array_equal(sample.values, _steps(200)[70:100])


def test_the_class_learns_lives_that_words_cut() -> None:
    """A machine counts twice where it was repaired, and its failure once."""
    words = {"m0": (100 * MINUTE,)}
    histories = [_history(_steps(200, seed), f"m{seed}") for seed in range(3)]
    plain = ClassRisk.fit(PUMP, histories, [], seed=0)
    cut = ClassRisk.fit(PUMP, histories, [], seed=0, words=words)

    assert (plain.facts["lives"], cut.facts["lives"]) == (3, 4)
    assert cut.facts["machines"] == 3
