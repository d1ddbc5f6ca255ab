"""The process that is measured: `python -m benchmarks.intake.child WHAT TASK`, by `run`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.intake import measured
from benchmarks.intake.site import ROOT

_WITHIN_S = 3600

_QUIET_PERCENT, _QUIET_WITHIN_S = 10.0, 30
"""A cluster that has just come up still starts its dashboard; what is asked is what it costs then
for days. On a machine that others use as well the wait ends by itself."""


def run(what: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run one measurement in a process of its own; return what it found.

    Raises:
        RuntimeError: It failed; with its last words.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.intake.child", what, json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_WITHIN_S,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{what} failed: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Consumer:
    """What an actor is made of: the same measurement, and the metrics that actors have."""

    def measure(self, task: dict[str, Any]) -> dict[str, Any]:
        """Ingest what the task names."""
        from ray_app.metrics import process_metrics

        return measured.consume(task, process_metrics())


def _in_actor(task: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.intake.child import Consumer as Imported  # not `__main__`, for Ray's worker
    from ray_app import cluster
    from ray_app.embedded.ports import free_port

    with (
        tempfile.TemporaryDirectory(prefix="mw-ray-") as home,
        cluster.local(Path(home), dashboard_port=free_port()),
    ):
        import ray  # only now: the token comes first

        actor = cluster.as_actor(Imported, name="bench consumer")
        _await_quiet()
        return dict(ray.get(actor.measure.remote(task)))


def _await_quiet() -> None:
    """Wait until a second passes in which the machine has next to nothing to do."""
    for _ in range(_QUIET_WITHIN_S):
        if psutil.cpu_percent(interval=1) < _QUIET_PERCENT:
            return


_TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "consume": measured.consume,
    "unsafe": measured.consume_unsafe,
    "actor": _in_actor,
    "drain": measured.drain,
    "decode": measured.decode,
}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_TASKS[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
