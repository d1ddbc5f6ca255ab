"""The description of `/v2`, the Open Inference Protocol, made from the types that speak it."""

from typing import Any, Final

from ray_app.serve.params import NAME

_MODEL = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "The model: name of a machine class",
    "schema": {"type": "string", "pattern": NAME},
}
_VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "The version in use; the protocol serves no other",
    "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "Of the binary extension: how many bytes of JSON come before those of tensors",
    "schema": {"type": "integer", "minimum": 0, "maximum": 5_000_000},
}
_EXAMPLES: Final = {
    "a matrix": {
        "inputs": [
            {
                "name": "sensors",
                "shape": [2, 2],
                "datatype": "FP64",
                "data": [[0.213, 2.4], [0.214, None]],
            }
        ],
        "outputs": [{"name": "score"}, {"name": "is_anomaly"}],
    },
    "columns with instants": {
        "id": "42",
        "inputs": [
            {"name": "vibration", "shape": [2], "datatype": "FP64", "data": [0.213, 0.214]},
            {
                "name": "instants",
                "shape": [2],
                "datatype": "INT64",
                "data": [1767323045500000, 1767323046000000],
            },
        ],
        "parameters": {"machine_id": "pump-1"},
    },
}


def paths() -> dict[str, Any]:
    """Return the operations by path and method."""
    made: dict[str, Any] = {
        "/v2": _get("serverMetadata", "Tell name and extensions", "ServerMetadata", ()),
        "/v2/health/live": _get("serverLive", "Say that the server answers", "Live", ()),
        "/v2/health/ready": _get("serverReady", "Say whether a model can score", "Ready", ()),
    }
    made["/v2/health/ready"]["get"]["responses"]["503"] = _answer("No model yet", "Ready")
    for health in ("/v2/health/live", "/v2/health/ready"):
        for status in ("400", "401", "404"):
            made[health]["get"]["responses"].pop(status)
    made["/v2/health/live"]["get"]["responses"].pop("503")
    for base, suffix, given in (
        ("/v2/models/{name}", "", (_MODEL,)),
        ("/v2/models/{name}/versions/{version}", "OfVersion", (_MODEL, _VERSION)),
    ):
        made[base] = _get(
            f"modelMetadata{suffix}", "Tell inputs and outputs of a model", "ModelMetadata", given
        )
        made[f"{base}/ready"] = _get(
            f"modelReady{suffix}", "Say whether a model can score", "Ready", given
        )
        made[f"{base}/infer"] = {"post": _infer(f"infer{suffix}", given)}
    return made


def _get(name: str, summary: str, shape: str, given: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "get": {
            "tags": ["inference"],
            "operationId": name,
            "summary": summary,
            "parameters": list(given),
            "responses": {"200": _answer("As asked", shape), **_refusals()},
        }
    }


def _infer(name: str, given: tuple[Any, ...]) -> dict[str, Any]:
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    json_ = {"application/json": {"schema": _ref("InferenceResponse")}}
    return {
        "tags": ["inference"],
        "operationId": name,
        "summary": "Score a window given as tensors",
        "description": (
            "Inputs are `sensors`, a matrix in the class's order, or one vector per sensor; "
            "`instants` tells when. A row per row comes back."
        ),
        "parameters": [*given, _LENGTH],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("InferenceRequest"),
                    "examples": {key: {"value": value} for key, value in _EXAMPLES.items()},
                }
            },
        },
        "responses": {
            "200": {
                "description": "JSON, or JSON and the bytes of tensors where those are wanted",
                "headers": {
                    "Inference-Header-Content-Length": {
                        "description": "Where the JSON ends, if bytes follow",
                        "schema": {"type": "integer"},
                    }
                },
                "content": {**json_, **binary},
            },
            **_refusals(),
            "408": _answer("The body took too long", "InferenceError"),
            "413": _answer("The body is larger than 5 MB", "InferenceError"),
            "415": _answer("The body is compressed", "InferenceError"),
        },
    }


def _refusals() -> dict[str, Any]:
    texts = {
        "400": "The request is wrong",
        "401": "A key is needed, or this one is not valid",
        "404": "There is no such model, version or machine",
        "405": "Another method is wanted",
        "503": "Nothing was promoted yet, or a service this needs is away",
    }
    return {status: _answer(text, "InferenceError") for status, text in texts.items()}


def _answer(text: str, shape: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(shape)}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
