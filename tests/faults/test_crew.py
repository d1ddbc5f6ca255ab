"""The always-on actors, killed and failing, on a real cluster with its token."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic, sleep

import pytest

from ray_app.crew import next_pause


def _lives(traces: Path, wanted: int) -> list[Path]:
    deadline = monotonic() + 60
    while len(found := sorted(traces.glob("life-*"))) < wanted:
        assert monotonic() < deadline, f"only {len(found)} lives"
        sleep(0.05)
    return found


def test_a_member_lives_again_after_a_kill_and_after_an_error_and_drains(tmp_path: Path) -> None:
    """Killed with -9, then failing by itself: it works again, and ends in good order."""
    script = Path(__file__).with_name("crew_process.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdin=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        traces = tmp_path / "traces"
        (first,) = _lives(traces, 1)
        os.kill(int(first.name.split("-")[2]), signal.SIGKILL)
        _lives(traces, 3)
        cluster = json.loads((tmp_path / "cluster").read_text())
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{cluster['dashboard']}/api/version", timeout=10)
        mode = Path(cluster["token"]).stat().st_mode
        process.stdin.close()

    told = json.loads((tmp_path / "end").read_text())
    assert process.returncode == 0
    assert (traces / "drained").is_file()
    assert len(told["failures"]) == 2
    assert "the broker is away" in told["failures"][1]
    assert told["close_s"] < 10
    assert mode & 0o077 == 0, "the token is nobody else's"


def test_pauses_grow_while_a_member_keeps_failing_and_start_small_again() -> None:
    """A service that is away for long is not hammered; one hiccup costs little."""
    pauses = [0.0]
    for _ in range(8):
        pauses.append(next_pause(pauses[-1], worked_s=0.1))

    assert pauses[1:4] == [0.2, 0.4, 0.8]
    assert pauses[-1] == 10.0
    assert next_pause(10.0, worked_s=61.0) == 0.2
