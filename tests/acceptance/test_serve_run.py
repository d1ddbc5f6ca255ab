"""`serve run serve_config.yaml` as Ray's users know it, on a machine where nothing of ours runs."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
import yaml

from ray_app.embedded.ports import free_port
from tests import environments

_ROOT = Path(__file__).parents[2]
_OF_EACH = ("/healthz", "/api/v1/docs", "/api/v1/predict")
"""A path of each application; the proxy answers 404 until it is there."""

_WITHIN_S = 180.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Run the README's command on a free port, in an empty home; return its URL."""
    port = free_port()
    config = yaml.safe_load((_ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    (tmp_path / "serve_config.yaml").write_text(yaml.safe_dump(config))
    with (
        (tmp_path / "serve.log").open("w") as log,
        subprocess.Popen(
            [Path(sys.executable).parent / "serve", "run", "serve_config.yaml"],
            # Else Ray looks for a cluster on this machine, also for one that is gone.
            env=environments.clean(tmp_path / "home", RAY_ADDRESS="local"),
            cwd=tmp_path,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as run,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            _await_health(url, run, tmp_path / "serve.log")
            yield url
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(90)


def _await_health(url: str, run: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + _WITHIN_S
    while True:
        try:
            if all(httpx.get(url + path).status_code != 404 for path in _OF_EACH):
                return
        except httpx.TransportError:
            pass
        assert run.poll() is None, log.read_text()
        assert monotonic() < deadline, log.read_text()
        sleep(0.3)


def test_without_a_platform_every_answer_says_what_to_start(site: str) -> None:
    """The applications come up all the same; what they need is a problem, with the way out."""
    assert httpx.get(f"{site}/healthz").status_code == 200
    body = {"machine_id": "pump-01", "timestamp": "2026-01-01T00:00:00Z", "values": {"flow": 1.0}}
    ready = httpx.get(f"{site}/readyz")
    assert ready.status_code == 503
    assert "millwright up" in ready.text

    answers = [
        httpx.get(f"{site}/api/v1/machines"),
        httpx.post(f"{site}/api/v1/predict", json=body, timeout=60),
    ]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "millwright up" in answer.json()["detail"], answer.text
