"""What a prediction over HTTP costs: `python -m benchmarks.serving [--rounds 5] [--seconds 4]`.

Millwright as `serve_config.yaml` deploys it, against bare FastAPI, `mlflow models serve` and two
FastAPI deployments under Serve's default proxy. The load generator is a process of its own, the
contestants take turns, figures are medians of the rounds and ratios within a round. Parts are
measured one after the other and fail alone: what was not measured is null in the last line, one
JSON object, and a line before it says why. A failure of ours fails the command, a rival's does not.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.serving import contestants, parts
from domain.errors import PlatformError

KEYS = (
    "predict_vs_bare",
    "p99_vs_bare",
    "vs_mlflow_serve",
    "vs_default_proxy",
    "batch_values_per_s",
    "vs_pydantic_sklearn",
    "swap_failed",
    "swap_p99_ratio",
    "sweep_p99_ratio",
    "stream_p99_s",
    "scorer_readings_per_s",
    "scorer_sparse_per_s",
    "predict_per_s",
)
PARTS = (*parts.BESIDE_US, *parts.ALONE)


class Told:
    """What was found so far, and which parts of ours failed."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = dict.fromkeys(KEYS)
        self.broken: list[str] = []

    def add(self, part: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure a part; if it fails, say why and go on."""
        began = time.monotonic()
        try:
            self.figures |= measure()
        except (
            SystemExit,
            OSError,
            ValueError,
            PlatformError,
            subprocess.SubprocessError,
            parts.OursFailedError,
        ) as error:
            if isinstance(error, parts.OursFailedError) or part not in parts.RIVALS:
                self.broken.append(part)
            traceback.print_exc(limit=4, file=sys.stdout)
            print(f"{part} was not measured: {error}", flush=True)
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)


def measure(stage: parts.Stage, wanted: set[str]) -> Told:
    """Measure the parts asked for."""
    stage.prepare()
    told = Told()
    served = [part for part in parts.BESIDE_US if part in wanted]

    def all_served() -> dict[str, Any]:
        with contestants.ours(stage.folder) as us:
            for part in served:
                told.add(part, lambda part=part: parts.BESIDE_US[part](stage, us))  # type: ignore[misc]
        return {}

    if served:
        told.add("ours", all_served)
    for part, alone in parts.ALONE.items():
        if part in wanted:
            told.add(part, lambda alone=alone: alone(stage))  # type: ignore[misc]
    return told


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    # Whoever ends it early finds nothing left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mw-serving-", ignore_cleanup_errors=True) as folder:
        stage = parts.Stage(folder=Path(folder), rounds=given.rounds, seconds=given.seconds)
        told = measure(stage, set(given.parts))
    print(f"measured in {time.monotonic() - began:.0f} s")
    shown = {key: None if one is None else round(one, 3) for key, one in told.figures.items()}
    print(json.dumps(shown), flush=True)
    if told.broken:
        raise SystemExit(f"failed: {', '.join(told.broken)}")


if __name__ == "__main__":
    main()
