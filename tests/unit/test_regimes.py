"""A machine that starts, idles and loads does not alarm; a fault within each regime does."""

import numpy as np
import pytest

from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, Matrix
from tests.unit.learning_samples import healthy, history, machine_class

CYCLE = ("start",) * 40 + ("load",) * 140 + ("idle",) * 100
LEVELS = {"start": (65.0, 20.0), "load": (40.0, 60.0), "idle": (0.0, 0.0)}
"""What the two operating sensors show above idle; the other two answer to nothing."""


def regimes(rows: int, shift: int) -> list[str]:
    """Return the regime of each row of a machine that is so many rows into its cycle."""
    return [CYCLE[(row + shift) % len(CYCLE)] for row in range(rows)]


def working(seed: int, rows: int = 2800) -> History:
    """Return a healthy machine that runs through its regimes."""
    values = healthy(seed, rows=rows).values
    values[:, :2] += np.array([LEVELS[one] for one in regimes(rows, 37 * seed)])
    return history(f"m{seed}", values)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Return a pipeline of five machines that work."""
    spec = PipelineSpec(window_s=20, baseline_s=300, recover_s=30)
    return Pipeline.fit(spec, [working(seed) for seed in range(5)], machine_class(), seed=0)


def alarms(pipeline: Pipeline, one: History, values: Matrix) -> np.ndarray:
    """Return which rows are anomalous, shape (n,)."""
    scores = pipeline.score(pipeline.new_state(one.machine), one.instants_us, values)
    return (scores.score > 1) & scores.ready


def test_the_regimes_are_found(pipeline: Pipeline) -> None:
    """Start, load and idle, by the two sensors that jump."""
    assert len(pipeline.front.plan.centres) == 3
    assert (pipeline.front.plan.operating > 0).tolist() == [True, True, False, False]


def test_starting_loading_and_idling_is_health(pipeline: Pipeline) -> None:
    """Hours that were not learnt from stay quiet in every regime."""
    one = working(11)
    quiet = alarms(pipeline, one, one.values)
    names = np.array(regimes(len(one), 37 * 11))

    for name in LEVELS:
        assert quiet[names == name].mean() < 0.01, name


@pytest.mark.parametrize("sensor", [0, 3])
@pytest.mark.parametrize("regime", sorted(LEVELS))
def test_a_fault_that_shows_in_one_regime_alarms_in_it(
    pipeline: Pipeline, regime: str, sensor: int
) -> None:
    """Eight deviations, of an operating sensor or another, while that regime lasts."""
    one = working(12)
    there = np.array(regimes(len(one), 37 * 12)) == regime
    there[: len(one) // 2] = False
    values = one.values.copy()
    values[there, sensor] += 10.0
    wrong = alarms(pipeline, one, values)

    starts = np.flatnonzero(np.diff(there.astype(int), prepend=0) == 1)
    ends = np.flatnonzero(np.diff(there.astype(int), append=0) == -1) + 1

    assert len(starts) >= 3
    caught = [wrong[start:end].any() for start, end in zip(starts, ends, strict=True)]
    assert np.mean(caught) >= 0.8
    assert wrong[: len(one) // 2].mean() < 0.01
