"""`millwright score`: one prediction over HTTP, as any client would ask for it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import BadInputError, ServiceUnavailableError
from ray_app.cli import context
from ray_app.cli.output import Json, json_line, line

_TIMEOUT_S = 30.0


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    file: Annotated[
        Path, typer.Argument(help="Body of `POST /api/v1/predict` as JSON; `-` reads stdin.")
    ],
    url: Annotated[
        str | None, typer.Option(help="Base URL of the API; the running platform's by default.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="API key.", envvar="MILLWRIGHT_API_KEY", show_envvar=True)
    ] = None,
    as_json: Json = False,
) -> None:
    """Score readings of a machine with the champion."""
    answer = _ask(url or _api(), _body(file), key)
    results = answer.get("results", [answer])
    if as_json:
        json_line(answer)
        return
    for result in results:
        line(sentence(result))


def sentence(result: dict[str, Any]) -> str:
    """Return one prediction in words."""
    model = result["model"]
    verdict = "anomalous" if result["is_anomaly"] else "healthy"
    name = result.get("machine_id") or result.get("machine_class") or "the machine"
    told = f"{name} is {verdict}: score {result['score']:.2f} (anomalous above 1)"
    parts = result["contributions"][:1]
    why = "".join(
        f", most of it {part['sensor']} (expected {part['expected']:.4g}, "
        f"observed {part['observed']:.4g})"
        for part in parts
        if part["observed"] is not None and part["expected"] is not None
    )
    return f"{told}{why}, says {model['name']} v{model['version']}"


def _body(file: Path) -> bytes:
    if str(file) == "-":
        text = sys.stdin.buffer.read()
    else:
        try:
            text = file.read_bytes()
        except OSError as error:
            raise BadInputError(f"cannot be read: {error.strerror}", str(file)) from None
    try:
        json.loads(text)
    except ValueError as error:
        raise BadInputError(f"is not JSON: {error}", str(file)) from None
    return text


def _api() -> str:
    from ray_app.embedded.state import read

    found = context.settings()
    running = read(found.home)
    if running is not None and running.api:
        return running.api
    return f"http://{found.env.millwright_http_host}:{found.env.millwright_http_port or 8000}"


def _ask(url: str, body: bytes, key: str | None) -> dict[str, Any]:
    import httpx

    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        answer = httpx.post(
            f"{url}/api/v1/predict", content=body, headers=headers, timeout=_TIMEOUT_S
        )
    except httpx.HTTPError as error:
        raise ServiceUnavailableError(
            "the API", f"{url}: {error}", "Start the platform with `millwright up`"
        ) from None
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if answer.status_code == 200:
        return dict(told)
    detail = told.get("detail") or f"HTTP {answer.status_code}"
    if answer.status_code >= 500:
        raise ServiceUnavailableError("the prediction", detail)
    raise BadInputError(detail, url)
