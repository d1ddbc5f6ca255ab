"""Quix Streams' Postgres sink, in an environment of its own: its versions are not ours."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.intake.ours import Filled
from benchmarks.intake.rivals import clock
from benchmarks.intake.site import Site
from ray_app.embedded.kafka_jars import cache_dir
from storage.connect import rows, session

VERSION = "3.28.1"
_TABLE = "quix_readings"
_SCRIPT = Path(__file__).with_name("quix_process.py")


def install() -> Path:
    """Return the Python that has Quix Streams; made in our cache at the first call.

    Raises:
        RivalFailedError: It cannot be installed.
    """
    folder = cache_dir() / f"quix-{VERSION}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file():
        wanted = f"quixstreams[postgresql]=={VERSION}"
        for argv in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", wanted],
        ):
            said = subprocess.run(argv, capture_output=True, text=True, check=False)
            if said.returncode != 0:
                raise clock.RivalFailedError(f"it cannot be installed: {said.stderr[-300:]}")
        done.touch()
    return python


def measure(site: Site, topic: Filled, python: Path) -> float:
    """Return readings per second.

    Raises:
        RivalFailedError: Not all of them were brought.
    """
    with site.fresh() as storage:
        with session(storage) as on:
            rows(on, f"CREATE TABLE {_TABLE} (timestamp timestamp NOT NULL, __key text)")
        settings = {
            "servers": site.kafka,
            "topic": topic.kafka.topic,
            "group": topic.as_new_group().group_id,
            "libpq": storage.libpq(),
            "table": _TABLE,
        }
        argv = [str(python), str(_SCRIPT), json.dumps(settings)]
        return clock.rate(argv, storage, _TABLE, topic.readings, site.folder / "quix.log")
