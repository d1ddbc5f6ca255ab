"""What is known of single machines beside their model."""

from collections.abc import Sequence

from domain.care import Care, Window
from storage.connect import Connection, rows
from storage.history import microseconds

_KEPT_DAYS = 30
"""Readings that are scored later than this after a window were forgotten by everybody."""


def care(on: Connection) -> dict[str, Care]:
    """Return machine → what is its own: moved limits and maintenance; others have nothing."""
    factors: dict[str, dict[str, float]] = {}
    for name, sensor, factor in rows(
        on,
        "SELECT m.name, l.sensor, l.factor FROM sensor_limits AS l"
        " JOIN machines AS m ON m.key = l.machine_key ORDER BY m.name, l.sensor",
    ):
        factors.setdefault(name, {})[sensor] = float(factor)
    windows: dict[str, list[Window]] = {}
    for name, starts, ends in rows(
        on,
        "SELECT m.name, w.starts, w.ends FROM maintenance AS w JOIN machines AS m"
        " ON m.key = w.machine_key OR m.machine_class = w.machine_class"
        " WHERE w.ends IS NULL OR w.created_at > clock_timestamp() - make_interval(days => %s)"
        " ORDER BY m.name, w.id",
        (_KEPT_DAYS,),
    ):
        one = Window(
            starts_us=microseconds(starts), ends_us=None if ends is None else microseconds(ends)
        )
        windows.setdefault(name, []).append(one)
    anew = words(on)
    return {
        name: Care(
            factors=factors.get(name, {}),
            windows=tuple(windows.get(name, ())),
            anew_us=anew.get(name, ()),
        )
        for name in factors.keys() | windows.keys() | anew.keys()
    }


def words(on: Connection, machines: Sequence[str] | None = None) -> dict[str, tuple[int, ...]]:
    """Return machine → instants from which its level is learnt anew, ascending; others have none.

    Args:
        on: A session.
        machines: Names; all machines by default.
    """
    found: dict[str, tuple[int, ...]] = {}
    for name, at in rows(
        on,
        "SELECT DISTINCT m.name, w.ends FROM maintenance AS w JOIN machines AS m"
        " ON m.key = w.machine_key OR m.machine_class = w.machine_class"
        " WHERE w.learn_anew AND (%s::text[] IS NULL OR m.name = ANY(%s::text[]))"
        " ORDER BY m.name, w.ends",
        [None if machines is None else list(machines)] * 2,
    ):
        found[name] = (*found.get(name, ()), microseconds(at))
    return found
