"""What a prediction over HTTP costs: `python -m benchmarks.serving [--rounds 5] [--seconds 4]`.

Millwright as `serve_config.yaml` deploys it, against bare FastAPI, `mlflow models serve` and two
FastAPI deployments under Serve's default proxy. The load generator is a process of its own, the
contestants take turns, figures are medians of the rounds and ratios within a round. The last line
is one JSON object; what was not measured is null, and a line before it says why.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks.serving import contestants, model, scorer
from benchmarks.serving.contestants import Contestant

type Figures = dict[str, float]

PARTS = ("bare", "swaps", "mlflow", "proxy", "scorer")
KEYS = (
    "predict_vs_bare",
    "p99_vs_bare",
    "vs_mlflow_serve",
    "vs_default_proxy",
    "batch_values_per_s",
    "vs_pydantic_sklearn",
    "stream_p99_s",
    "scorer_readings_per_s",
    "swap_failed",
)
_MANY_CALLERS = 4


def drive(url: str, body: Path, *, seconds: float, connections: int = 16) -> Figures:
    """Let the load generator ask one contestant."""
    command = [sys.executable, "-m", "benchmarks.serving.load", url, str(body)]
    given = ["--seconds", str(seconds), "--connections", str(connections)]
    done = subprocess.run(
        [*command, *given], capture_output=True, text=True, check=True, timeout=seconds + 120
    )
    return dict(json.loads(done.stdout))


def turns(
    urls: dict[str, str], body: Path, *, rounds: int, seconds: float, connections: int = 16
) -> dict[str, list[Figures]]:
    """Let contestants take turns, each round in the other order; return what each did."""
    for url in urls.values():
        drive(url, body, seconds=1, connections=connections)
    found: dict[str, list[Figures]] = {name: [] for name in urls}
    for number in range(rounds):
        names = list(urls) if number % 2 else list(urls)[::-1]
        for name in names:
            found[name].append(drive(urls[name], body, seconds=seconds, connections=connections))
            shown = ", ".join(f"{key} {value:,.1f}" for key, value in found[name][-1].items())
            print(f"round {number + 1} {body.stem} {name}: {shown}", flush=True)
            if found[name][-1]["failed"]:
                print(f"{name} failed {found[name][-1]['failed']:.0f} requests", flush=True)
    return found


def ratio(ours: list[Figures], theirs: list[Figures], key: str = "per_s") -> float:
    """Return the median over rounds of ours to theirs."""
    return statistics.median(a[key] / b[key] for a, b in zip(ours, theirs, strict=True))


def swaps(us: Contestant, body: Path, *, count: int) -> Figures:
    """Promote the other model several times while eight callers never pause."""
    stop = threading.Event()

    def promote() -> None:
        while not stop.wait(1.2):
            us.tell()

    thread = threading.Thread(target=promote)
    thread.start()
    try:
        return drive(us.url, body, seconds=count * 1.2 + 1, connections=8)
    finally:
        stop.set()
        thread.join()


def against_bare(us: Contestant, folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Ask for one row, then for a thousand, ours and FastAPI's in turns."""
    values = model.BATCH_ROWS * model.SENSORS
    with contestants.bare(folder) as bare:
        both = {"ours": us.url, "bare": bare.url}
        one = turns(both, folder / "one.json", rounds=rounds, seconds=seconds)
        both["bare"] = bare.url.replace("/predict", "/batch")
        many = turns(
            both, folder / "many.json", rounds=rounds, seconds=seconds, connections=_MANY_CALLERS
        )
    return {
        "predict_per_s": statistics.median(each["per_s"] for each in one["ours"]),
        "predict_vs_bare": ratio(one["ours"], one["bare"]),
        "p99_vs_bare": ratio(one["ours"], one["bare"], "p99_ms"),
        "batch_values_per_s": values * statistics.median(each["per_s"] for each in many["ours"]),
        "vs_pydantic_sklearn": ratio(many["ours"], many["bare"]),
    }


def against(
    start: Callable[[Path], AbstractContextManager[Contestant]],
    us: Contestant,
    folder: Path,
    rounds: int,
    seconds: float,
) -> float | None:
    """Ask ours and another in turns; None, and why, where the other does not come up."""
    ours: list[Figures] = []
    theirs: list[Figures] = []
    try:
        with start(folder) as other:
            for number in range(rounds):
                ours.append(drive(us.url, folder / "one.json", seconds=seconds))
                theirs.append(drive(other.url, other.body or folder / "one.json", seconds=seconds))
                print(f"round {number + 1} ours {ours[-1]}\n    {start.__name__} {theirs[-1]}")
    except (SystemExit, subprocess.SubprocessError) as error:
        print(f"{start.__name__} was not measured: {error}")
        return None
    return ratio(ours, theirs)


def measure(folder: Path, rounds: int, seconds: float, parts: set[str]) -> dict[str, Any]:
    """Measure the parts asked for; the keys are those of the last line."""
    for seed in (1, 2):
        (folder / f"{seed}.model").write_bytes(model.package(seed))
    (folder / "one.json").write_bytes(model.body(1))
    (folder / "many.json").write_bytes(model.body(model.BATCH_ROWS))
    told: dict[str, Any] = dict.fromkeys(KEYS)
    print("stream_p99_s is not measured here: it needs Kafka and the whole crew", flush=True)
    if parts - {"scorer"}:
        with contestants.ours(folder) as us:
            if "bare" in parts:
                told |= against_bare(us, folder, rounds, seconds)
            if "swaps" in parts:
                swapped = swaps(us, folder / "one.json", count=20)
                print(f"20 swaps: {swapped}", flush=True)
                told["swap_failed"] = int(swapped["failed"])
            if "mlflow" in parts:
                start = contestants.mlflow_serve
                told["vs_mlflow_serve"] = against(start, us, folder, rounds, seconds)
            if "proxy" in parts:
                start = contestants.default_proxy
                told["vs_default_proxy"] = against(start, us, folder, rounds, seconds)
    if "scorer" in parts:
        told["scorer_readings_per_s"] = scorer.readings_per_s(folder / "1.model", rounds=rounds)
    return told


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mw-serving-") as folder:
        told = measure(Path(folder), given.rounds, given.seconds, set(given.parts))
    print(f"measured in {time.monotonic() - began:.0f} s")
    shown = {key: None if value is None else round(value, 3) for key, value in told.items()}
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
