"""One OpenAPI description for all of HTTP, and its page without a line from another host."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from jinja2 import Environment, PackageLoader, StrictUndefined

from ray_app.serve import openapi_inference, schema
from ray_app.serve.predictor import ARROW

_PREFIX = "/api"
_ABOUT = (
    "Scores machines, and shows what is known of them. Times are RFC 3339 in UTC, errors are RFC "
    "9457 problem details, pages follow `next_cursor`. On loopback reading and predicting are open "
    "and whatever changes something needs an API key; elsewhere everything does."
)


def _problem(text: str) -> dict[str, Any]:
    reference = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": reference}}}


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    401: _problem("A key is needed, or this one is not valid"),
    404: _problem("It is not there"),
    422: _problem("A parameter or the body is wrong; `errors` names every place"),
    503: _problem("A service this needs is away; try again after `Retry-After` seconds"),
}
"""Answers every route may give beside its own."""

_READING_POSTS: Final = ("/predict", "/infer")
"""These only read, though they take a body."""

_WRITE_PROBLEMS: Final = {
    "403": _problem("The role of this key may not do that"),
    "408": _problem("The body took too long"),
    "409": _problem("The present state does not allow it"),
    "413": _problem("The body is larger than 1 MB"),
    "415": _problem("The body is compressed"),
}

PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

_READING = {
    "timestamp": "2026-01-02T03:04:05.500Z",
    "values": {"vibration_1": 0.213, "current": 2.4, "motor_temperature": 89.5},
}
_EXAMPLES = {
    "one reading": {"machine_id": "pump-1", **_READING},
    "a window": {"machine_id": "pump-1", "readings": [_READING]},
    "its newest stored window": {"machine_id": "pump-1"},
    "a machine that is not registered": {"machine_class": "pump", "readings": [_READING]},
    "many": {"requests": [{"machine_id": "pump-1", **_READING}]},
}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description: FastAPI's of its routes, and the types of predict themselves."""
    made = get_openapi(title="Millwright", version="1", description=_ABOUT, routes=app.routes)
    made["paths"] = {f"{_PREFIX}{path}": item for path, item in made["paths"].items()}
    made["paths"][f"{_PREFIX}/v1/predict"] = {"post": _predict()}
    made["paths"] |= openapi_inference.paths()
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    # Where both sides know a name, FastAPI's own references must keep meaning its own.
    schemas |= {name: told for name, told in schema.components().items() if name not in schemas}
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{}, {"key": []}]
    _link(made["paths"])
    for path, item in made["paths"].items():
        if path.endswith(_READING_POSTS):
            continue
        for method in item.keys() & {"post", "put", "delete"}:
            item[method]["security"] = [{"key": []}]
            item[method]["responses"] |= _WRITE_PROBLEMS
    return made


_HISTORY: Final = "/models/{machine_class}/history"
_LINKS: Final = (
    ("get", "/machines", "items/0/id", "machine_id", "/machines/{machine_id}"),
    ("get", "/machines", "items/0/id", "machine_id", "/machines/{machine_id}/readings"),
    ("get", "/machines", "items/0/id", "machine_id", "/machines/{machine_id}/model"),
    ("get", "/incidents", "items/0/id", "incident_id", "/incidents/{incident_id}"),
    ("get", "/quarantine", "items/0/id", "message_id", "/quarantine/{message_id}"),
    ("get", "/models", "items/0/machine_class", "machine_class", _HISTORY),
    ("post", "/models/{machine_class}/promote", "machine_class", "machine_class", _HISTORY),
    ("post", "/sweeps", "id", "sweep_id", "/sweeps/{sweep_id}"),
)
"""Which answer names what another operation asks for."""


def _link(paths: dict[str, Any]) -> None:
    """Write down which answers lead where: method, path, pointer, parameter, target."""
    for method, path, pointer, parameter, target in _LINKS:
        responses = paths[f"{_PREFIX}/v1{path}"][method]["responses"]
        found = paths[f"{_PREFIX}/v1{target}"]["get"]["operationId"]
        answer = responses["202"] if "202" in responses else responses["200"]
        answer.setdefault("links", {})[found] = {
            "operationId": found,
            "parameters": {parameter: f"$response.body#/{pointer}"},
        }


def methods_of(description: dict[str, Any], path: str) -> str:
    """Return the methods of a path, as `Allow` wants them."""
    parts = path.strip("/").split("/")
    items: dict[str, dict[str, Any]] = description["paths"]
    none: dict[str, Any] = {}
    found = items.get(path) or next(
        (item for told, item in items.items() if _fits(told.strip("/").split("/"), parts)), none
    )
    return ", ".join(sorted(method.upper() for method in found))


def _fits(told: list[str], parts: list[str]) -> bool:
    return len(told) == len(parts) and all(
        one == part or one.startswith("{") for one, part in zip(told, parts, strict=True)
    )


def as_json(description: dict[str, Any]) -> bytes:
    """Return the description as JSON."""
    return msgspec.json.encode(description)


def as_page(description: dict[str, Any]) -> str:
    """Return the description as a page for people."""
    environment = Environment(
        loader=PackageLoader("ray_app.console"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("docs.html").render(
        about=description, operations=_operations(description), schemas=_schemas(description)
    )


def _predict() -> dict[str, Any]:
    answers = {"oneOf": [_ref("Prediction"), _ref("Predictions")]}
    return {
        "tags": ["predict"],
        "operationId": "predict",
        "summary": "Predict",
        "description": (
            "Score one reading, a window or many. A short window of a registered machine is "
            "completed by its stored readings, unless `context` is `none`. As Arrow a table holds "
            "rows of many machines: `machine_id`, `timestamp`, and a column per sensor or one list "
            "column `values`; who accepts Arrow gets a verdict per row."
        ),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("PredictRequest"),
                    "examples": {name: {"value": value} for name, value in _EXAMPLES.items()},
                },
                ARROW: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {
                "description": "Scored: one answer, or `results` for `requests`",
                "content": {
                    "application/json": {"schema": answers},
                    ARROW: {"schema": {"type": "string", "format": "binary"}},
                },
            },
            "405": _problem("Only POST is allowed"),
            "408": _problem("The body took too long"),
            "413": _problem("The body is larger than 5 MB"),
            "415": _problem("The body is declared as neither JSON nor Arrow, or it is compressed"),
            **{str(status): told for status, told in PROBLEMS.items()},
        },
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operations(description: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"method": method.upper(), "path": path, **operation}
        for path, item in sorted(description["paths"].items())
        for method, operation in item.items()
    ]


def _schemas(description: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, msgspec.json.format(msgspec.json.encode(told), indent=2).decode())
        for name, told in sorted(description["components"]["schemas"].items())
    ]
