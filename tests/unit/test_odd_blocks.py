"""Blocks of a training period that stand far out are found, few others, and never too many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from domain.detectors import DETECTORS
from domain.detectors.contract import Detector
from domain.odd_blocks import EARLY, FACTOR, MOST, MOST_OF_ONE, Blocks, bounded, excess, odd_blocks
from domain.pipeline_spec import PipelineSpec
from domain.readings import Matrix

MACHINES, EACH, ROWS = 5, 8, 30


def _fit(features: Matrix) -> Detector:
    return DETECTORS["mahalanobis"].fit(features, PipelineSpec(clusters=1), seed=0)


def _blocks(shifted: dict[tuple[int, int], float], *, machines: int = MACHINES) -> Blocks:
    """Return blocks of noise; (machine, block) → how many deviations its rows are elsewhere."""
    features = np.random.default_rng(3).normal(size=(machines * EACH * ROWS, 4))
    for (machine, block), by in shifted.items():
        first = (machine * EACH + block) * ROWS
        features[first : first + ROWS, 0] += by
    return Blocks(
        features=features,
        block=np.repeat(np.arange(machines * EACH), ROWS),
        machine=np.repeat(np.arange(machines), EACH),
        fold=np.tile(np.arange(EACH) * 4 // EACH, machines),
    )


def test_health_is_left_as_it_is() -> None:
    """Nothing stands out of noise."""
    assert not odd_blocks(_blocks({}), _fit).any()


@pytest.mark.parametrize("ill", [(1, 4), (1, 6), (3, 7)])
def test_a_block_elsewhere_is_found_with_its_neighbours(ill: tuple[int, int]) -> None:
    """Before it is a failure's beginning, after it what its end leaves in the windows."""
    told = odd_blocks(_blocks({ill: 12.0}), _fit).reshape(MACHINES, EACH)

    machine, block = ill
    assert told[machine].nonzero()[0].tolist() == [
        at for at in range(block - 1, block + 2) if at < EACH
    ]
    assert told.sum() == told[machine].sum()


def test_failures_do_not_hide_each_other() -> None:
    """The same failure in two machines widens every fit that has seen it; concentration has not."""
    ill = {(machine, block): 12.0 for machine in (0, 3) for block in (4, 5, 6)}
    told = odd_blocks(_blocks(ill), _fit).reshape(MACHINES, EACH)

    assert all(told[one] for one in ill)
    assert not told[[1, 2, 4]].any()


def test_a_machine_that_is_another_all_along_stays() -> None:
    """It stands out against the class, not against itself."""
    ill = {(2, block): 12.0 for block in range(EACH)}

    assert not odd_blocks(_blocks(ill), _fit).any()


def test_two_machines_cannot_say_who_is_odd() -> None:
    """With two nobody is left out, whatever they do."""
    blocks = _blocks({(1, block): 30.0 for block in (4, 5)}, machines=2)

    assert not odd_blocks(blocks, _fit).any()


def test_beginnings_may_wander_further() -> None:
    """A block that stands out later is none at the beginning, where the past is unknown."""
    machine = np.repeat(np.arange(MACHINES), EACH)
    level = EARLY * np.log(FACTOR)
    found = np.zeros(MACHINES * EACH)
    found[[0, EACH + 5]] = level - 0.01

    beyond = excess(found, machine)
    assert beyond[0] < 0 < beyond[EACH + 5]


@given(
    beyond=npst.arrays(np.float64, MACHINES * EACH, elements=st.floats(-3, 3)),
)
def test_never_more_is_left_out_than_may_be(beyond: np.ndarray) -> None:
    """However much stands out, most of the class and half of each machine is learnt from."""
    machine = np.repeat(np.arange(MACHINES), EACH)
    told = bounded(beyond, machine)

    assert told.mean() <= MOST
    assert told.reshape(MACHINES, EACH).mean(axis=1).max() <= MOST_OF_ONE
    assert not told.any() or beyond[told].max() > 0
