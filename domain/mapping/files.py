"""Mapping files: read, and held against their rules; every broken one is told at once."""

import tomllib
from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any

from domain.errors import BadInputError, NotFoundError, PlatformError
from domain.machines import MachineClass, Sensor, checked_name
from domain.mapping.places import Place, Step, parse_path, parse_place
from domain.mapping.spec import Mapping, Pivot, SensorRule, TimeFormat

_FILE_KEYS = (
    "topic",
    "machine",
    "machine_class",
    "period_s",
    "time",
    "time_format",
    "text_numbers",
    "pivot",
    "sensors",
)
_SENSOR_KEYS = ("name", "from", "unit", "low", "high", "scale", "offset")
_PIVOT_KEYS = ("metric", "value", "window_ms", "wait_ms", "ignore")
_KINDS: dict[type, str] = {str: "text", float: "a number", bool: "true or false", list: "a list"}
_LONGEST_MS = 600_000.0


def load(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
        NotFoundError: There is no such file.
        BadInputError: It is no text, no TOML, or breaks rules; every broken one is named.
    """
    if not path.is_file():
        raise NotFoundError("mapping file", str(path), "docs/mapping.md shows how to write one")
    try:
        return parse(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise BadInputError("it is not UTF-8 text", str(path)) from error


def parse(text: str, where: str) -> Mapping:
    """Return the mapping that a file's text declares.

    Args:
        text: TOML.
        where: The file's name, for messages to people.

    Raises:
        BadInputError: It is no TOML, or breaks rules; every broken one is named.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"it is not TOML: {error}", where) from error
    problems: list[str] = []
    given = _Given(table=table, prefix="", keys=_FILE_KEYS, problems=problems)
    mapping = _mapping(text, given)
    if problems:
        hint = "docs/mapping.md explains every key"
        raise BadInputError("; ".join(problems), where, hint)
    return mapping


@dataclass(slots=True, kw_only=True)
class _Given:
    """One table of the file; what is wrong in it is noted and something harmless returned.

    Attributes:
        table: Keys and values.
        prefix: Where it stands, such as `pivot.`.
        keys: What is allowed in it.
        problems: Where sentences for people are gathered.
    """

    table: Table[str, Any]
    prefix: str
    keys: tuple[str, ...]
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for key in self.table:
            if key not in self.keys:
                self.blame(key, f"is not known here; allowed are {', '.join(self.keys)}")

    def blame(self, key: str, what: str) -> None:
        """Note what is wrong with a key."""
        self.problems.append(f"{self.prefix}{key} {what}")

    def take[T](self, key: str, kind: type[T], default: T | None = None) -> T:
        """Return a value of a kind; without a default the key must be there."""
        found = self.table.get(key, default)
        if kind is float and isinstance(found, int) and not isinstance(found, bool):
            found = float(found)
        if isinstance(found, kind):
            return found
        missing = key not in self.table
        told = "is missing" if missing else f"is {found!r}"
        self.blame(key, f"{told}: it must be {_KINDS[kind]}")
        return kind()

    def read[T](self, key: str, read: Callable[[str], T], otherwise: T) -> T:
        """Return a text as `read` understands it."""
        before = len(self.problems)
        text = self.take(key, str)
        if len(self.problems) > before:
            return otherwise
        try:
            return read(text)
        except PlatformError as error:
            self.blame(key, f"is {text!r}: {error}")
        except ValueError as error:
            self.blame(key, f"is wrong: {error}")
        return otherwise

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a number from `low` to `high`."""
        found = self.take(key, float, default)
        if not low <= found <= high or not isfinite(found):
            self.blame(key, f"is {found:g}: it must be from {low:g} to {high:g}")
            return default
        return found

    def inner(self, key: str, keys: tuple[str, ...]) -> "_Given | None":
        """Return a table within this one; None where there is none."""
        found = self.table.get(key)
        if isinstance(found, dict):
            return _Given(
                table=found, prefix=f"{self.prefix}{key}.", keys=keys, problems=self.problems
            )
        if found is not None:
            self.blame(key, f"must be a table with {', '.join(keys)}")
        return None


_NOWHERE = Place(text="")


def _mapping(text: str, given: _Given) -> Mapping:
    pivot = given.inner("pivot", _PIVOT_KEYS)
    return Mapping(
        text=text,
        topic=given.take("topic", str) if "topic" in given.table else None,
        machine=given.read("machine", lambda told: parse_place(told, fixed=True), _NOWHERE),
        time=given.read("time", parse_place, _NOWHERE),
        time_format=(
            given.read("time_format", _time_format, TimeFormat.RFC3339)
            if "time_format" in given.table
            else TimeFormat.RFC3339
        ),
        class_name=given.read("machine_class", lambda told: checked_name("class", told), ""),
        period_s=given.number("period_s", 1.0, 1e-6, 1e6),
        sensors=_sensors(given, pivoted=pivot is not None),
        pivot=_pivot(pivot) if pivot else None,
        text_numbers=given.take("text_numbers", bool, default=False),
    )


def _time_format(told: str) -> TimeFormat:
    if told not in set(TimeFormat):
        raise ValueError(f"{told!r} is not one of {', '.join(TimeFormat)}")
    return TimeFormat(told)


def _pivot(given: _Given) -> Pivot:
    ignore = given.take("ignore", list, [])
    if not all(isinstance(one, str) for one in ignore):
        given.blame("ignore", "must be a list of metrics' names")
        ignore = []
    return Pivot(
        metric=given.read("metric", parse_place, _NOWHERE),
        value=given.read("value", parse_place, _NOWHERE),
        window_us=max(1, round(1000 * given.number("window_ms", 0.0, 0.0, _LONGEST_MS))),
        wait_s=given.number("wait_ms", 1000.0, 1.0, _LONGEST_MS) / 1000,
        ignore=frozenset(ignore),
    )


def _sensors(given: _Given, *, pivoted: bool) -> tuple[SensorRule, ...]:
    tables = given.take("sensors", list)
    if not tables and "sensors" in given.table:
        given.blame("sensors", "is empty: write a [[sensors]] table for each sensor")
    rules = tuple(
        _sensor(at, table, given.problems, pivoted=pivoted) for at, table in enumerate(tables)
    )
    names = [rule.sensor.name for rule in rules]
    origins = [rule.origin for rule in rules if rule.origin]
    for key, all_ in (("name", names), ("from", origins)):
        if twice := sorted({one for one in all_ if all_.count(one) > 1 and one != _UNNAMED}):
            given.blame("sensors", f"have the same {key}: {', '.join(twice)}")
    if rules and not given.problems:
        try:
            MachineClass(name="checked", sensors=tuple(rule.sensor for rule in rules))
        except BadInputError as error:
            given.blame("sensors", f"make no machine class: {error}")
    return rules


_UNNAMED = "unnamed"


def _sensor(at: int, table: object, problems: list[str], *, pivoted: bool) -> SensorRule:
    prefix = f"sensors[{at}]."
    if not isinstance(table, dict):
        problems.append(f"sensors[{at}] must be a table with {', '.join(_SENSOR_KEYS)}")
        table = {"name": _UNNAMED, "from": "$"}
    given = _Given(table=table, prefix=prefix, keys=_SENSOR_KEYS, problems=problems)
    name = given.read("name", lambda told: checked_name("sensor", told), _UNNAMED)
    low, high = given.take("low", float, -inf), given.take("high", float, inf)
    if not low < high:
        given.blame("low", f"is {low:g}: it must be below high, {high:g}")
        low, high = -inf, inf
    scale = given.number("scale", 1.0, -1e300, 1e300)
    if scale == 0:
        given.blame("scale", "is 0: every value would be the same")
    none: tuple[Step, ...] = ()
    origin = given.take("from", str, name) if pivoted else str(table.get("from", ""))
    steps = none if pivoted else given.read("from", parse_path, none)
    return SensorRule(
        sensor=Sensor(name=name, unit=given.take("unit", str, "1"), low=low, high=high),
        origin=origin,
        steps=steps,
        scale=scale,
        offset=given.number("offset", 0.0, -1e300, 1e300),
    )
