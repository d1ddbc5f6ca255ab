"""Messages of another shape to readings, by a mapping that their owner declares in TOML."""

from domain.mapping.files import load, parse
from domain.mapping.gather import Gathered, gather
from domain.mapping.spec import Mapping, Pivot, SensorRule, TimeFormat
from domain.mapping.translate import Translated, translate

__all__ = [
    "Gathered",
    "Mapping",
    "Pivot",
    "SensorRule",
    "TimeFormat",
    "Translated",
    "gather",
    "load",
    "parse",
    "translate",
]
