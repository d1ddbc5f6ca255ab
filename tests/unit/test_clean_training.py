"""What nobody suspected of a training period but stands far out is not learnt from."""

from dataclasses import replace

import numpy as np
import pytest

from domain.clean_training import Unusual, clean, learn
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from tests.unit.learning_samples import START_US, healthy, machine_class

ROWS = 2400
ILL = slice(1500, 1900)
BLOCK = 180
SECOND = 1_000_000


def _fleet(machines: int = 6) -> list[History]:
    return [healthy(seed, rows=ROWS) for seed in range(machines)]


def _failing(history: History, by: float = 6.0) -> History:
    """Let two sensors rise and stay for a while."""
    values = history.values.copy()
    values[ILL, :2] += np.minimum(np.arange(400) / 60, 1.0)[:, None] * by
    return replace(history, values=values)


def _contaminated() -> list[History]:
    fleet = _fleet()
    fleet[1], fleet[4] = _failing(fleet[1]), _failing(fleet[4])
    return fleet


@pytest.mark.parametrize("regimes", [False, True])
def test_healthy_machines_teach_all_they_have(*, regimes: bool) -> None:
    """A machine that idles now and then is healthy too."""
    fleet = [healthy(seed, rows=ROWS, regimes=regimes) for seed in range(6)]
    cleaned = clean(fleet, machine_class(), seed=0)

    assert cleaned.unusual == ()
    assert all(map(lambda kept, given: kept is given, cleaned.histories, fleet))


def test_failures_that_nobody_told_of_are_left_out() -> None:
    """Nearly all of them goes, and of health no more than what surrounds them."""
    cleaned = clean(_contaminated(), machine_class(), seed=0)

    assert {one.machine for one in cleaned.unusual} == {"m1", "m4"}
    for one, kept in zip(_contaminated(), cleaned.histories, strict=True):
        gone = ~np.isin(one.instants_us, kept.instants_us)
        if one.machine in {"m1", "m4"}:
            assert gone[ILL].mean() > 0.85
            # A block on each side, and the rest of those in which it begins and ends.
            assert gone.sum() - gone[ILL].sum() <= 4 * BLOCK
        else:
            assert not gone.any()


def test_the_stretches_are_what_is_missing() -> None:
    """What is told of covers every reading that was left out, and no other."""
    fleet = _contaminated()
    cleaned = clean(fleet, machine_class(), seed=0)

    for given, kept in zip(fleet, cleaned.histories, strict=True):
        mine = [one for one in cleaned.unusual if one.machine == given.machine]
        inside = np.zeros(len(given), dtype=np.bool_)
        for one in mine:
            inside |= (given.instants_us >= one.from_us) & (given.instants_us <= one.to_us)
        assert inside.sum() == sum(one.rows for one in mine)
        assert np.array_equal(given.instants_us[~inside], kept.instants_us)


def test_what_a_person_called_healthy_is_learnt_from() -> None:
    """An alarm that was false is health, however it looks."""
    fleet = _contaminated()
    whole = (START_US, START_US + ROWS * SECOND)
    cleaned = clean(fleet, machine_class(), seed=0, vouched={"m1": [whole]})

    assert {one.machine for one in cleaned.unusual} == {"m4"}
    assert len(cleaned.histories[1]) == ROWS


def test_what_most_machines_do_now_and_then_is_no_failure() -> None:
    """It stands out as far as a failure does, but four of six do it: another way to work."""
    fleet = [_failing(one) if at % 3 else one for at, one in enumerate(_fleet())]

    assert clean(fleet, machine_class(), seed=0).unusual == ()


def test_two_machines_are_taken_at_their_word() -> None:
    """Nobody can say which of the two is odd."""
    fleet = [_failing(healthy(1, rows=ROWS)), healthy(2, rows=ROWS)]

    assert clean(fleet, machine_class(), seed=0).unusual == ()


def test_health_ends_where_it_would_without_the_failures() -> None:
    """The threshold is near that of a clean period; taken as health, the failures raise it."""
    spec, kind = PipelineSpec(), machine_class()
    wanted = Pipeline.fit(spec, _fleet(), kind, seed=0).threshold
    raised = Pipeline.fit(spec, _contaminated(), kind, seed=0).threshold
    made = learn(spec, _contaminated(), kind, seed=0)

    assert abs(made.threshold / wanted - 1) < 0.15 < raised / wanted - 1
    told = [Unusual(**one) for one in made.about["unusual"]]  # type: ignore[attr-defined]
    assert {one.machine for one in told} == {"m1", "m4"}
    loaded = Pipeline.from_package(made.to_package(), "toy")
    assert loaded.about["unusual"] == made.about["unusual"]


def test_a_stretch_is_told_in_words() -> None:
    """Machine and time, as the rest of the platform writes them."""
    one = Unusual(machine="m1", from_us=START_US, to_us=START_US + SECOND, rows=2)

    assert str(one) == "m1 2023-11-14T22:13:20.000000Z to 2023-11-14T22:13:21.000000Z"
