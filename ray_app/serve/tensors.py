"""Tensors of the Open Inference Protocol to windows of numbers. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass
from domain.readings import Instants, Matrix
from domain.wire import EARLIEST_US
from ray_app.serve.inference_schema import (
    InferenceRequest,
    InputTensor,
)
from ray_app.serve.problems import RefusedError
from ray_app.serve.schema import MOST

type Array = npt.NDArray[Any]

SENSORS: Final = "sensors"
INSTANTS: Final = "instants"

MOST_ROWS: Final = 100_000
_LATEST_US: Final = 253_402_300_799_000_000
_KINDS: Final[dict[str, "np.dtype[Any]"]] = {
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_PLAIN: Final = frozenset({int, float, type(None)})
_DECODER = msgspec.json.Decoder(InferenceRequest)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """What is to be scored.

    Attributes:
        instants_us: Shape (n,), strictly increasing; spaced by the class's period where not given.
        values: Shape (n, S) in the class's order; NaN is missing.
        dated: Whether the instants were given.
    """

    instants_us: Instants
    values: Matrix
    dated: bool


def decode(body: bytes, json_bytes: int | None) -> tuple[InferenceRequest, bytes]:
    """Return the request, and the bytes behind its JSON.

    Args:
        body: As it came.
        json_bytes: Where the JSON ends; None where nothing follows it.

    Raises:
        RefusedError: It is no request of the protocol (400).
    """
    end = len(body) if json_bytes is None else json_bytes
    if not 0 <= end <= len(body):
        raise refused(f"the header says {end} bytes of JSON, the body has {len(body)}")
    try:
        return _DECODER.decode(body[:end]), body[end:]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused(f"the body is no inference request: {error}") from None


def window(request: InferenceRequest, tail: bytes, machine_class: MachineClass) -> Window:
    """Return the window that a request asks to score.

    Raises:
        RefusedError: An input is unknown, missing, doubled or malformed (400).
    """
    given: dict[str, Array] = {}
    offset = 0
    for tensor in request.inputs:
        if tensor.name in given:
            raise refused(f"input {tensor.name[:128]!r} is given twice")
        if tensor.name not in {SENSORS, INSTANTS, *machine_class.sensor_names}:
            raise refused(
                f"{machine_class.name} has no input {tensor.name[:128]!r}; it has {SENSORS}, "
                f"{INSTANTS}, or each of {', '.join(machine_class.sensor_names[:40])}"
            )
        given[tensor.name], used = _array(tensor, tail[offset:])
        offset += used
    if offset != len(tail):
        raise refused(f"{len(tail) - offset} bytes follow the last binary input")
    instants = given.pop(INSTANTS, None)
    values = _matrix(given, machine_class)
    return _dated(values, instants, machine_class.period_s)


def refused(detail: str) -> RefusedError:
    """Return the refusal of a request that the protocol calls bad."""
    return RefusedError(400, "Invalid request", detail)


def _array(tensor: InputTensor, tail: bytes) -> tuple[Array, int]:
    if (tensor.datatype == "INT64") != (tensor.name == INSTANTS):
        wanted = "INT64" if tensor.name == INSTANTS else "FP64 or FP32"
        raise refused(f"input {tensor.name!r} is {tensor.datatype}; it must be {wanted}")
    if not 1 <= len(tensor.shape) <= 2 or min(tensor.shape) < 1 or tensor.shape[0] > MOST_ROWS:
        raise refused(
            f"input {tensor.name!r} has shape {tensor.shape[:8]}; one or two numbers are allowed, "
            f"of 1 and more, and at most {MOST_ROWS} rows"
        )
    kind, size = _KINDS[tensor.datatype], prod(tensor.shape)
    if "binary_data_size" not in tensor.parameters:
        return _plain(tensor, kind, size), 0
    length = tensor.parameters["binary_data_size"]
    if tensor.data is not None or length != size * kind.itemsize or length > len(tail):
        raise refused(
            f"input {tensor.name!r} says binary_data_size {length!r}; shape and datatype make "
            f"{size * kind.itemsize}, and {len(tail)} bytes are left"
        )
    found = np.frombuffer(tail, kind, size).reshape(tensor.shape)
    return found, int(length)


def _plain(tensor: InputTensor, kind: np.dtype[Any], size: int) -> Array:
    flat = list(_flattened(tensor.data or [], depth=2))
    if len(flat) != size:
        raise refused(
            f"input {tensor.name!r} has {len(flat)} values; its shape {tensor.shape} makes {size}"
        )
    allowed = frozenset({int}) if kind.kind == "i" else _PLAIN
    strange = next((one for one in flat if type(one) not in allowed), 0)
    if type(strange) not in allowed:
        raise refused(f"input {tensor.name!r} has {str(strange)[:40]!r}, which is no number")
    try:
        # null becomes NaN, which is missing.
        return np.array(flat, kind).reshape(tensor.shape)
    except OverflowError:
        raise refused(f"input {tensor.name!r} has a number beyond {tensor.datatype}") from None


def _flattened(data: list[Any], depth: int) -> Iterator[Any]:
    for one in data:
        if isinstance(one, list) and depth > 1:
            yield from _flattened(one, depth - 1)
        else:
            yield one


def _matrix(given: dict[str, Array], machine_class: MachineClass) -> Matrix:
    names = machine_class.sensor_names
    if SENSORS in given:
        found = given.pop(SENSORS)
        if given:
            raise refused(f"input {SENSORS!r} is all of them; leave out {', '.join(given)}")
        if found.shape[1:] != (len(names),):
            raise refused(
                f"input {SENSORS!r} has shape {list(found.shape)}; (n, {len(names)}) is wanted, in "
                f"the order {', '.join(names[:40])}"
            )
        return found.astype(np.float64)
    if not given:
        raise refused(f"give the input {SENSORS!r}, or one input per sensor")
    if len({one.shape[0] for one in given.values()}) > 1 or any(
        one.size != one.shape[0] for one in given.values()
    ):
        raise refused("inputs of single sensors must have shape (n,) or (n, 1), all the same n")
    rows = next(iter(given.values())).shape[0]
    values = np.full((rows, len(names)), np.nan)
    for name, one in given.items():
        values[:, machine_class.position[name]] = one.reshape(-1)
    return values


def _dated(values: Matrix, instants: Array | None, period_s: float) -> Window:
    if (np.abs(values) > MOST).any():
        raise refused(f"a value is beyond {MOST:g}, or infinite")
    if np.isnan(values).all(axis=1).any():
        row = int(np.isnan(values).all(axis=1).argmax())
        raise refused(f"no sensor has a value in row {row}")
    if instants is None:
        step_us = max(1, round(period_s * 1e6))
        made = EARLIEST_US + np.arange(len(values), dtype=np.int64) * step_us
        return Window(instants_us=made, values=values, dated=False)
    if instants.size != len(values):
        raise refused(f"input {INSTANTS!r} has {instants.size} values for {len(values)} rows")
    found = instants.reshape(-1).astype(np.int64)
    if (np.diff(found) <= 0).any():
        raise refused(f"input {INSTANTS!r} does not increase from row to row")
    if found[0] < EARLIEST_US or found[-1] > _LATEST_US:
        raise refused(f"input {INSTANTS!r}: microseconds since 1970, of 2000 to 9999, are wanted")
    return Window(instants_us=found, values=values, dated=True)
