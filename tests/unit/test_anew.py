"""A machine that was repaired: its level is learnt anew from a word on, and alike everywhere."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.anew import acting, begins, in_effect, since_last
from domain.care import Care, notes
from domain.incidents import Change
from domain.machines import Machine
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, Matrix, ReadingBatch
from domain.scorecard.backtest import history_run
from domain.scorecard.exam import Paper, examine
from domain.scorecard.protocol import score_rest
from domain.scorecard.repaired import repaired_scores
from domain.scorecard.tally import figures
from domain.scores import Scores
from ray_app.beginnings import Beginning, beginning, gone_through, look_back
from ray_app.judge import Judge
from ray_app.judged import Changed
from ray_app.known import Champion
from ray_app.serve.verdict import Own, predict
from tests.unit.learning_samples import START_US, healthy, machine_class

ROWS = 400
REPAIRED = 150
LATER_US = START_US + 10_000_000_000
MOVED = np.array([6.0, -5.0, 7.0, 0.0])
"""Deviations by which sensors stay elsewhere after the repair."""
M1 = Machine(key=1, name="m1", machine_class="toy")


class Stored:
    """Readings as Postgres holds them."""

    def __init__(self, one: History) -> None:
        self._one = one

    def _part(self, rows: slice) -> History:
        one = self._one
        return History(
            machine=one.machine, instants_us=one.instants_us[rows], values=one.values[rows]
        )

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return the newest readings before an instant."""
        assert machine == self._one.machine
        end = int(np.searchsorted(self._one.instants_us, instant_us))
        return self._part(slice(max(0, end - rows), end))

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return the oldest readings since an instant."""
        assert machine == self._one.machine
        first, end = np.searchsorted(self._one.instants_us, [from_us, before_us]).tolist()
        return self._part(slice(first, min(first + rows, end)))

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Nobody asks: there is no risk model."""
        raise AssertionError((machine, before_us, step_us))

    def first_us(self, machine: str) -> int:
        """Return the oldest instant."""
        del machine
        return int(self._one.instants_us[0])


@pytest.fixture(scope="module")
def champion() -> Champion:
    """Return a model as it comes out of its package; it knows m1."""
    spec = PipelineSpec(window_s=20, baseline_s=200, recover_s=30)
    past = [healthy(seed) for seed in (1, 2, 3)]
    loaded = Pipeline.from_package(Pipeline.fit(spec, past, machine_class(), seed=0).to_package())
    return Champion(machine_class="toy", version=1, sha256="", pipeline=loaded)


def lived(seed: int = 5, rows: int = ROWS, *, missing: float = 0.0) -> History:
    """Return readings of m1, which stays elsewhere after a repair."""
    rng = np.random.default_rng(seed)
    values = healthy(seed, rows=rows).values.copy()
    values[REPAIRED:] += MOVED[: values.shape[1]] * healthy(1).values.std(axis=0)
    values[rng.random(values.shape) < missing] = np.nan
    steps = rng.choice((500_000, 1_000_000, 5_000_000), rows, p=(0.2, 0.75, 0.05))
    return History(machine="m1", instants_us=LATER_US + np.cumsum(steps), values=values)


def bulk(pipeline: Pipeline, one: History, words: Sequence[int]) -> Scores:
    """Return the scores of all readings at once."""
    anew = begins(one.instants_us, acting(pipeline, "m1", words))
    state = pipeline.new_state("m1")
    return pipeline.score(state, one.instants_us, one.values, anew=anew)


def batch(one: History, rows: slice) -> ReadingBatch:
    """Return readings as they arrive."""
    at = one.instants_us[rows]
    return ReadingBatch(
        machine_class=machine_class(),
        machine_keys=np.full(len(at), 1, np.int32),
        instants_us=at,
        values=one.values[rows],
    )


def streamed(
    judge: Judge, champion: Champion, one: History, rows: slice, words: tuple[int, ...]
) -> tuple[Scores, list[Changed]]:
    """Return the scores of a batch, and what became of incidents."""
    told = judge.judge(batch(one, rows), {1: M1}, champion, {"m1": Care(anew_us=words)})
    (view,) = told.views
    return view.scores, told.changes


def alarms(scores: Scores, first: int = 0) -> int:
    """Return how many readings from one on are anomalous and sure."""
    return int(((scores.score > 1) & scores.ready)[first:].sum())


def test_a_repair_to_another_level_alarms_until_somebody_says_so(champion: Champion) -> None:
    """With the word nothing is told after it but that the level is being learnt."""
    one, pipeline = lived(), champion.pipeline
    word = int(one.instants_us[REPAIRED])

    without, told = bulk(pipeline, one, ()), bulk(pipeline, one, (word,))

    assert alarms(without, REPAIRED) > 100
    assert alarms(told) == 0
    assert not told.ready[REPAIRED : REPAIRED + 2 * pipeline.front.window_rows].any()
    assert told.ready[REPAIRED + 2 * pipeline.front.window_rows :].all()
    np.testing.assert_array_equal(told.score[:REPAIRED], without.score[:REPAIRED])


def test_a_fault_after_the_repair_is_still_met(champion: Champion) -> None:
    """The level that was learnt is held as one of the training is: no fault becomes healthy."""
    one, pipeline = lived(), champion.pipeline
    begun = REPAIRED + 100
    one.values[begun:, 1] += 8 * healthy(1).values[:, 1].std()

    scores = bulk(pipeline, one, (int(one.instants_us[REPAIRED]),))

    assert alarms(scores) - alarms(scores, begun) == 0
    assert (scores.score[begun + 30 :] > 1).mean() > 0.95
    assert (scores.contributions[begun + 30 :].argmax(axis=1) == 1).mean() > 0.9


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(1, ROWS - 1), max_size=12),
    said=st.lists(st.integers(-5, ROWS + 5), max_size=3),
    missing=st.sampled_from((0.0, 0.2)),
)
@example(seed=1, cuts=[1, 90], said=[-5], missing=0.0)
@example(seed=2, cuts=[7], said=[0, REPAIRED, REPAIRED + 1], missing=0.2)
def test_no_border_of_batches_changes_a_score(
    champion: Champion, seed: int, cuts: list[int], said: list[int], missing: float
) -> None:
    """Stream, backtest and HTTP give what all readings at once give, whenever words came."""
    one, pipeline = lived(seed, missing=missing), champion.pipeline
    words = tuple(sorted(LATER_US + row * 1_000_000 - 300_000 for row in said))
    wanted = bulk(pipeline, one, words)

    nothing = History(machine="m1", instants_us=np.empty(0, np.int64), values=np.empty((0, 4)))
    judge, found = Judge(Stored(nothing), (), {}), []
    for first, end in pairwise(sorted({0, ROWS, *cuts})):
        found.append(streamed(judge, champion, one, slice(first, end), words)[0].score)
    np.testing.assert_allclose(np.concatenate(found), wanted.score, rtol=1e-9, atol=1e-9)
    over_http = predict(champion, one, own=Own(care=Care(anew_us=words)))
    np.testing.assert_allclose(over_http.scores, wanted.score, rtol=1e-9, atol=1e-9)
    run = replace(history_run(one, machine_class(), None, learnt_rows=0), words=words)
    told = score_rest(pipeline, run, chunk_rows=cuts[0] if cuts else 60)
    sure = wanted.ready
    np.testing.assert_allclose(told.score[sure], wanted.score[sure], rtol=1e-9, atol=1e-9)
    assert (told.score[~sure] <= 1).all()


@pytest.mark.parametrize("heard", [REPAIRED + 1, REPAIRED + 60, ROWS - 1])
def test_a_late_word_is_heeded_as_if_it_had_been_known_in_time(
    champion: Champion, heard: int
) -> None:
    """What is judged after it was heard; who starts only then says the same; so does HTTP."""
    one, pipeline = lived(), champion.pipeline
    word = int(one.instants_us[REPAIRED])
    wanted = bulk(pipeline, one, (word,)).score
    judge = Judge(Stored(one), (), {})

    before, opened = streamed(judge, champion, one, slice(0, heard), ())
    after, closed = streamed(judge, champion, one, slice(heard, ROWS), (word,))
    restarted, _ = streamed(Judge(Stored(one), (), {}), champion, one, slice(heard, ROWS), (word,))
    begun = beginning(
        pipeline, Stored(one), "m1", int(one.instants_us[heard]), pipeline.warmup_rows, (word,)
    )
    window = History(machine="m1", instants_us=one.instants_us[heard:], values=one.values[heard:])
    over_http = predict(champion, window, context=begun, own=Own(care=Care(anew_us=(word,))))

    plain = bulk(pipeline, one, ()).score
    np.testing.assert_allclose(before.score, plain[:heard], rtol=1e-9)
    for found in (after.score, restarted.score, over_http.scores):
        np.testing.assert_allclose(found, wanted[heard:], rtol=1e-9, atol=1e-9)
    if any(each.change is Change.OPENED for each in opened):
        (end,) = [each.incident for each in closed]
        assert end.close_reason == "repaired"
        assert end.closed_us == one.instants_us[heard]


def test_a_word_that_is_taken_back_leaves_nothing_behind(champion: Champion) -> None:
    """The machine is judged by its old level again."""
    one = lived()
    word = int(one.instants_us[REPAIRED])
    judge = Judge(Stored(one), (), {})

    streamed(judge, champion, one, slice(0, 300), (word,))
    after, _ = streamed(judge, champion, one, slice(300, ROWS), ())

    wanted = bulk(champion.pipeline, one, ()).score
    np.testing.assert_allclose(after.score, wanted[300:], rtol=1e-9, atol=1e-9)


def test_an_open_incident_is_over_with_the_repair(champion: Champion) -> None:
    """At the first reading judged by the new level, with its reason; the next one is another."""
    one = lived()
    word = int(one.instants_us[REPAIRED + 60])
    judge = Judge(Stored(one), (), {})

    _, changes = streamed(judge, champion, one, slice(0, ROWS), (word,))

    assert [each.change for each in changes] == [Change.OPENED, Change.UPDATED, Change.CLOSED]
    assert changes[-1].incident.close_reason == "repaired"
    assert changes[-1].incident.closed_us == word


def test_a_level_outlives_the_readings_that_are_looked_back_on(champion: Champion) -> None:
    """Long after the word a fault does not become the level of who starts now."""
    pipeline = champion.pipeline
    rows = look_back(pipeline) + 600
    one = lived(rows=rows)
    one.values[rows - 300 :, 1] += 8 * healthy(1).values[:, 1].std()
    word = int(one.instants_us[REPAIRED])
    levels: dict[int, Matrix] = {}
    last = History(machine="m1", instants_us=one.instants_us[-1:], values=one.values[-1:])
    at = int(last.instants_us[0])

    first = beginning(pipeline, Stored(one), "m1", at, pipeline.warmup_rows, (word,), levels)
    again = beginning(pipeline, Stored(one), "m1", at, pipeline.warmup_rows, (word,), levels)

    assert first.level is not None
    np.testing.assert_array_equal(first.level, again.level)
    assert len(first.past) == pipeline.warmup_rows
    state = gone_through(pipeline, first)
    assert pipeline.score(state, last.instants_us, last.values).score[0] > 1
    alone = Beginning(past=first.past, words=(int(first.past.instants_us[0]),))
    cold = gone_through(pipeline, alone)
    assert pipeline.score(cold, last.instants_us, last.values).score[0] < 1


def test_a_model_that_learnt_from_after_the_word_knows_the_level(champion: Champion) -> None:
    """A word from before its first reading of the machine says nothing new; a later one does."""
    pipeline = champion.pipeline
    assert acting(pipeline, "m1", (START_US - 1,)) == ()
    assert acting(pipeline, "m1", (START_US + 1, START_US - 1)) == (START_US + 1,)
    assert acting(pipeline, "stranger", (START_US - 1,)) == (START_US - 1,)
    assert acting(pipeline, None, ()) == ()


def test_words_take_effect_at_the_first_reading_at_or_after_them() -> None:
    """None before the first one that is heeded, none after the last reading."""
    at = np.array([10, 20, 30])

    assert begins(at, ()).tolist() == [False, False, False]
    assert begins(at, (1, 10, 11, 20, 31)).tolist() == [True, True, False]
    assert in_effect((1, 10), 9) == 1
    assert in_effect((), 9) is None
    one = History(machine="m", instants_us=at, values=np.zeros((3, 1)))
    assert since_last(one, (15, 12)).instants_us.tolist() == [20, 30]
    assert len(since_last(one, (15,), settled_s=1.0)) == len(since_last(one, (15, 40))) == 0
    assert since_last(one, ()) is one


def test_what_is_told_of_a_reading_names_the_word(champion: Champion) -> None:
    """A person who sees a score learns by which level it was judged."""
    (told,) = notes(champion.pipeline, Care(anew_us=(LATER_US,)), LATER_US, None, machine="m1")

    assert "learnt anew since" in told
    assert notes(champion.pipeline, Care(anew_us=(LATER_US,)), LATER_US - 1, None) == ()


def test_on_a_fleet_the_word_ends_false_alarms_and_costs_no_failure() -> None:
    """As the exam has it: fans that stay elsewhere after their repair, told and not told."""
    paper = Paper(
        groups=("new-level", "healthy"), learn_s=1800, calm_s=120, jitter_s=0, baselines=False
    )
    answers = examine("fan", seed=0, paper=paper)
    moved = [one for one in answers if one.repaired is not None]

    without = figures([one.ours for one in moved])
    told = figures([one.repaired for one in moved if one.repaired is not None])

    assert len(moved) == 4
    assert (without["far"] or 0) > 10
    assert (told["far"] or 0) < 2
    assert told["events_detected"] == without["events_detected"] == 4
    scored = repaired_scores([[one.repaired for one in answers]])
    assert {one.ours[0].run for one in scored} == {"fan/new-level, told"}
