"""Scores to tensors of the Open Inference Protocol, and what a model's tensors are. Pure."""

from typing import Any, Final

import numpy as np

from domain.machines import MachineClass
from domain.scores import Scores
from ray_app.serve.inference_schema import InferenceRequest, OutputTensor, TensorMetadata
from ray_app.serve.tensors import INSTANTS, SENSORS, Array, refused

_OUTPUTS: Final = ("score", "is_anomaly", "ready", "contributions", "expected")


def outputs(
    request: InferenceRequest, scores: Scores, *, skip: int, threshold: float
) -> tuple[list[OutputTensor], bytes]:
    """Return the outputs that are wanted, and the bytes of the binary ones.

    Args:
        request: Says which, and how.
        scores: Of the stored readings before the window, and of the window.
        skip: How many rows are those before it.
        threshold: A higher score is anomalous.

    Raises:
        RefusedError: An output is unknown (400).
    """
    every: dict[str, Array] = {
        "score": scores.score,
        "is_anomaly": scores.score > threshold,
        "ready": scores.ready,
        "contributions": scores.contributions,
        "expected": scores.expected,
    }
    binary = _flag(request.parameters, "binary_data_output", default=False)
    wanted = [
        (one.name, _flag(one.parameters, "binary_data", default=binary)) for one in request.outputs
    ] or [(name, binary) for name in every]
    told, parts = [], []
    for name, raw in wanted:
        if name not in every:
            raise refused(f"there is no output {name[:128]!r}; there are {', '.join(every)}")
        tensor, part = _told(name, every[name][skip:], binary=raw)
        told.append(tensor)
        parts.append(part)
    return told, b"".join(parts)


def described(machine_class: MachineClass) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return inputs and outputs of a class's model."""
    width = len(machine_class.sensors)
    names = machine_class.sensor_names
    inputs = [
        TensorMetadata(name=SENSORS, datatype="FP64", shape=[-1, width]),
        TensorMetadata(name=INSTANTS, datatype="INT64", shape=[-1]),
        *(TensorMetadata(name=name, datatype="FP64", shape=[-1]) for name in names),
    ]
    made = [
        TensorMetadata(
            name=name,
            datatype="BOOL" if name in {"is_anomaly", "ready"} else "FP64",
            shape=[-1, width] if name in {"contributions", "expected"} else [-1],
        )
        for name in _OUTPUTS
    ]
    return inputs, made


def _told(name: str, found: Array, *, binary: bool) -> tuple[OutputTensor, bytes]:
    shape, kind = list(found.shape), "BOOL" if found.dtype == np.bool_ else "FP64"
    if binary:
        raw = found.astype(np.bool_ if kind == "BOOL" else "<f8").tobytes()
        size = {"binary_data_size": len(raw)}
        return (
            OutputTensor(name=name, shape=shape, datatype=_kind(kind), parameters=size),
            raw,
        )
    # NaN becomes null in JSON.
    return OutputTensor(
        name=name, shape=shape, datatype=_kind(kind), data=found.reshape(-1).tolist()
    ), b""


def _kind(name: str) -> Any:
    return name


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise refused(f"{name} is {str(value)[:40]!r}; true or false is wanted")
    return value
