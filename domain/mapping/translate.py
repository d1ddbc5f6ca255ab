"""A batch of messages of another shape to rows of values, each message judged by itself."""

from dataclasses import dataclass, field
from math import isfinite, nan

import numpy as np
import numpy.typing as npt

from domain.machines import NAME_PATTERN
from domain.mapping.opening import found_at, opened, wrong_type
from domain.mapping.places import MISSING, Envelope, Step, walk
from domain.mapping.spec import Mapping, Pivot, SensorRule, TimeFormat
from domain.readings import Instants, Matrix
from domain.wire import MAX_AHEAD_S, RawBatch, Rejection, RejectReason, parse_instant
from domain.wire.arbiter import RefusedError, shown
from domain.wire.checks import check_time

_R = RejectReason
_CALENDAR_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""The years 1 to 9999: beyond them an instant cannot even be shown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Translated:
    """What a batch says; a message is in `rows`, among the rejections, or was ignored.

    Attributes:
        machines: n names.
        instants_us: Shape (n,), microseconds UTC.
        values: Shape (n, sensors) in the order of the mapping; NaN is missing.
        rows: Shape (n,), the message of each, ascending.
        rejections: Ascending by index.
        ignored: Messages left out because the mapping says so.
    """

    machines: list[str]
    instants_us: Instants
    values: Matrix
    rows: npt.NDArray[np.intp]
    rejections: tuple[Rejection, ...]
    ignored: int


type _Leaf = tuple[int, tuple[Step, ...], SensorRule, bool]
"""Column, last step of its path, rule, and whether the value is stored as it is."""


@dataclass(slots=True, kw_only=True)
class _Found:
    machines: list[str] = field(default_factory=list)
    instants: list[int] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    ignored: int = 0


def translate(raw: RawBatch, mapping: Mapping, *, now_us: int) -> Translated:
    """Read a batch by a mapping; nothing in a message can raise.

    Args:
        raw: The messages.
        mapping: How to read them.
        now_us: The present, microseconds UTC.
    """
    reader = _Reader(mapping, latest_us=now_us + int(MAX_AHEAD_S * 1e6))
    found = _Found()
    rejections: list[Rejection] = []
    for row in range(len(raw)):
        try:
            message = opened(raw, row)
            values = reader.values(message)
            if values is None:
                found.ignored += 1
                continue
            machine, instant = reader.machine(message), reader.instant(message)
        except RefusedError as refused:
            rejections.append(Rejection(index=row, reason=refused.reason, detail=refused.detail))
            continue
        found.machines.append(machine)
        found.instants.append(instant)
        found.values.append(values)
        found.rows.append(row)
    return Translated(
        machines=found.machines,
        instants_us=np.array(found.instants, dtype=np.int64),
        values=np.array(found.values, dtype=np.float64).reshape(-1, len(mapping.sensors)),
        rows=np.array(found.rows, dtype=np.intp),
        rejections=tuple(rejections),
        ignored=found.ignored,
    )


class _Reader:
    """Looks into one message at a time."""

    def __init__(self, mapping: Mapping, *, latest_us: int) -> None:
        self._mapping, self._latest_us = mapping, latest_us
        self._by_metric = {rule.origin: at for at, rule in enumerate(mapping.sensors)}
        # Sensors usually stand side by side: the way to where they stand is gone once.
        self._by_parent: dict[tuple[Step, ...], list[_Leaf]] = {}
        for at, rule in enumerate(mapping.sensors if mapping.pivot is None else ()):
            plain = rule.scale == 1 and rule.offset == 0
            leaf = (at, rule.steps[-1:], rule, plain)
            self._by_parent.setdefault(rule.steps[:-1], []).append(leaf)

    def machine(self, message: Envelope) -> str:
        """Return the machine's name."""
        found = found_at(self._mapping.machine, message)
        # Many systems number their devices.
        name = str(found) if type(found) is int else found
        if not isinstance(name, str):
            raise wrong_type(self._mapping.machine.text, "a text", found)
        if NAME_PATTERN.fullmatch(name) is None:
            raise RefusedError(
                _R.BAD_NAME, f"{self._mapping.machine.text} {shown(name)} is no name"
            )
        return name

    def instant(self, message: Envelope) -> int:
        """Return the time, microseconds UTC, rounded to the window of a pivot."""
        place = self._mapping.time
        instant_us = self._microseconds(found_at(place, message))
        if not _CALENDAR_US[0] <= instant_us <= _CALENDAR_US[1]:
            raise RefusedError(
                _R.BAD_TIMESTAMP,
                f"{place.text} is no {self._mapping.time_format}: it lies outside of the years 1 "
                "to 9999",
            )
        check_time(instant_us, self._latest_us)
        window = self._mapping.pivot.window_us if self._mapping.pivot else 1
        return (instant_us + window // 2) // window * window

    def values(self, message: Envelope) -> list[float] | None:
        """Return a value per sensor; None where the mapping says that the message is ignored."""
        pivot = self._mapping.pivot
        if pivot is not None:
            return self._single(message, pivot)
        values = [
            nan
            if (found := walk(message.body, rule.steps)) is MISSING
            else self._value(rule, found)
            for rule in self._mapping.sensors
        ]
        if all(value != value for value in values):  # noqa: PLR0124 - NaN is missing
            origins = ", ".join(rule.origin for rule in self._mapping.sensors[:4])
            raise RefusedError(_R.EMPTY_VALUES, f"no value at {origins}")
        return values

    def _single(self, message: Envelope, pivot: Pivot) -> list[float] | None:
        metric = found_at(pivot.metric, message)
        if not isinstance(metric, str):
            raise wrong_type(pivot.metric.text, "a text", metric)
        if metric in pivot.ignore:
            return None
        at = self._by_metric.get(metric)
        if at is None:
            raise RefusedError(
                _R.UNKNOWN_SENSOR,
                f"metric {shown(metric)} is no sensor of the mapping: add it to [[sensors]], or "
                "to pivot.ignore",
            )
        value = self._value(self._mapping.sensors[at], found_at(pivot.value, message))
        if value != value:  # noqa: PLR0124 - NaN is missing
            raise RefusedError(_R.EMPTY_VALUES, f"{pivot.value.text} is null")
        values = [nan] * len(self._mapping.sensors)
        values[at] = value
        return values

    def _value(self, rule: SensorRule, found: object) -> float:
        if found is None:
            return nan
        number = self._number(rule.origin, found, text=self._mapping.text_numbers)
        scaled = number * rule.scale + rule.offset
        if not isfinite(scaled):
            raise RefusedError(_R.BAD_NUMBER, f"{rule.origin} leaves the range of numbers")
        return scaled

    def _microseconds(self, found: object) -> int:
        place, form = self._mapping.time, self._mapping.time_format
        if form is TimeFormat.RFC3339:
            if not isinstance(found, str):
                raise wrong_type(place.text, "a text", found)
            try:
                return parse_instant(found)
            except (ValueError, OverflowError) as error:
                raise RefusedError(
                    _R.BAD_TIMESTAMP, f"{place.text} {shown(found)} {error}"
                ) from None
        if type(found) is int:
            return found * form.unit_us
        # A key or header is text whatever it means.
        number = self._number(
            place.text, found, text=place.steps is None or self._mapping.text_numbers
        )
        scaled = number * form.unit_us
        if not isfinite(scaled):
            raise RefusedError(_R.BAD_TIMESTAMP, f"{place.text} is no time")
        return round(scaled)

    def _number(self, origin: str, found: object, *, text: bool) -> float:
        if isinstance(found, str) and text:
            try:
                return self._number(origin, float(found), text=False)
            except ValueError:
                raise RefusedError(_R.BAD_NUMBER, f"{origin} {shown(found)} is no number") from None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise wrong_type(origin, "a number", found)
        try:
            number = float(found)
        except OverflowError:
            raise RefusedError(_R.BAD_NUMBER, f"{origin} leaves the range of numbers") from None
        if not isfinite(number):
            raise RefusedError(_R.BAD_NUMBER, f"{origin} is not finite")
        return number
