"""Deploys the Serve applications of `serve_config.yaml` to a running cluster."""

import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from domain.errors import ServiceUnavailableError

CONFIG = Path(__file__).parents[1] / "serve_config.yaml"
_READY_WITHIN_S = 300.0
_POLL_S = 0.4
"""Each look costs the dashboard some milliseconds that the replicas need to come up."""


def deploy(dashboard: str, *, host: str, port: int, config: Path = CONFIG) -> str:
    """Hand the declarative configuration to Serve; replicas come up by themselves.

    Args:
        dashboard: URL of Ray's dashboard.
        host: Where the proxy listens.
        port: The same.
        config: The file `serve deploy` takes as well.

    Returns:
        The URL of console and API, which answer after `wait`.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    wanted: dict[str, Any] = yaml.safe_load(config.read_text())
    wanted["http_options"] = {**wanted.get("http_options", {}), "host": host, "port": port}
    try:
        ServeSubmissionClient(dashboard).deploy_applications(wanted)
    except (ConnectionError, RuntimeError) as error:
        raise ServiceUnavailableError("Ray Serve", " ".join(str(error).split())[:300]) from error
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    return f"http://{shown}:{port}"


def wait(dashboard: str, url: str, *, within_s: float = _READY_WITHIN_S) -> None:
    """Await that every application runs and the console's health answers.

    Raises:
        ServiceUnavailableError: One failed to deploy, or the time is over.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    client = ServeSubmissionClient(dashboard)
    deadline = time.monotonic() + within_s
    while True:
        states = _states(client)
        failed = {name: told for name, (state, told) in states.items() if state == "DEPLOY_FAILED"}
        if failed:
            name, told = next(iter(failed.items()))
            raise ServiceUnavailableError("Ray Serve", f"{name} failed: {' '.join(told.split())}")
        if states and all(state == "RUNNING" for state, _ in states.values()) and _answers(url):
            return
        if time.monotonic() > deadline:
            told = ", ".join(f"{name} is {state}" for name, (state, _) in states.items())
            raise ServiceUnavailableError("Ray Serve", f"not ready in {within_s:.0f} s: {told}")
        time.sleep(_POLL_S)


def _states(client: Any) -> dict[str, tuple[str, str]]:
    applications = client.get_serve_details().get("applications", {})
    return {name: (str(a["status"]), str(a["message"])) for name, a in applications.items()}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:  # noqa: S310 - our URL
            return bool(answer.status == 200)
    except OSError:
        return False
