"""Detection on real labelled runs: F1, false-alarm and missed-alarm rate, rows pooled over runs.

    python benchmarks/detection.py [--seeds 3]

Protocol: each run is one machine; its first 400 rows, unlabelled, are learnt from, the rest is
scored causally, row by row. Labels only score. `defaults` is what `PipelineSpec()` is, chosen on
simulated pumps; the others lower the quantile to what 400 rows can tell. No number below was tuned
on these files, but the kinds of features were: a gated baseline was known to do well on them.
"""

import argparse
import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.scorecard.points import Confusion

DATA = Path(os.environ.get("MILLWRIGHT_DATA", "../shared/data")) / "skab"
TRAIN_ROWS = 400
LONG = PipelineSpec(
    features="gated",
    detector="pca",
    window_s=30,
    baseline_s=600,
    quantile=0.99,
    margin=4 / 3,
    trim=0.0,
)
SPECS = {
    "defaults": PipelineSpec(),
    "pca": LONG,
    "gmm": replace(LONG, detector="gmm"),
    "mahalanobis": replace(LONG, detector="mahalanobis"),
    "kmeans": replace(LONG, detector="kmeans"),
    "dbscan": replace(LONG, detector="dbscan"),
    "hdbscan": replace(LONG, detector="hdbscan"),
    "raw kmeans": replace(LONG, detector="kmeans", features="level", window_s=1),
}

type Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One labelled run."""

    history: History
    truth: Flags
    machine_class: MachineClass


def read_runs(folder: Path) -> Iterator[Run]:
    """Read every labelled run below a folder."""
    for path in sorted(folder.glob("*/*.csv")):
        with path.open(encoding="utf-8") as file:
            names, *rows = csv.reader(file, delimiter=";")
        if "anomaly" not in names:
            continue
        label = names.index("anomaly")
        sensors = tuple(Sensor(name=f"s{at}") for at in range(label - 1))
        numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
        instants = [datetime.fromisoformat(row[0]).replace(tzinfo=UTC) for row in rows]
        yield Run(
            history=History(
                machine=f"{path.parent.name}-{path.stem}",
                instants_us=np.array([round(at.timestamp() * 1e6) for at in instants]),
                values=np.ascontiguousarray(numbers[:, : label - 1]),
            ),
            truth=numbers[:, label - 1] > 0,
            machine_class=MachineClass(name="testbed", sensors=sensors, period_s=1.0),
        )


def alarms(spec: PipelineSpec, run: Run, seed: int) -> Flags:
    """Return which test rows the pipeline calls anomalous."""
    one = run.history
    learnt = History(
        machine=one.machine,
        instants_us=one.instants_us[:TRAIN_ROWS],
        values=one.values[:TRAIN_ROWS],
    )
    pipeline = Pipeline.fit(spec, [learnt], run.machine_class, seed=seed)
    scores = pipeline.score(pipeline.new_state(one.machine), one.instants_us, one.values)
    found: Flags = scores.score[TRAIN_ROWS:] > 1
    return found


def main() -> None:
    """Print a table: a row per configuration, mean over seeds with spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    runs = list(read_runs(DATA))
    if not runs:
        print(f"no labelled runs below {DATA}: set MILLWRIGHT_DATA; nothing was measured")
        return
    truth = np.concatenate([run.truth[TRAIN_ROWS:] for run in runs])
    always = Confusion.of(truth, np.ones_like(truth))
    print(f"{len(runs)} runs, {len(truth)} test rows, {truth.mean():.0%} anomalous")
    print(f"{'always alarm':14} F1 {always.f1:.3f}         FAR 100.0 %  MAR  0.0 %")
    for name, spec in SPECS.items():
        by_seed = [
            Confusion.of(truth, np.concatenate([alarms(spec, run, seed) for run in runs]))
            for seed in seeds
        ]
        f1 = [one.f1 for one in by_seed]
        spread = stdev(f1) if len(f1) > 1 else 0.0
        far, mar = mean(one.far for one in by_seed), mean(one.mar for one in by_seed)
        print(f"{name:14} F1 {mean(f1):.3f} ± {spread:.3f} FAR {far:5.1f} %  MAR {mar:4.1f} %")


if __name__ == "__main__":
    main()
