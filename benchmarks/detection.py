"""Detection on a fixed slice of the exam and on SKAB, and what `make test` holds it against.

    python benchmarks/detection.py [--seeds 8] [--record]

Prints a table: a row per part, mean over seeds with spread. `--record` writes the figures to
`tests/data/detection.json`; do that only when a change is meant, and say why in its commit.

The slice is short, so that it can run at every change: half an hour of a fleet is learnt from,
faults of full and half strength, new levels, sensors' faults and healthy machines are judged.
SKAB is scored as by `millwright scorecard`, if `MILLWRIGHT_DATA` has it; the default pipeline has
no seed in it there, so its spread is that over runs (bootstrap).
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, pstdev
from typing import Any, Final

import numpy as np

from domain.scorecard.exam import CLASSES, Paper, examine
from domain.scorecard.protocol import judge
from domain.scorecard.tally import Figures, Tally, figures
from ray_app.datasets import read_dataset

RECORD: Final = Path(__file__).parents[1] / "tests" / "data" / "detection.json"
SLICE: Final = Paper(
    groups=("full", "half", "new-level", "contaminated", "sensor", "healthy"),
    learn_s=1800,
    calm_s=300,
    jitter_s=300,
    after_s=300,
    healthy=1,
    baselines=False,
)
BETTER: Final[Mapping[str, int]] = {
    "f1": 1,
    "far": -1,
    "roc_auc": 1,
    "vus_pr": 1,
    "events_detected": 1,
    "median_delay_s": -1,
    "nab_standard": 1,
    "hit_at_1": 1,
    "sensor_faults_detected": 1,
    "sensor_faults_blamed": -1,
}
"""Figure → which way is better."""

_RESAMPLES: Final = 200

type Part = dict[str, dict[str, Any]]


def skab_folder() -> Path:
    """Return where SKAB is, if it is there."""
    return Path(os.environ.get("MILLWRIGHT_DATA", "../shared/data")) / "skab"


def exam_slice(class_name: str, seed: int) -> Figures:
    """Return the figures of one fleet."""
    return figures([one.ours for one in examine(class_name, seed=seed, paper=SLICE)])


def skab_tallies() -> list[Tally]:
    """Return what the default pipeline gets on each run of SKAB."""
    runs = read_dataset(skab_folder()).runs
    return [Tally.of(run, judge(run, seed=0)) for run in runs]


def measured(found: Sequence[Figures], spread_of: Sequence[Figures] | None = None) -> Part:
    """Return each figure by seed, and its standard deviation over seeds or over what is given."""
    part: Part = {}
    for name in BETTER:
        values = [float(one[name] or 0.0) for one in found if one.get(name) is not None]
        drawn = [float(one[name] or 0.0) for one in spread_of or found if one.get(name) is not None]
        if values:
            part[name] = {"by_seed": values, "sd": pstdev(drawn or values)}
    return part


def resampled(tallies: Sequence[Tally]) -> list[Figures]:
    """Return the figures of other draws of the same runs; curves, which are slow, are left out."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(tallies), (_RESAMPLES, len(tallies)))
    return [figures([tallies[at] for at in draw], curves=False) for draw in draws]


def main() -> None:
    """Measure, print, and record if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    parts = {
        f"exam {name}": measured([exam_slice(name, seed) for seed in range(given.seeds)])
        for name in CLASSES
    }
    if skab_folder().is_dir():
        tallies = skab_tallies()
        parts["skab"] = measured([figures(tallies)], resampled(tallies))
    else:
        print(f"no SKAB at {skab_folder()}: set MILLWRIGHT_DATA; it was not measured")
    for name, part in parts.items():
        told = [f"{key} {mean(one['by_seed']):.3g} ± {one['sd']:.2g}" for key, one in part.items()]
        print(f"{name:10} " + ", ".join(told))
    if given.record:
        if "skab" not in parts:
            parser.error("a record needs SKAB as well")
        RECORD.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
        print(f"recorded in {RECORD}")


if __name__ == "__main__":
    main()
