"""From a request's body to windows of numbers; every wrong place is named at once. Pure."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import msgspec
import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass
from domain.readings import Instants, Matrix
from domain.wire import EARLIEST_US, parse_instant, parse_instants
from ray_app.serve.problems import FieldProblem, RefusedError
from ray_app.serve.schema import PredictRequest, Reading

MAX_PROBLEMS = 20
"""More wrong places than this help nobody."""

_DECODER = msgspec.json.Decoder(PredictRequest)
_PATH = re.compile(r" - at `(?:key in )?\$([^`]*)`$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One window as it was asked for, not yet held against a machine class.

    Attributes:
        pointer: Where it stands in the body.
        machine_id: A registered machine, or None.
        machine_class: The class of one that is not, or None.
        readings: Oldest first; none where the newest stored one is asked about.
        readings_pointer: Where they stand in the body.
        use_stored: Whether the machine's stored readings may complete the window.
    """

    pointer: str
    machine_id: str | None
    machine_class: str | None
    readings: tuple[Reading, ...]
    readings_pointer: str
    use_stored: bool


def decode(body: bytes) -> PredictRequest:
    """Decode a body.

    Raises:
        RefusedError: It is no JSON of this shape (422), with the place.
    """
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        text, pointer = _place(str(error))
        raise invalid(FieldProblem(detail=text, pointer=pointer)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = "it is not JSON" if body else "it is empty"
        detail = f"{hint}: {error}" if body else hint
        note = ". NaN and Infinity are not JSON: leave a missing sensor out" if body else ""
        raise invalid(FieldProblem(detail=detail + note)) from None


def asked(request: PredictRequest) -> list[Asked]:
    """Return the windows of a request.

    Raises:
        RefusedError: A window is empty, or says both or neither of what it must say (422).
    """
    if request.requests is None:
        return [_one(request, "")]
    if request != PredictRequest(requests=request.requests):
        raise invalid(FieldProblem(detail="`requests` stands alone; move the rest into its items"))
    if not request.requests:
        raise invalid(FieldProblem(detail="give at least one request", pointer="/requests"))
    found = []
    for index, one in enumerate(request.requests):
        pointer = f"/requests/{index}"
        if one.requests is not None:
            raise invalid(FieldProblem(detail="requests do not nest", pointer=pointer))
        found.append(_one(one, pointer))
    return found


def columns(window: Asked, machine_class: MachineClass) -> tuple[Instants, Matrix]:
    """Return the window as numbers in the class's order of sensors.

    Returns:
        Instants of shape (n,), strictly increasing, and values of shape (n, S), NaN for missing.

    Raises:
        RefusedError: A time or a sensor is wrong (422); every wrong place is named.
    """
    quick = _quickly(window, machine_class)
    if quick is not None:
        return quick
    instants = np.zeros(len(window.readings), dtype=np.int64)
    values = np.full((len(window.readings), len(machine_class.sensors)), np.nan)
    problems: list[FieldProblem] = []
    for index, reading in enumerate(window.readings):
        base = window.readings_pointer.format(index)
        try:
            instants[index] = parse_instant(reading.timestamp)
        except (ValueError, OverflowError) as error:
            problems.append(FieldProblem(detail=str(error), pointer=f"{base}/timestamp"))
        problems += _fill(reading, machine_class, values[index], f"{base}/values")
        if len(problems) > MAX_PROBLEMS:
            break
    problems = problems or list(_order(window, instants))
    if problems:
        raise invalid(*problems[:MAX_PROBLEMS])
    return instants, values


def invalid(*problems: FieldProblem) -> RefusedError:
    """Return the refusal of a body that was understood and is wrong."""
    first = problems[0]
    place = f"{first.pointer}: " if first.pointer else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return RefusedError(422, "Invalid request", f"{place}{first.detail}{more}", tuple(problems))


def _one(request: PredictRequest, pointer: str) -> Asked:
    if (request.machine_id is None) == (request.machine_class is None):
        raise invalid(
            FieldProblem(
                detail="give `machine_id`, or `machine_class` for a machine that is not registered",
                pointer=pointer,
            )
        )
    short = request.timestamp is not None or request.values is not None
    stored = not short and request.readings is None
    if (short and request.readings is not None) or (
        stored and (request.machine_id is None or request.context == "none")
    ):
        text = (
            "give either `readings`, or `timestamp` and `values` of one reading; `machine_id` "
            "alone asks about its newest stored reading"
        )
        raise invalid(FieldProblem(detail=text, pointer=pointer))
    readings = (_short(request, pointer),) if short else tuple(request.readings or ())
    if not readings and not stored:
        raise invalid(
            FieldProblem(detail="give at least one reading", pointer=f"{pointer}/readings")
        )
    return Asked(
        pointer=pointer,
        machine_id=request.machine_id,
        machine_class=request.machine_class,
        readings=readings,
        readings_pointer=pointer if short else f"{pointer}/readings/{{}}",
        use_stored=request.context == "stored",
    )


def _short(request: PredictRequest, pointer: str) -> Reading:
    if request.timestamp is None or request.values is None:
        missing = "timestamp" if request.timestamp is None else "values"
        raise invalid(FieldProblem(detail=f"`{missing}` is missing", pointer=pointer))
    return Reading(timestamp=request.timestamp, values=request.values)


def _quickly(window: Asked, machine_class: MachineClass) -> tuple[Instants, Matrix] | None:
    """Return the window where nothing is wrong with it, else None: then places are looked for."""
    names = machine_class.sensor_names
    try:
        instants = parse_instants([each.timestamp for each in window.readings])
    except (ValueError, OverflowError):
        return None
    given = [each.values for each in window.readings]
    if {*map(tuple, given)} == {names}:
        flat = [*chain.from_iterable(one.values() for one in given)]
    elif all(one.keys() <= machine_class.position.keys() for one in given):
        flat = [one.get(name) for one in given for name in names]
    else:
        return None
    values = _numbers(flat).reshape(len(given), len(names))
    in_order = bool((instants[1:] > instants[:-1]).all()) and int(instants[0]) >= EARLIEST_US
    return (instants, values) if in_order and not np.isnan(values).all(axis=1).any() else None


def _numbers(flat: list[float | None]) -> npt.NDArray[np.float64]:
    """Return a list as an array, in which what is absent or null is NaN."""
    packed = bytearray(8 * len(flat))
    try:
        # A quarter of what numpy takes, which looks at each number's type first.
        struct.pack_into(f"{len(flat)}d", packed, 0, *flat)
    except struct.error:
        return np.array(flat, dtype=np.float64)
    return np.frombuffer(packed)


def _fill(
    reading: Reading, machine_class: MachineClass, row: Matrix, pointer: str
) -> Iterator[FieldProblem]:
    if not any(value is not None for value in reading.values.values()):
        yield FieldProblem(detail="no sensor has a value", pointer=pointer)
    for sensor, value in reading.values.items():
        column = machine_class.position.get(sensor)
        if column is None:
            yield FieldProblem(
                detail=f"{machine_class.name} has no sensor {sensor[:40]!r}; it has "
                + ", ".join(machine_class.sensor_names[:40]),
                pointer=f"{pointer}/{_escaped(sensor)}",
            )
        elif value is not None:
            row[column] = value


def _order(window: Asked, instants: Instants) -> Iterator[FieldProblem]:
    for index in np.flatnonzero(np.diff(instants) <= 0)[:MAX_PROBLEMS].tolist():
        yield FieldProblem(
            detail="is not later than the reading before it",
            pointer=f"{window.readings_pointer.format(index + 1)}/timestamp",
        )
    if instants.min() < EARLIEST_US:
        first = int(instants.argmin())
        yield FieldProblem(
            detail="is before the year 2000",
            pointer=f"{window.readings_pointer.format(first)}/timestamp",
        )


def _place(message: str) -> tuple[str, str]:
    # The decoder tells the place as `$.readings[0].values[...]`; RFC 6901 writes it with slashes.
    match = _PATH.search(message)
    if match is None:
        return message, ""
    path = match.group(1).replace("[...]", "").replace("[", "/").replace("]", "").replace(".", "/")
    return message[: match.start()], path


def _escaped(name: str) -> str:
    return name[:128].replace("~", "~0").replace("/", "~1")
