"""`millwright demo --once --json`: the whole way of the data, from an empty folder to a table."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import environments

_WITHIN_S = 480


@pytest.mark.timeout(_WITHIN_S + 60)
def test_a_fleet_fails_and_is_noticed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every failure is detected, no reading is lost, a prediction answers, nothing is left."""
    home = tmp_path_factory.mktemp("demo")

    done = subprocess.run(
        [sys.executable, "-m", "ray_app.cli.main", "demo", "--once", "--json"],
        env=environments.clean(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["readings_stored"] > 8 * 7000
    assert (told["lost"], told["duplicated"], told["quarantined"]) == (0, 0, 0)
    assert told["trials"] >= 4
    assert told["champion"]
    assert told["failures_injected"] == told["failures_detected"] == 6
    assert 0 <= told["median_delay_s"] < 240
    assert told["false_alarms_per_machine_day"] >= 0
    assert told["prediction_status"] == 200
    assert _left_in(home) == []


def _left_in(home: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(home) in word for word in words):
            found.append(" ".join(words)[:100])
    return found
