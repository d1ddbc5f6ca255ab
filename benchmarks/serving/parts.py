"""What can be measured, each part by itself; every one returns keys of the last line."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving import contestants, model, scorer, stream
from benchmarks.serving.contestants import Contestant
from benchmarks.serving.driving import drive, median, ratio, turns

_MANY_CALLERS = 4
_SWAPS = 20
_SWAP_EVERY_S = 1.2
"""A promotion is noticed within a second."""

_SWEEP_CALLERS = 8


class OursFailedError(Exception):
    """Requests to us failed: whatever was measured does not count."""


@dataclass(slots=True)
class Stage:
    """What the parts share.

    Attributes:
        folder: With models, requests and logs.
        rounds: How often contestants take turns.
        seconds: Each time.
    """

    folder: Path
    rounds: int
    seconds: float

    @property
    def one(self) -> Path:
        """Request with one reading."""
        return self.folder / "one.json"

    @property
    def many(self) -> Path:
        """Request with a window."""
        return self.folder / "many.json"

    def prepare(self) -> None:
        """Write models and requests."""
        for seed in (1, 2):
            (self.folder / f"{seed}.model").write_bytes(model.package(seed))
        self.one.write_bytes(model.body(1))
        self.many.write_bytes(model.body(model.BATCH_ROWS))


def bare(stage: Stage, us: Contestant) -> dict[str, Any]:
    """Ask for one row, ours and FastAPI's in turns."""
    with contestants.bare(stage.folder) as other:
        both = {"ours": (us.url, stage.one), "bare": (other.url, stage.one)}
        found = turns(both, rounds=stage.rounds, seconds=stage.seconds)
    _all_answered(found["ours"])
    return {
        "predict_per_s": median(found["ours"], "per_s"),
        "predict_vs_bare": ratio(found["ours"], found["bare"]),
        "p99_vs_bare": ratio(found["ours"], found["bare"], "p99_ms"),
    }


def batch(stage: Stage, us: Contestant) -> dict[str, Any]:
    """Ask for a thousand rows, ours and pydantic + sklearn in turns."""
    values = model.BATCH_ROWS * model.SENSORS
    with contestants.bare(stage.folder) as other:
        usual = other.url.replace("/predict", "/batch")
        found = turns(
            {"ours": (us.url, stage.many), "pydantic_sklearn": (usual, stage.many)},
            rounds=stage.rounds,
            seconds=stage.seconds,
            connections=_MANY_CALLERS,
        )
    _all_answered(found["ours"])
    return {
        "batch_values_per_s": values * median(found["ours"], "per_s"),
        "vs_pydantic_sklearn": ratio(found["ours"], found["pydantic_sklearn"]),
    }


def swaps(stage: Stage, us: Contestant) -> dict[str, Any]:
    """Promote the other model twenty times while eight callers never pause."""
    seconds = _SWAPS * _SWAP_EVERY_S + 1
    calm = drive(us.url, stage.one, seconds=seconds / 3, connections=8)
    with _promoting(us):
        found = drive(us.url, stage.one, seconds=seconds, connections=8)
    print(f"without swaps {calm}\n20 swaps {found}", flush=True)
    return {
        "swap_failed": int(found["failed"]),
        "swap_p99_ratio": found["p99_ms"] / calm["p99_ms"],
    }


@contextmanager
def _promoting(us: Contestant) -> Iterator[None]:
    stop = threading.Event()

    def promote() -> None:
        for _ in range(_SWAPS):
            if stop.wait(_SWAP_EVERY_S):
                return
            us.tell("next")

    thread = threading.Thread(target=promote)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def sweep(stage: Stage, us: Contestant) -> dict[str, Any]:
    """Ask before a sweep's trials run on the same cores, and while they do."""

    def ask() -> dict[str, float]:
        return drive(us.url, stage.one, seconds=stage.seconds, connections=_SWEEP_CALLERS)

    rounds = max(3, stage.rounds)
    idle = [ask() for _ in range(rounds)]
    us.tell("sweep")
    us.await_line("sweeping")
    busy = [ask() for _ in range(rounds)]
    if us.heard("swept"):
        raise ValueError("the sweep ended before what was to be measured beside it")
    print(f"before a sweep {idle}\nbeside it {busy}", flush=True)
    _all_answered(busy)
    return {"sweep_p99_ratio": median(busy, "p99_ms") / median(idle, "p99_ms")}


def mlflow(stage: Stage, us: Contestant) -> dict[str, Any]:
    """Ask ours and `mlflow models serve`."""
    return {"vs_mlflow_serve": _against(contestants.mlflow_serve, stage, us)}


def proxy(stage: Stage, us: Contestant) -> dict[str, Any]:
    """Ask ours and two deployments under Serve's default proxy."""
    return {"vs_default_proxy": _against(contestants.default_proxy, stage, us)}


def stream_delay(stage: Stage) -> dict[str, Any]:
    """Measure from a reading to its anomaly."""
    found = stream.delay_s(stage.folder / "1.model", seconds=5 * stage.seconds)
    print(f"stream: {found}", flush=True)
    return {"stream_p99_s": found["p99_s"]}


def scorer_rate(stage: Stage) -> dict[str, Any]:
    """Measure the stream's scorer alone."""
    package, rounds = stage.folder / "1.model", stage.rounds
    dense = scorer.readings_per_s(package, scorer.MACHINES, scorer.EACH, rounds=rounds)
    sparse = scorer.readings_per_s(
        package, scorer.SPARSE_MACHINES, scorer.SPARSE_EACH, rounds=rounds
    )
    return {"scorer_readings_per_s": dense, "scorer_sparse_per_s": sparse}


BESIDE_US = {
    "bare": bare,
    "batch": batch,
    "swaps": swaps,
    "mlflow": mlflow,
    "proxy": proxy,
    "sweep": sweep,
}
"""Parts that ask Millwright as it is deployed; the sweep is last, for nobody awaits its end."""

ALONE: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "stream": stream_delay,
    "scorer": scorer_rate,
}
"""Parts that need no Serve."""

RIVALS = {"mlflow", "proxy"}
"""Parts that a rival which does not come up leaves empty, without an error of ours."""


def _against(
    start: Callable[[Path], AbstractContextManager[Contestant]], stage: Stage, us: Contestant
) -> float:
    with start(stage.folder) as other:
        both = {
            "ours": (us.url, stage.one),
            start.__name__: (other.url, other.body or stage.one),
        }
        found = turns(both, rounds=stage.rounds, seconds=stage.seconds)
    _all_answered(found["ours"])
    return ratio(found["ours"], found[start.__name__])


def _all_answered(found: list[dict[str, float]]) -> None:
    failed = sum(one["failed"] for one in found)
    if failed:
        raise OursFailedError(f"{failed:.0f} requests to us failed")
