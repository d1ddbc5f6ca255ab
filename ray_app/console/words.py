"""Numbers and times as people read them; the filters of the console's templates. Pure."""

from datetime import UTC, datetime

from domain.health import Health

_UNITS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))

_MARKS = {
    Health.ANOMALOUS: "bad",
    Health.SENSOR_FAULT: "sensor",
    Health.SILENT: "silent",
    Health.WATCH: "watch",
    Health.NOT_SCORED: "unknown",
    Health.HEALTHY: "good",
}


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units.

    >>> duration(3.2), duration(75), duration(3660), duration(None)
    ('3 s', '1 min 15 s', '1 h 1 min', '–')
    """
    if seconds is None:
        return "–"
    left, parts = max(0.0, seconds), []
    for size, unit in _UNITS:
        count = int(left // size)
        if count:
            parts.append(f"{count} {unit}")
            left -= count * size
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts) or "0 s"


def since(moment: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    return "never" if moment is None else f"{duration((now - moment).total_seconds())} ago"


def clock(moment: datetime | None) -> str:
    """Return an instant for a `title` or a table, in UTC.

    >>> clock(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02 03:04:05 UTC'
    """
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def time_of_day(moment: datetime) -> str:
    """Return an instant whose day is told beside it, in UTC.

    >>> time_of_day(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '03:04:05'
    """
    return f"{moment.astimezone(UTC):%H:%M:%S}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits.

    >>> number(0.21349), number(1234.5), number(89.5), number(None), number(12345678)
    ('0.213', '1,234', '89.5', '–', '12,345,678')
    """
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float | None) -> str:
    """Return a share in percent.

    >>> percent(0.4267), percent(None), percent(0.004)
    ('43 %', '–', '0.4 %')
    """
    if share is None:
        return "–"
    return f"{share * 100:.1f} %" if 0 < share < 0.01 else f"{share * 100:.0f} %"


def mark(health: Health) -> str:
    """Return the CSS class of a health."""
    return _MARKS[health]


def plain(name: str) -> str:
    """Return a name from a program as words.

    >>> plain("false_alarm_rate"), plain("vibration_de")
    ('false alarm rate', 'vibration de')
    """
    return name.replace("_", " ")


def unit(code: str) -> str:
    """Return a UCUM code as people write it.

    >>> unit("Cel"), unit("mm/s"), unit("1")
    ('°C', 'mm/s', '')
    """
    return _WRITTEN.get(code, code)


_WRITTEN = {
    "1": "",
    "Cel": "°C",
    "[degF]": "°F",
    "Ohm": "Ω",
    "deg": "°",
    "um": "µm",
    "m3/h": "m³/h",
}
