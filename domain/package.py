r"""The model format: a manifest and arrays in one blob, verified before it is believed.

    b"MILLWRIGHT MODEL 2\n" + SHA-256 of the rest (64 hex digits) + b"\n" + npz

The npz holds `manifest` (JSON as bytes) and plain arrays; nothing in it can run code. The same
model always gives the same bytes.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from math import inf
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from domain.errors import ModelRejectedError
from domain.machines import MachineClass, Sensor
from domain.readings import Vector

FORMAT: Final = 2
MAGIC: Final = b"MILLWRIGHT MODEL %d\n" % FORMAT
_HEAD: Final = len(MAGIC) + 65

MAX_BYTES: Final = 256 * 1024 * 1024
"""No model of ours comes near; a larger one is an error or an attack."""

GOLDEN_TOLERANCE: Final = 1e-6
"""Difference, relative and absolute, that another build of a library may make."""

type Parts = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]


def write_package(manifest: Mapping[str, object], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the blob.

    Args:
        manifest: JSON-able facts.
        arrays: Numeric arrays by name; none is called `manifest`.
    """
    text = np.frombuffer(msgspec.json.encode(manifest, order="sorted"), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, manifest=text, **dict(sorted(arrays.items())))
    body = buffer.getvalue()
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def read_package(blob: bytes, name: str) -> Parts:
    """Return manifest and arrays of a blob whose checksum holds.

    Raises:
        ModelRejectedError: It is no package, of another format, damaged or too large.
    """
    if not blob.startswith(MAGIC):
        head = blob.split(b"\n", 1)[0][:40]
        raise ModelRejectedError(name, f"it begins with {head!r} instead of {MAGIC.strip()!r}")
    body = blob[_HEAD:]
    if hashlib.sha256(body).hexdigest().encode() + b"\n" != blob[len(MAGIC) : _HEAD]:
        raise ModelRejectedError(name, "its SHA-256 does not match its content")
    try:
        _check_size(body, name)
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        manifest = msgspec.json.decode(arrays.pop("manifest").tobytes(), type=dict[str, Any])
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise ModelRejectedError(name, f"its content cannot be read: {error}") from error
    return manifest, arrays


def _check_size(body: bytes, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise ModelRejectedError(name, f"it unpacks to {size} bytes; {MAX_BYTES} are allowed")


def check_golden(told: Vector, wanted: Vector, name: str, what: str) -> None:
    """Check that a restored model says of its golden rows what it said when it was packed.

    Args:
        told: What it says now, shape (n,).
        wanted: What it said.
        name: Registered model and version, for the error.
        what: It is about, for the error.

    Raises:
        ModelRejectedError: They differ.
    """
    if told.shape != wanted.shape:
        raise ModelRejectedError(name, f"{what} are {len(told)} values instead of {len(wanted)}")
    if not np.allclose(told, wanted, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE):
        worst = float(np.abs(told - wanted).max())
        raise ModelRejectedError(name, f"{what} differ by {worst:.3g}")


def take_prefix(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one part, without its prefix."""
    start = prefix + "."
    return {key.removeprefix(start): one for key, one in arrays.items() if key.startswith(start)}


def with_prefix(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one part, named after it."""
    return {f"{prefix}.{key}": one for key, one in arrays.items()}


def class_from(given: dict[str, Any]) -> MachineClass:
    """Restore a class; JSON has no infinity, an open end of a range is null."""
    sensors = tuple(
        Sensor(
            name=one["name"],
            unit=one["unit"],
            low=-inf if one["low"] is None else one["low"],
            high=inf if one["high"] is None else one["high"],
        )
        for one in given["sensors"]
    )
    return MachineClass(
        name=given["name"],
        sensors=sensors,
        period_s=given["period_s"],
        description=given["description"],
    )
