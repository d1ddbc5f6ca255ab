"""What challengers made of the live stream beside their champions, in sums per period."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from storage.connect import Connection, rows

_PERIOD_S = 600
_KEPT_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over readings that two models scored.

    Attributes:
        machine_class: Of the machines.
        champion: Version of the one.
        challenger: Version of the other.
        readings: That both were sure of.
        machine_s: Machine-seconds that they stand for.
        champion_alerts: Readings that the champion found anomalous.
        challenger_alerts: The challenger.
        both_alerts: Both.
        champion_incidents: Incidents that the champion's scores opened.
        challenger_incidents: That the challenger's would have opened.
        champion_sum: Of the champion's scores.
        challenger_sum: Of the challenger's.
        square_sum: Of squared differences.
    """

    machine_class: str
    champion: int
    challenger: int
    readings: int = 0
    machine_s: float = 0.0
    champion_alerts: int = 0
    challenger_alerts: int = 0
    both_alerts: int = 0
    champion_incidents: int = 0
    challenger_incidents: int = 0
    champion_sum: float = 0.0
    challenger_sum: float = 0.0
    square_sum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRow:
    """A challenger beside its champion, over all that both scored.

    Attributes:
        machine_class: Of the machines.
        champion: Version in use.
        challenger: Version in shadow.
        state: scoring, failed, or past when it is in shadow no more.
        note: Why it failed; empty otherwise.
        first: Beginning of the first period.
        last: Beginning of the last one.
        readings: That both scored.
        machine_days: Machine-days that they stand for.
        champion_incidents: Incidents per machine-day by the champion; None without any time.
        challenger_incidents: By the challenger.
        champion_alert_rate: Share of readings above the threshold, 0 to 1.
        challenger_alert_rate: The challenger's.
        agreement: Share of readings on which both say the same, 0 to 1.
        score_drift: Mean of challenger's score less champion's.
        score_distance: Root mean square of that difference.
    """

    machine_class: str
    champion: int
    challenger: int
    state: str
    note: str
    first: datetime
    last: datetime
    readings: int
    machine_days: float
    champion_incidents: float | None
    challenger_incidents: float | None
    champion_alert_rate: float
    challenger_alert_rate: float
    agreement: float
    score_drift: float
    score_distance: float


_SUMS = (
    "readings",
    "machine_s",
    "champion_alerts",
    "challenger_alerts",
    "both_alerts",
    "champion_incidents",
    "challenger_incidents",
    "champion_sum",
    "challenger_sum",
    "square_sum",
)
_KEYS = ("machine_class", "champion", "challenger")


def add(on: Connection, tallies: Iterable[Tally]) -> None:
    """Add sums to the period that it is now."""
    columns = ", ".join((*_KEYS, *_SUMS))
    places = ", ".join(f"%({name})s" for name in (*_KEYS, *_SUMS))
    grown = ", ".join(f"{name} = old.{name} + excluded.{name}" for name in _SUMS)
    for one in tallies:
        rows(
            on,
            f"INSERT INTO shadow_periods AS old (period, {columns})"  # noqa: S608 - our own names
            f" SELECT to_timestamp(floor(extract(epoch FROM clock_timestamp()) / {_PERIOD_S})"
            f" * {_PERIOD_S}), {places} ON CONFLICT ({', '.join(_KEYS)}, period)"
            f" DO UPDATE SET {grown}",
            {name: getattr(one, name) for name in (*_KEYS, *_SUMS)},
        )


def say(on: Connection, machine_class: str, version: int, *, failed: str = "") -> None:
    """Note who is in shadow, and why it failed if it did."""
    rows(
        on,
        "INSERT INTO shadow_challengers AS old (machine_class, version, state, note)"
        " VALUES (%(class)s, %(version)s, %(state)s, %(note)s) ON CONFLICT (machine_class)"
        " DO UPDATE SET version = excluded.version, state = excluded.state, note = excluded.note,"
        " changed_at = clock_timestamp()",
        {"class": machine_class, "version": version, "note": failed[:500]}
        | {"state": "failed" if failed else "scoring"},
    )
    rows(
        on,
        "DELETE FROM shadow_periods WHERE period < clock_timestamp() - make_interval(days => %s)",
        (_KEPT_DAYS,),
    )


def listed(
    on: Connection,
    *,
    machine_class: str | None = None,
    challenger: int | None = None,
    champion: int | None = None,
) -> Sequence[ShadowRow]:
    """Return challengers beside champions, by class and newest first.

    Args:
        on: A session.
        machine_class: Only of this class.
        challenger: Only this version in shadow.
        champion: Only beside this version in use.
    """
    sums = ", ".join(f"sum({name})::float8" for name in _SUMS)
    found = rows(
        on,
        "SELECT p.machine_class, p.champion, p.challenger, coalesce(max(s.state), 'past'),"  # noqa: S608 - our own names
        f" coalesce(max(s.note), ''), min(period), max(period), {sums} FROM shadow_periods AS p"
        " LEFT JOIN shadow_challengers AS s ON s.machine_class = p.machine_class"
        " AND s.version = p.challenger WHERE (%(class)s::text IS NULL OR p.machine_class ="
        " %(class)s) AND (%(challenger)s::int IS NULL OR p.challenger = %(challenger)s)"
        " AND (%(champion)s::int IS NULL OR p.champion = %(champion)s)"
        " GROUP BY 1, 2, 3 ORDER BY 1, 3 DESC, 2 DESC",
        {"class": machine_class, "challenger": challenger, "champion": champion},
    )
    return [_row(row) for row in found]


def _row(row: tuple[Any, ...]) -> ShadowRow:
    (name, champion, challenger, state, note, first, last) = row[:7]
    sums: dict[str, float] = dict(zip(_SUMS, row[7:], strict=True))
    count, days = max(sums["readings"], 1.0), sums["machine_s"] / 86_400
    differ = sums["champion_alerts"] + sums["challenger_alerts"] - 2 * sums["both_alerts"]
    return ShadowRow(
        machine_class=str(name),
        champion=int(champion),
        challenger=int(challenger),
        state=str(state),
        note=str(note),
        first=first,
        last=last,
        readings=int(sums["readings"]),
        machine_days=days,
        champion_incidents=sums["champion_incidents"] / days if days else None,
        challenger_incidents=sums["challenger_incidents"] / days if days else None,
        champion_alert_rate=sums["champion_alerts"] / count,
        challenger_alert_rate=sums["challenger_alerts"] / count,
        agreement=1 - differ / count,
        score_drift=(sums["challenger_sum"] - sums["champion_sum"]) / count,
        score_distance=(sums["square_sum"] / count) ** 0.5,
    )
