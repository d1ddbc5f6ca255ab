"""Movements: from where to where, mostly which sensor; the same on the stream as in a backtest."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.machines import Machine
from domain.movements import Motion, followed, movement_scores
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.scorecard.backtest import history_run, told_of
from domain.scorecard.protocol import score_rest
from domain.told import SHOWN, Movement
from ray_app.judge import Judge
from ray_app.known import Champion
from storage.movements import Told
from tests.unit.learning_samples import START_US, healthy, machine_class

SPEC = PipelineSpec(window_s=30, baseline_s=300, recover_s=30)
ROWS, ONSET, REPAIR, STEP = 500, 200, 350, 12.0
LATER_US = START_US + 10_000_000_000
"""Long after what was learnt from: nothing of it is judged."""
MACHINES = {at: Machine(key=at, name=f"m{at}", machine_class="toy") for at in (1, 2)}
NAMES = machine_class().sensor_names


@pytest.fixture(scope="module")
def champion() -> Champion:
    """Learnt from three machines."""
    past = [healthy(seed, rows=1500) for seed in (1, 2, 3)]
    pipeline = Pipeline.fit(SPEC, past, machine_class(), seed=0)
    return Champion(machine_class="toy", version=7, sha256="", pipeline=pipeline)


def _lived(key: int, *, onset: int = ONSET) -> History:
    values = healthy(key, rows=ROWS).values.copy()
    values[onset:REPAIR, key] += STEP
    at = LATER_US + np.arange(ROWS, dtype=np.int64) * 1_000_000
    return History(machine=f"m{key}", instants_us=at, values=values)


def _motion(pipeline: Pipeline, one: History) -> Motion:
    assert pipeline.changes is not None
    scores = pipeline.score(pipeline.new_state(one.machine), one.instants_us, one.values)
    moves = movement_scores(pipeline.changes, scores)
    return Motion(instants_us=one.instants_us, moves=moves, scores=scores, first=0)


def _turns(told: Sequence[Movement]) -> list[int]:
    return [at for one in told for at in (one.began_us, one.settled_us) if at is not None]


def test_a_step_is_a_movement_of_its_sensor_from_its_old_to_its_new_level(
    champion: Champion,
) -> None:
    """There and back, within a window each; levels are in the sensor's unit."""
    lived = _lived(1)
    there, back = followed(champion.pipeline, None, _motion(champion.pipeline, lived))
    usual = float(lived.values[:ONSET, 1].mean())

    for one, before, after in ((there, usual, usual + STEP), (back, usual + STEP, usual)):
        most = one.sensors[0]
        assert most.sensor == NAMES[1]
        assert most.share > 0.5
        # The window in which it is told to move holds the first readings after the step.
        assert most.before == pytest.approx(before, abs=0.3 * STEP)
        assert most.after == pytest.approx(after, abs=0.1 * STEP)
        assert sum(each.share for each in one.sensors) == pytest.approx(1, abs=1e-5)
        assert len(one.sensors) <= SHOWN
        assert one.peak_score > 1
    assert LATER_US + ONSET * 1_000_000 <= there.began_us <= LATER_US + (ONSET + 10) * 1_000_000
    assert there.settled_us is not None
    assert there.settled_us < LATER_US + (ONSET + 40) * 1_000_000


def test_a_sensor_that_goes_away_amid_a_movement_has_no_level_after_it(champion: Champion) -> None:
    """Nothing is known of it, so nothing is said; the movement is over all the same."""
    lived = _lived(1)
    lived.values[ONSET + 3 :, 1] = np.nan

    told = followed(champion.pipeline, None, _motion(champion.pipeline, lived))

    assert told[0].sensors[0].sensor == NAMES[1]
    assert told[0].settled_us is not None
    assert told[0].sensors[0].after is None


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, ROWS - 1), max_size=12))
def test_any_split_into_calls_tells_the_same(champion: Champion, cuts: list[int]) -> None:
    """To the last bit: sensors, shares, levels and peak."""
    whole = _motion(champion.pipeline, _lived(2))
    found: dict[int, Movement] = {}
    current: Movement | None = None
    for first, end in pairwise([0, *sorted(set(cuts)), ROWS]):
        part = Motion(
            instants_us=whole.instants_us[first:end],
            moves=whole.moves[first:end],
            scores=whole.scores,
            first=first,
        )
        told = followed(champion.pipeline, current, part)
        found |= {one.began_us: one for one in told}
        if told:
            current = told[-1] if told[-1].settled_us is None else None

    assert list(found.values()) == followed(champion.pipeline, None, whole)


class _Stored:
    """A store that holds what was sent so far."""

    def __init__(self) -> None:
        self.held = {one.name: np.zeros(0, dtype=np.intp) for one in MACHINES.values()}
        self.lived: dict[str, History] = {}

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return the newest readings of a machine before an instant."""
        one = self.lived[machine]
        end = int(np.searchsorted(one.instants_us, instant_us))
        kept = slice(max(0, end - rows), end)
        return History(machine=machine, instants_us=one.instants_us[kept], values=one.values[kept])

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Nobody asks: there is no word of a repair."""
        raise AssertionError((machine, from_us, before_us, rows))

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Nobody asks: there is no risk model."""
        raise AssertionError((machine, before_us, step_us))

    def first_us(self, machine: str) -> int:
        """Return the instant of the oldest reading."""
        return int(self.lived[machine].instants_us[0])


def _batch(lived: dict[int, History], rows: slice) -> ReadingBatch:
    return ReadingBatch(
        machine_class=machine_class(),
        machine_keys=np.concatenate(
            [np.full(len(one.instants_us[rows]), key, np.int32) for key, one in lived.items()]
        ),
        instants_us=np.concatenate([one.instants_us[rows] for one in lived.values()]),
        values=np.concatenate([one.values[rows] for one in lived.values()]),
    )


def _streamed(
    champion: Champion, lived: dict[int, History], cuts: Sequence[int], kills: frozenset[int]
) -> dict[tuple[int, int], Told]:
    """Judge batch by batch; at some of the borders the scorer dies and another one goes on.

    It finds what Postgres holds: movements that go on, and up to where each machine was judged.
    The batch before its death comes again, as Kafka delivers it.
    """
    past, table = _Stored(), dict[tuple[int, int], Told]()
    past.lived = {one.machine: one for one in lived.values()}
    judge, first_before = Judge(past, (), {}), 0
    for first, end in pairwise([0, *sorted(set(cuts)), ROWS]):
        if first in kills:
            moving = {
                key: one.movement
                for (key, _), one in table.items()
                if one.movement.settled_us is None
            }
            until = {key: int(one.instants_us[first - 1]) for key, one in lived.items()}
            judge = Judge(past, (), until, moving=moving)
            again = judge.judge(_batch(lived, slice(first_before, first)), MACHINES, champion)
            assert again.movements == []
        told = judge.judge(_batch(lived, slice(first, end)), MACHINES, champion)
        table |= {(one.machine_key, one.movement.began_us): one for one in told.movements}
        first_before = first
    return table


@settings(max_examples=15)
@given(
    cuts=st.lists(st.integers(ONSET - 20, REPAIR + 40), min_size=1, max_size=8),
    deaths=st.integers(0, 255),
)
def test_the_stream_tells_the_changes_of_a_backtest_through_every_border_and_death(
    champion: Champion, cuts: list[int], deaths: int
) -> None:
    """The same turns at the same readings, and the same story of each movement."""
    lived = {key: _lived(key, onset=ONSET + 15 * key) for key in MACHINES}
    borders = sorted(set(cuts))
    kills = frozenset(cut for at, cut in enumerate(borders) if deaths >> at & 1)

    table = _streamed(champion, lived, cuts, kills)

    for key, one in lived.items():
        run = history_run(one, machine_class(), None, learnt_rows=0)
        told = told_of(run, score_rest(champion.pipeline, run), ())
        mine = [row.movement for (of, _), row in sorted(table.items()) if of == key]
        assert _turns(mine) == told["changes_us"]
        assert len(mine) == 2
        for ours, bulk in zip(
            mine, followed(champion.pipeline, None, _motion(champion.pipeline, one)), strict=True
        ):
            assert (ours.began_us, ours.settled_us) == (bulk.began_us, bulk.settled_us)
            assert ours.peak_score == pytest.approx(bulk.peak_score, rel=1e-9)
            for left, right in zip(ours.sensors, bulk.sensors, strict=True):
                assert left.sensor == right.sensor
                assert left.before == pytest.approx(right.before, rel=1e-9)
                assert left.after == pytest.approx(right.after, rel=1e-9)
    assert {row.model_version for row in table.values()} == {7}


def test_a_machine_that_was_trained_on_is_followed_from_the_end_of_its_training(
    champion: Champion,
) -> None:
    """What the model learnt from fills windows; no change is told of it."""
    lived = {1: _lived(1), 2: _lived(2)}
    until = dict.fromkeys(MACHINES, LATER_US + (ONSET + 60) * 1_000_000)
    past = _Stored()
    past.lived = {one.machine: one for one in lived.values()}

    told = Judge(past, (), until).judge(_batch(lived, slice(0, ROWS)), MACHINES, champion)

    assert [one.machine_key for one in told.movements] == [1, 2]
    assert all(one.movement.began_us > until[1] for one in told.movements)
