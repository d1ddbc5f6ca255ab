"""Single choices beside the default: thresholds, feature sets and detectors, by replay and by F1.

    python -m benchmarks.choices [--data skab,fleet,nab] [--only evt,glosh] [--processes 2]

Everything but the named choice is the default pipeline. Replay sees no label; F1 and false alarms
are of the verdicts on what comes after the part that was learnt from (see `replay_study`, whose
data and judges these are). One line of JSON per choice and data set.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import msgspec

from benchmarks.replay_study import NICENESS, judge_one
from domain.pipeline_spec import PipelineSpec

DAY_S: Final = 86_400.0

CHOICES: Final = {
    "default": PipelineSpec(),
    "evt-hour": PipelineSpec(threshold="evt", return_s=3600.0),
    "evt-day": PipelineSpec(threshold="evt", return_s=DAY_S),
    "evt-month": PipelineSpec(threshold="evt", return_s=30 * DAY_S),
    "window": PipelineSpec(features="window", detector="pca"),
    "window-kmeans": PipelineSpec(features="window", detector="kmeans"),
    "window-whitened": PipelineSpec(features="window-whitened", detector="kmeans"),
    "level-whitened": PipelineSpec(features="level-whitened", detector="kmeans"),
    "gated-bands": PipelineSpec(features="gated-bands", detector="pca"),
    "gated": PipelineSpec(features="gated", detector="pca"),
    "birch": PipelineSpec(detector="birch"),
    "minibatch": PipelineSpec(detector="minibatch", clusters=8),
    "glosh": PipelineSpec(detector="glosh"),
    "knn": PipelineSpec(detector="knn"),
    "lof": PipelineSpec(detector="lof"),
    "ensemble": PipelineSpec(detector="ensemble"),
    "ensemble-wide": PipelineSpec(detector="ensemble-wide"),
}
"""Name → what is compared."""


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="skab,fleet,nab")
    parser.add_argument("--only", default=",".join(CHOICES))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    pairs = [(data, name) for data in given.data.split(",") for name in given.only.split(",")]
    with ProcessPoolExecutor(given.processes, initializer=os.nice, initargs=(NICENESS,)) as pool:
        jobs = [pool.submit(judge_one, data, CHOICES[name]) for data, name in pairs]
        for (data, name), job in zip(pairs, jobs, strict=True):
            one = job.result()
            line = {
                "data": data,
                "choice": name,
                "replay": round(one.replay, 3),
                "f1": round(one.f1, 3),
                "far": round(one.far, 1),
            }
            print(msgspec.json.encode(line).decode(), flush=True)


if __name__ == "__main__":
    main()
