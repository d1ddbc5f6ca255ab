"""What a sensor did in an incident of its own: stood still, went silent, left its range.

A score says nothing here, it is the same for every fault of a sensor. All is pure and in the time
of readings.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

import numpy as np

from domain.conditions import BY_CODE, Condition
from domain.pipeline import Pipeline, Scores
from domain.readings import Instants, Matrix
from domain.sensor_health import SensorFault
from domain.told import SensorDid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """Readings of one machine as the sensor watch saw them.

    Attributes:
        instants_us: Shape (n,), oldest first.
        values: Shape (n, S), as observed.
        scores: Of the n readings; `sensor_faults` and `expected` are read.
    """

    instants_us: Instants
    values: Matrix
    scores: Scores


def told(
    pipeline: Pipeline, known: Iterable[SensorDid], began_us: int, seen: Watched
) -> tuple[SensorDid, ...]:
    """Return what sensors did since an incident began, in the order in which it was met.

    Args:
        pipeline: What watched them.
        known: What was told of the incident before; it stays, but a value may lie further out.
        began_us: Instant of the incident's first reading with a fault.
        seen: The readings since; older ones than `began_us` are passed over.
    """
    book = {(one.sensor, one.condition): one for one in known}
    for one in _met(pipeline, began_us, seen):
        before = book.get((one.sensor, one.condition))
        if before is None:
            book[one.sensor, one.condition] = one
        elif one.condition is Condition.OUT_OF_RANGE and _further(pipeline, one, before):
            book[one.sensor, one.condition] = replace(one, since=before.since, words="")
    return tuple(replace(one, words=one.words or _words(pipeline, one)) for one in book.values())


def _met(pipeline: Pipeline, began_us: int, seen: Watched) -> Iterator[SensorDid]:
    names, codes = pipeline.machine_class.sensor_names, seen.scores.sensor_faults
    within = seen.instants_us >= began_us
    ill = within[:, None] & (codes != SensorFault.NONE)
    for column in np.flatnonzero(ill.any(axis=0)).tolist():
        for code in dict.fromkeys(codes[ill[:, column], column].tolist()):
            rows = np.flatnonzero(ill[:, column] & (codes[:, column] == code))
            first, row = int(rows[0]), int(rows[0])
            if code == SensorFault.OUT_OF_RANGE:
                row = int(rows[np.argmax(_beyond(pipeline, column, seen.values[rows, column]))])
            # An incident may have begun in the batch before, of which these are the next readings.
            since_us = began_us if first == 0 else int(seen.instants_us[first])
            value = float(seen.values[row, column])
            found = SensorDid(
                sensor=names[column],
                condition=BY_CODE[SensorFault(code)],
                since=_moment(since_us - _unnoticed_us(pipeline, column, code)),
                value=value if np.isfinite(value) else None,
                words="",
            )
            expected = float(seen.scores.expected[row, column])
            yield replace(found, words=_words(pipeline, found, expected))


def _unnoticed_us(pipeline: Pipeline, column: int, code: int) -> int:
    """Return how long a sensor had done so when the watch was sure of it."""
    watch = pipeline.watch
    limits = {SensorFault.STUCK: watch.stuck_rows, SensorFault.DROPOUT: watch.missing_rows}
    limit = limits.get(SensorFault(code))
    rows = 1 if limit is None else ceil(float(limit[column]))
    return round((rows - 1) * pipeline.machine_class.period_s * 1e6)


def _further(pipeline: Pipeline, one: SensorDid, other: SensorDid) -> bool:
    column = pipeline.machine_class.position[one.sensor]
    values = np.array([one.value, other.value], dtype=np.float64)
    beyond = _beyond(pipeline, column, values)
    return bool(beyond[0] > beyond[1])


def _beyond(pipeline: Pipeline, column: int, values: Matrix) -> Matrix:
    """Return how far values are out of what is possible."""
    sensor = pipeline.machine_class.sensors[column]
    out: Matrix = np.maximum(sensor.low - values, values - sensor.high)
    return out


def _words(pipeline: Pipeline, one: SensorDid, expected: float = np.nan) -> str:
    since = f"since {one.since:%Y-%m-%d %H:%M:%S} UTC"
    match one.condition:
        case Condition.STUCK:
            return f"stood still at {_number(one.value)} {since}"
        case Condition.DROPOUT:
            return f"gave no value {since}"
        case Condition.UNIT_JUMP:
            instead = f" where {_number(expected)} was expected" if np.isfinite(expected) else ""
            return f"spoke as in another unit {since}: {_number(one.value)}{instead}"
        case _:
            sensor = pipeline.machine_class.sensors[pipeline.machine_class.position[one.sensor]]
            possible = f"{_number(sensor.low)} to {_number(sensor.high)}"
            return f"was out of its range {since}: {_number(one.value)}, possible is {possible}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"


def _moment(instant_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant_us)
