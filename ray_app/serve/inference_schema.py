"""What the Open Inference Protocol, version 2, takes and gives, as types that describe it too."""

from typing import Any, Literal

import msgspec

type Datatype = Literal["BOOL", "INT64", "FP32", "FP64"]


class InputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input.

    Attributes:
        name: `sensors` for all of them in the class's order, a sensor's name, or `instants`.
        shape: (n, sensors) for `sensors`, else (n,) or (n, 1).
        datatype: FP64 or FP32, and INT64 for `instants`, which are microseconds since 1970 in UTC.
        parameters: `binary_data_size`, where the values follow the JSON as bytes.
        data: Values in row-major order, flat or nested; null is missing.
    """

    name: str
    shape: list[int]
    datatype: Literal["INT64", "FP32", "FP64"]
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class WantedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is wanted.

    Attributes:
        name: score, is_anomaly, ready, contributions or expected.
        parameters: `binary_data`, whether its values are to follow the JSON as bytes.
    """

    name: str
    parameters: dict[str, Any] = {}


class InferenceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A window to score.

    Attributes:
        inputs: `sensors`, or one per sensor; optionally `instants`.
        id: Comes back in the answer.
        parameters: `machine_id` scores as that registered machine, from its own level, and with
            `instants` completed by its stored readings; `binary_data_output` for all outputs.
        outputs: Which are wanted; all by default.
    """

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[WantedOutput] = []


class OutputTensor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One output; a row per row of the inputs.

    Attributes:
        name: score, is_anomaly, ready, contributions or expected.
        shape: (n,), or (n, sensors).
        datatype: BOOL or FP64.
        parameters: `binary_data_size`, where the values follow the JSON as bytes.
        data: Values in row-major order; null is what the model cannot say. Absent if binary.
    """

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: dict[str, int] | None = None
    data: list[float | bool | None] | None = None


class InferenceResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The scores of a window.

    Attributes:
        model_name: The machine class.
        model_version: The champion's version.
        outputs: As wanted.
        id: As given.
    """

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None


class TensorMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output of a model.

    Attributes:
        name: Its name.
        datatype: Of its values.
        shape: -1 is as many as there are.
    """

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model.

    Attributes:
        name: The machine class.
        versions: The version in use; the protocol serves no other.
        platform: What runs it.
        inputs: `sensors` and `instants`, then each sensor alone.
        outputs: What may be asked for.
    """

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the server.

    Attributes:
        name: millwright.
        version: Of the package.
        extensions: Of the protocol.
    """

    name: str
    version: str
    extensions: list[str]


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The server answers.

    Attributes:
        live: Always true.
    """

    live: bool


class Ready(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a model, or any, can score.

    Attributes:
        ready: Whether.
        name: Of the model; absent for the server.
    """

    ready: bool
    name: str = ""


class InferenceError(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal as the protocol wants it.

    Attributes:
        error: What happened and what to do next.
    """

    error: str


DESCRIBED: tuple[type, ...] = (
    InferenceRequest,
    InferenceResponse,
    ModelMetadata,
    ServerMetadata,
    Live,
    Ready,
    InferenceError,
)
