"""What dataclasses of every room need and the standard library does not give."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def shallow(value: "DataclassInstance") -> dict[str, Any]:
    """Return a value's fields by name, as they are, for a class that adds fields to its own.

    `dataclasses.asdict` would take what is in them apart as well.

    >>> from domain.risk.outlook import IncidentMode, NearestMode
    >>> near = NearestMode(mode="bearing_wear", confidence=0.8)
    >>> IncidentMode(**shallow(near), risk_version=3).mode
    'bearing_wear'
    """
    return {each.name: getattr(value, each.name) for each in fields(value)}
