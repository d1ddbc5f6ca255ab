"""How long `millwright up` takes until its API answers, and what it keeps in memory.

The first start of a home makes its databases; the following ones find them. Prints one JSON object
as its last line: seconds of the first start, median and all of the later ones, memory in GiB.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from ray_app.demo.books import resident_gib


def main() -> None:
    """Start and stop a platform several times in one home."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="starts after the first")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="mw-up-") as home:
        figures = [start(home) for _ in range(rounds + 1)]
    seconds = [round(one[0], 1) for one in figures]
    print(
        json.dumps(
            {
                "first_s": seconds[0],
                "later_s": median(seconds[1:]),
                "all_s": seconds,
                "memory_gib": round(median(one[1] for one in figures), 2),
            }
        )
    )


def start(home: str) -> tuple[float, float]:
    """Start a platform, await its API, stop it; return seconds and resident GiB."""
    began = time.monotonic()
    root = Path(__file__).parents[1]
    with (
        (Path(home) / "up.log").open("a") as log,
        subprocess.Popen(
            [sys.executable, "-m", "ray_app.cli.main", "up"],
            env=os.environ | {"MILLWRIGHT_HOME": home, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as platform,
    ):
        assert platform.stdout is not None
        for line in iter(platform.stdout.readline, ""):
            if line.startswith("console and API"):
                break
        else:
            raise SystemExit((Path(home) / "up.log").read_text())
        elapsed = time.monotonic() - began
        memory = resident_gib(platform.pid)
        print(f"ready after {elapsed:.1f} s, {memory:.2f} GiB", file=sys.stderr)
        platform.send_signal(signal.SIGINT)
        platform.wait(90)
    return elapsed, memory


if __name__ == "__main__":
    main()
