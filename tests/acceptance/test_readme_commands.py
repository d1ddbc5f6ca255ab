"""The README's commands, run against one platform in the order a reader meets them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from ray_app.embedded.ports import free_port
from tests import environments

_ROOT = Path(__file__).parents[2]
_WITHIN_S = 240


def _block(name: str) -> str:
    found = re.search(
        rf"<!-- commands: {name} -->\n```sh\n(.*?)```", (_ROOT / "README.md").read_text(), re.DOTALL
    )
    assert found, f"the README has no block of commands named {name}"
    return found[1]


def _answer(name: str) -> dict[str, Any]:
    found = re.search(
        rf"<!-- answer: {name} -->\n```json\n(.*?)```",
        (_ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    assert found, f"the README has no answer named {name}"
    answer: dict[str, Any] = json.loads(found[1])
    return answer


def _shape(value: object) -> object:
    """Return names and types of an answer, without its values; of a list what stands first."""
    match value:
        case dict():
            return {key: _shape(one) for key, one in value.items()}
        case [first, *_]:
            return [_shape(first)]
        case _:
            return type(value).__name__


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a home of its own and the commands on the path, as after `make up`."""
    return environments.clean(tmp_path_factory.mktemp("readme")) | {
        "MILLWRIGHT_HTTP_PORT": str(free_port()),
        "SWEEP_TRIALS": "4",
        # The platform would sweep by itself once there is history, and one sweep runs at a time.
        "RETRAIN_INTERVAL_S": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        # Wide enough that nothing Ray prints is wrapped.
        "COLUMNS": "200",
    }


@pytest.fixture(scope="module")
def platform(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run `millwright up` and the simulated fleet of the README; return the environment."""
    home = Path(environment["MILLWRIGHT_HOME"])
    with (
        (home / "up.log").open("w") as log,
        subprocess.Popen(
            ["millwright", "up"],
            env=environment,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as up,
    ):
        try:
            assert up.stdout is not None
            lines = iter(up.stdout.readline, "")
            ready = any(line.startswith("It runs until Ctrl-C") for line in lines)
            assert ready, (home / "up.log").read_text()
            told = _shell('eval "$(millwright env)"; echo "$MILLWRIGHT_API"', environment)
            with _fleet(environment):
                yield environment | {"MILLWRIGHT_API": told.strip()}
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(90)


class _fleet:  # noqa: N801 - used as a function
    """Run the README's fleet in the background; Ctrl-C ends it in good order."""

    def __init__(self, environment: dict[str, str]) -> None:
        home = environment["MILLWRIGHT_HOME"]
        self._process = subprocess.Popen(
            ["bash", "-c", "exec " + _block("fleet").strip()],
            env=environment,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGINT)
        told, trouble = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, trouble[-2000:]
        assert "sent " in told


def _shell(commands: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=environment,
        cwd=environment["MILLWRIGHT_HOME"],
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def _await(what: str, condition: Callable[[], bool]) -> None:
    deadline = monotonic() + _WITHIN_S
    while not condition():
        assert monotonic() < deadline, f"{what} did not happen within {_WITHIN_S} s"
        sleep(0.5)


def _history_is_there(environment: dict[str, str]) -> bool:
    listed = json.loads(_shell("millwright machines --json", environment))
    newest = [datetime.fromisoformat(one["last_reading"]) for one in listed if one["last_reading"]]
    return len(newest) == 4 and datetime.now(UTC) - min(newest) < timedelta(seconds=30)


@pytest.mark.timeout(4 * _WITHIN_S)
def test_the_commands_do_what_the_readme_says(platform: dict[str, str]) -> None:
    """Each block ends with 0; what answers is a fleet, a champion and a score."""
    _await("the fleet's history", lambda: _history_is_there(platform))

    told = _shell(_block("platform"), platform)
    assert "pump-01" in told
    assert "promoted" in told

    _shell(_block("ray"), platform)
    answers = _shell(_block("http"), platform)
    assert _shape(json.loads(answers.splitlines()[-1])) == _shape(_answer("predict"))
    assert json.loads(_shell(_block("problem"), platform)) == _answer("problem")

    replayed = _shell(_block("replay"), platform)
    assert "would send 2 readings of mill-1 with 2 sensors: flow, pressure" in replayed
    assert "sent 2 readings of class mill" in replayed


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("millwright no-such-command", 2, "no-such-command"),
        ("millwright sweep run --trials many", 2, "--trials"),
        ("millwright replay missing.csv", 2, "missing.csv"),
        ("millwright quarantine show 999999", 4, "999999"),
        ("millwright score missing.json", 2, "missing.json"),
        ("KAFKA_PARTITIONS=x POSTGRES_PORT=0 millwright machines", 2, "POSTGRES_PORT"),
        ("POSTGRES_HOST=127.0.0.1 POSTGRES_PORT=1 millwright machines", 3, "PostgreSQL"),
        ("MILLWRIGHT_HOME=/tmp/no-such-home millwright machines", 3, "millwright up"),
        ("millwright up --port 1", 5, ""),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    platform: dict[str, str], words: str, code: int, said: str
) -> None:
    """What, where and what next; never a traceback."""
    done = subprocess.run(
        ["bash", "-c", words],
        env=platform,
        cwd=platform["MILLWRIGHT_HOME"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
