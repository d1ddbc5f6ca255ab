"""How incidents end but by the scorer's verdict, and what follows when one ends."""

from collections.abc import Sequence
from typing import Literal

from storage import outbox
from storage.connect import Connection, rows
from storage.history import microseconds

type Kind = Literal["machine", "sensor"]


def settle_closed(on: Connection, numbers: Sequence[int]) -> None:
    """Do what follows on the end of incidents: labels of feedback end with them, webhooks hear."""
    rows(
        on,
        "UPDATE failures AS f SET ended = greatest(i.closed, f.onset) FROM incidents AS i"
        " WHERE i.id = ANY(%s::bigint[]) AND f.machine_key = i.machine_key"
        " AND f.source = 'feedback' AND f.onset = i.began AND f.ended IS NULL",
        (list(numbers),),
    )
    outbox.enqueue(on, numbers, "closed")


def close_silent(on: Connection, *, after_s: float, quiet_s: float) -> list[tuple[int, Kind]]:
    """Close incidents of machines that have been silent for so long.

    Incidents end in the time of readings; of a machine that sends none, none would ever end. They
    close where they would have closed had the next reading been healthy.

    Args:
        on: A session.
        after_s: Seconds of silence, by the clock on the wall.
        quiet_s: Seconds after the last anomalous reading at which they end.

    Returns:
        Machine key and kind of each.
    """
    closed = rows(
        on,
        "UPDATE incidents AS i SET closed = i.last_seen + make_interval(secs => %s),"
        " state = 'closed', close_reason = 'silent' FROM sensor_states AS s"
        " WHERE s.machine_key = i.machine_key AND s.condition = 'silent'"
        " AND s.since < clock_timestamp() - make_interval(secs => %s) AND i.closed IS NULL"
        " RETURNING i.id, i.machine_key, i.kind",
        (quiet_s, after_s),
    )
    if closed:
        settle_closed(on, [number for number, _, _ in closed])
    return [(key, kind) for _, key, kind in closed]


def last_closed(on: Connection, *, within_s: float) -> dict[tuple[int, Kind], tuple[int, float]]:
    """Return machine key and kind → when its newest incident closed, and that one's peak.

    Only of incidents that went quiet not long before the machine's last scored reading: they cool
    down, which a scorer that starts anew goes on with. One that a person closed does not.
    """
    found = rows(
        on,
        "SELECT DISTINCT ON (i.machine_key, i.kind) i.machine_key, i.kind, i.closed, i.peak_score"
        " FROM incidents AS i JOIN machine_states AS s USING (machine_key)"
        " WHERE i.closed >= s.instant - make_interval(secs => %s) AND i.close_reason = 'quiet'"
        " ORDER BY i.machine_key, i.kind, i.closed DESC",
        (within_s,),
    )
    return {(key, kind): (microseconds(closed), float(peak)) for key, kind, closed, peak in found}
