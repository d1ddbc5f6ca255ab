"""A cluster with one member, until stdin ends; what it has to say is in `cluster` and `end`.

Files and not stdout, which Ray writes to as well.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

from ray_app import cluster
from ray_app.crew import Crew
from ray_app.embedded.ports import free_port


class Member:
    """Works until told otherwise, and leaves a trace of every life."""

    def __init__(self, folder: str) -> None:
        self._folder, self._stop = Path(folder), threading.Event()

    def run(self) -> None:
        """Work; the second life fails once by an error of its own."""
        lives = len(list(self._folder.glob("life-*")))
        (self._folder / f"life-{lives}-{os.getpid()}").touch()
        if lives == 1:
            raise ConnectionError("the broker is away")
        self._stop.wait()
        (self._folder / "drained").touch()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()


def _tell(path: Path, answer: dict[str, object]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(answer))
    partial.replace(path)


def main(home: Path) -> None:
    """Run until stdin ends."""
    traces = home / "traces"
    traces.mkdir()
    failures: list[str] = []
    with cluster.local(home, dashboard_port=free_port(), cpus=1) as ray:
        crew = Crew(on_failure=lambda name, why: failures.append(f"{name}: {why}"))
        crew.add("m", cluster.as_actor(Member, str(traces), name="m"), kind="consumer")
        _tell(home / "cluster", {"dashboard": ray.dashboard, "token": str(ray.token_file)})
        sys.stdin.read()
        began = time.monotonic()
        crew.close()
        _tell(home / "end", {"failures": failures, "close_s": time.monotonic() - began})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
