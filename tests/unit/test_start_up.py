"""What a machine was before it ran says nothing of how it runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clean_training import clean, learn
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.start_up import start_up
from tests.unit.learning_samples import START_US, healthy, history, machine_class

SPEC = PipelineSpec(window_s=20, baseline_s=200, recover_s=20)


def _started(after: int = 200, by: float = 100.0, rows: int = 600) -> History:
    """Return a machine whose second sensor was far below its level before it ran."""
    lived = healthy(1, rows=rows)
    lived.values[:after, 1] -= by
    return lived


@given(after=st.integers(30, 290), by=st.floats(100, 1e6))
def test_the_beginning_is_cut_where_the_machine_begins_to_run(after: int, by: float) -> None:
    """In whatever unit."""
    told = start_up(_started(after, by).values)

    assert told[:after].all()
    assert told.sum() <= after + 30


@pytest.mark.parametrize(
    "values",
    [
        healthy(1, rows=600).values,
        healthy(1, rows=600).values + np.linspace(0, 100, 600)[:, None],
        healthy(1, rows=600).values + 30 * np.exp(-np.arange(600) / 300)[:, None],
        np.where(np.arange(600)[:, None] < 200, 1.0, 2.0),
        np.full((600, 2), 7.0),
        np.full((600, 2), np.nan),
        np.empty((0, 3)),
        np.ones((1, 3)),
    ],
    ids=["well", "drifts", "warms up slowly", "set anew", "constant", "unknown", "none", "one"],
)
def test_who_ran_all_along_is_not_cut(values: np.ndarray) -> None:
    """Nor is drift, and what does not move afterwards was set by somebody."""
    assert not start_up(values).any()


def test_a_machine_that_starts_now_and_then_has_regimes_instead() -> None:
    """Its second start is no beginning."""
    lived = _started(100)
    lived.values[400:480, 1] -= 100.0

    assert not start_up(lived.values).any()


def test_a_beginning_of_more_than_half_is_how_the_machine_runs() -> None:
    """Nobody knows then which of the two it is."""
    assert not start_up(_started(320).values).any()


def test_missing_readings_do_not_move_the_cut() -> None:
    """Every third value of the sensor is not there."""
    lived = _started(150)
    lived.values[::3, 1] = np.nan

    assert start_up(lived.values)[:149].all()
    assert start_up(lived.values).sum() < 190


def test_how_a_lone_machine_came_to_run_is_left_out_and_told() -> None:
    """By machine and time, as what is unusual in a fleet."""
    cleaned = clean([_started()], machine_class(), seed=0)

    (told,) = cleaned.unusual
    assert (told.machine, told.from_us) == ("m1", START_US)
    assert 200 <= told.rows < 230
    assert len(cleaned.histories[0]) == 600 - told.rows


def test_what_a_person_called_healthy_is_learnt_from_though_it_was_a_start() -> None:
    """The machine is expected to stand still now and then."""
    lived = _started()
    whole = (START_US, int(lived.instants_us[-1]))

    assert clean([lived], machine_class(), seed=0, vouched={"m1": (whole,)}).unusual == ()


def test_nothing_is_left_out_where_too_little_would_be_left() -> None:
    """Learning needs fifty readings."""
    assert clean([_started(30, rows=99)], machine_class(), seed=0).unusual == ()


def test_a_fall_to_where_it_came_from_is_seen() -> None:
    """Learnt from the start as well, the sensor's scale hides it."""
    lived = _started(rows=800)
    lived.values[700:, 1] -= 100.0
    past, later = lived.take(slice(600)), lived.take(slice(600, None))
    pipeline = learn(SPEC, [past], machine_class(), seed=0)
    state = pipeline.new_state("m1")
    pipeline.score(state, past.instants_us, past.values)
    scores = pipeline.score(state, later.instants_us, later.values).score

    assert not (scores[:100] > 1).any()
    assert (scores[105:] > 1).all()
    assert pipeline.about["unusual"]


def test_many_machines_are_held_against_each_other_instead() -> None:
    """Of a fleet it is known what its machines do."""
    fleet = [healthy(seed, rows=600) for seed in range(6)]
    values = fleet[0].values.copy()
    values[:200, 1] -= 100.0

    told = clean([history("m0", values), *fleet[1:]], machine_class(), seed=0).unusual

    assert {one.machine for one in told} <= {"m0"}
