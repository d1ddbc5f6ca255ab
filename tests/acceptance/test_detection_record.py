"""Detection is held: the real pipeline on a fixed slice, against its figures as recorded.

A figure may be worse than its record by the spread that other fleets or runs would make, and no
more. `python benchmarks/detection.py --record` renews the record where a change is meant.
"""

import json
from collections.abc import Mapping
from statistics import mean
from typing import Any

import pytest

from benchmarks.detection import BETTER, RECORD, exam_slice, skab_folder, skab_tallies
from domain.scorecard.tally import Figures, figures

SEEDS = (0, 1)
"""Of the recorded ones, so that a figure is held against the very same fleets."""

LEAST_MARGIN: Mapping[str, float] = {
    "far": 0.5,
    "median_delay_s": 5.0,
    "nab_standard": 1.0,
    "events_detected": 0.5,
    "sensor_faults_detected": 0.5,
    "sensor_faults_blamed": 0.5,
}
"""Where all seeds agree, a little is allowed all the same; .01 for figures up to 1."""


def _worse(recorded: Mapping[str, Any], found: list[Figures]) -> dict[str, str]:
    """Return the figures that are worse than recorded by more than the margin."""
    worse = {}
    for name, one in recorded.items():
        before = mean(one["by_seed"][: len(found)])
        now = mean(float(each[name] or 0.0) for each in found)
        margin = max(one["sd"], LEAST_MARGIN.get(name, 0.01))
        if BETTER[name] * (now - before) < -margin:
            worse[name] = f"{now:.3f}, recorded {before:.3f} with a margin of {margin:.3f}"
    return worse


@pytest.fixture(scope="module")
def record() -> dict[str, dict[str, Any]]:
    """Return what was recorded."""
    return dict(json.loads(RECORD.read_text(encoding="utf-8")))


@pytest.mark.parametrize("class_name", ["pump", "fan"])
def test_simulated_fleets_are_judged_as_well_as_recorded(
    class_name: str, record: dict[str, dict[str, Any]]
) -> None:
    """Every mode at full and half strength, new levels, sensors' faults, healthy machines."""
    found = [exam_slice(class_name, seed) for seed in SEEDS]

    assert _worse(record[f"exam {class_name}"], found) == {}


@pytest.mark.skipif(not skab_folder().is_dir(), reason="MILLWRIGHT_DATA/skab is not here")
def test_skab_is_judged_as_well_as_recorded(record: dict[str, dict[str, Any]]) -> None:
    """All runs of the testbed that are at hand."""
    assert _worse(record["skab"], [figures(skab_tallies())]) == {}


def test_a_regression_beyond_the_margin_is_seen(record: dict[str, dict[str, Any]]) -> None:
    """The holder itself holds: what a coin would get is told as worse, what was recorded is not."""
    recorded = record["exam pump"]
    as_before: Figures = {name: one["by_seed"][0] for name, one in recorded.items()}
    coin = as_before | {"roc_auc": 0.5, "far": 50.0, "f1": 0.2, "hit_at_1": 0.1}

    assert _worse(recorded, [as_before]) == {}
    assert set(_worse(recorded, [coin])) == {"roc_auc", "far", "f1", "hit_at_1"}
