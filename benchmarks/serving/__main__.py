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
from pathlib import Path
from typing import Any

from benchmarks.serving import contestants, model, scorer
from benchmarks.serving.contestants import Contestant

type Figures = dict[str, float]


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


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Measure everything; the keys are those of the last line."""
    for seed in (1, 2):
        (folder / f"{seed}.model").write_bytes(model.package(seed))
    one, many = folder / "one.json", folder / "many.json"
    one.write_bytes(model.body(1))
    many.write_bytes(model.body(model.BATCH_ROWS))
    told: dict[str, Any] = {}
    with contestants.ours(folder) as us:
        with contestants.bare(folder) as bare:
            both = {"ours": us.url, "bare": bare.url}
            found = turns(both, one, rounds=rounds, seconds=seconds)
            told["predict_per_s"] = statistics.median(each["per_s"] for each in found["ours"])
            told["predict_vs_bare"] = ratio(found["ours"], found["bare"])
            told["p99_vs_bare"] = ratio(found["ours"], found["bare"], "p99_ms")
            both["bare"] = bare.url.replace("/predict", "/batch")
            found = turns(both, many, rounds=rounds, seconds=seconds, connections=4)
            values = model.BATCH_ROWS * model.SENSORS
            told["batch_values_per_s"] = values * statistics.median(
                each["per_s"] for each in found["ours"]
            )
            told["vs_pydantic_sklearn"] = ratio(found["ours"], found["bare"])
        swapped = swaps(us, one, count=20)
        print(f"20 swaps: {swapped}", flush=True)
        told["swap_failed"] = int(swapped["failed"])
        for key, start in (
            ("vs_mlflow_serve", contestants.mlflow_serve),
            ("vs_default_proxy", contestants.default_proxy),
        ):
            with start(folder) as other:
                path = folder / "mlflow.json" if key == "vs_mlflow_serve" else one
                found = {"ours": [], "other": []}
                for number in range(rounds):
                    for name, url, body in (("ours", us.url, one), ("other", other.url, path)):
                        figures = drive(url, body, seconds=seconds)
                        found[name].append(figures)
                        print(f"round {number + 1} {key} {name}: {figures}", flush=True)
                told[key] = ratio(found["ours"], found["other"])
    told["scorer_readings_per_s"] = scorer.readings_per_s(folder / "1.model", rounds=rounds)
    told["stream_p99_s"] = None
    print("stream_p99_s is not measured here: it needs Kafka and the whole crew")
    return told


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mw-serving-") as folder:
        told = measure(Path(folder), given.rounds, given.seconds)
    print(f"measured in {time.monotonic() - began:.0f} s")
    shown = {key: None if value is None else round(value, 3) for key, value in told.items()}
    print(json.dumps(shown))


if __name__ == "__main__":
    main()
