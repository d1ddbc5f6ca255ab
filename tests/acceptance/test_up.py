"""`millwright up` through its whole life: started, found, killed, started again, stopped."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from ingestion.kafka import ensure_topic
from ingestion.settings import KafkaSettings
from observability.ray_series import RAY_SERIES
from ray_app.embedded.ports import free_port, reserve
from tests import environments

_READY_WITHIN_S = 240
_COMMAND = [sys.executable, "-m", "ray_app.cli.main"]


_SERIES = {"ray_millwright_consumer_lag", "ray_millwright_consumers"} | {
    f"ray_{one.name}" for one in RAY_SERIES
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a home of its own, and nothing of the tester's shell."""
    home = tmp_path_factory.mktemp("up")
    return environments.clean(home, MILLWRIGHT_HTTP_PORT=str(free_port()), COMMIT_INTERVAL_MS="200")


@contextmanager
def _started(environment: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    # A folder without a `.env` of the developer's.
    folder = environment["MILLWRIGHT_HOME"]
    with (
        (Path(folder) / "progress").open("w") as progress,
        subprocess.Popen(
            [*_COMMAND, "up", *options],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=progress,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _await(what: str, condition: Callable[[], bool], within_s: float) -> None:
    deadline = monotonic() + within_s
    while not condition():
        assert monotonic() < deadline, f"{what} did not happen within {within_s} s"
        sleep(0.1)


def _await_ready(process: subprocess.Popen[str], environment: dict[str, str]) -> dict[str, Any]:
    assert process.stdout is not None
    told = iter(process.stdout.readline, "")
    ready = any(line.startswith("It runs until Ctrl-C") for line in told)
    assert ready, (Path(environment["MILLWRIGHT_HOME"]) / "progress").read_text()
    return dict(json.loads((Path(environment["MILLWRIGHT_HOME"]) / "services.json").read_text()))


def _end(process: subprocess.Popen[str], number: signal.Signals) -> list[str]:
    """Send a signal and return the names of the processes that are left after it."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    process.wait(60)
    _gone, alive = psutil.wait_procs(family, timeout=30)
    return [f"{left.pid} {left.name()}" for left in alive]


def _run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *words],
        env=environment,
        cwd=environment["MILLWRIGHT_HOME"],
        capture_output=True,
        text=True,
        check=False,
    )


def _metrics(services: dict[str, Any]) -> str:
    token = Path(services["ray_token"]).read_text()
    asked = urllib.request.Request(
        f"{services['dashboard']}/api/prometheus/sd", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        targets = [target for group in json.load(answer) for target in group["targets"]]
    texts = []
    for target in targets:
        # Ray lists its autoscaler before that answers.
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer,
        ):
            texts.append(answer.read().decode())
    return "\n".join(texts)


def _exported(services: dict[str, Any]) -> set[str]:
    """Return the names of the series that have a value."""
    lines = _metrics(services).splitlines()
    return {one.partition("{")[0] for one in lines if not one.startswith("#")}


_OVENS = """
topic = "plant.ovens"
machine = "$.oven"
machine_class = "oven"
time = "$.at"
[[sensors]]
name = "heat"
from = "$.degrees"
"""


def _send_oven(kafka: str) -> None:
    # Its owner makes the topic; the consumer has been waiting for it.
    ensure_topic(KafkaSettings(bootstrap_servers=kafka, topic="plant.ovens"))
    producer = Producer({"bootstrap.servers": kafka})
    instant = datetime.now(UTC).isoformat()
    producer.produce("plant.ovens", json.dumps({"oven": "oven-1", "at": instant, "degrees": 240}))
    assert producer.flush(30) == 0


def _is_there(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return False


@pytest.mark.timeout(900)
def test_a_platform_lives_dies_and_lives_again(environment: dict[str, str]) -> None:
    """No process is left after kill -9 or SIGTERM, and the second life knows what the first did."""
    home = Path(environment["MILLWRIGHT_HOME"])
    with _started(environment) as first:
        services = _await_ready(first, environment)
        _await("MLflow's answer", lambda: "MLflow answers" in (home / "progress").read_text(), 240)
        found = _run(environment, "doctor", "--json")
        assert found.returncode == 0, found.stdout + found.stderr
        states = {each["subject"]: each["state"] for each in json.loads(found.stdout)}
        assert services["api"] in states["platform"]

        again = _run(environment, "up")
        assert again.returncode == 5, again.stderr
        assert len(again.stderr.strip().splitlines()) == 1
        assert str(first.pid) in again.stderr

        _await(
            "gauges of ours at Ray's exporter, and what the autoscaler goes by",
            lambda: _exported(services) >= _SERIES,
            60,
        )
        assert _end(first, signal.SIGKILL) == []

    (home / "oven.toml").write_text(_OVENS)
    with _started(environment, "--mapping", "oven.toml") as second:
        after = _await_ready(second, environment)
        assert after["kafka"] == services["kafka"]
        _send_oven(after["kafka"])
        oven = f"{after['api']}/api/v1/machines/oven-1"
        _await("the reading of a topic of another shape", lambda: _is_there(oven), 60)
        assert "revision" in (home / "progress").read_text()
        states = {
            each["subject"]: each["state"]
            for each in json.loads(_run(environment, "doctor", "--json").stdout)
        }
        assert "machine.sensor.readings holds" in states["Kafka"]
        assert _end(second, signal.SIGTERM) == []

    assert second.returncode == 128 + signal.SIGTERM
    assert not (home / "services.json").exists()


@pytest.mark.timeout(300)
def test_ctrl_c_in_the_middle_of_a_start_leaves_nothing(environment: dict[str, str]) -> None:
    """A start that takes too long for somebody is ended like any other."""
    home = Path(environment["MILLWRIGHT_HOME"])
    with _started(environment) as process:
        _await(
            "PostgreSQL's answer",
            lambda: "PostgreSQL answers" in (home / "progress").read_text(),
            _READY_WITHIN_S,
        )
        assert _end(process, signal.SIGINT) == []

    assert process.returncode == 130


@pytest.mark.timeout(120)
def test_a_used_port_is_one_clear_error_and_starts_nothing(environment: dict[str, str]) -> None:
    """The answer names the port and the variable, before anything was started."""
    with reserve() as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = _run(environment | {"MILLWRIGHT_HTTP_PORT": port}, "up")

    assert refused.returncode == 5
    (line,) = refused.stderr.strip().splitlines()
    assert f"port {port} of 127.0.0.1 is in use" in line
    assert "MILLWRIGHT_HTTP_PORT" in line
