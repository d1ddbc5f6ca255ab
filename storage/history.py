"""Stored readings as numpy columns."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np

from domain.errors import NotFoundError
from domain.readings import History
from storage import copy_format
from storage.connect import Connection, rows, translated

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(us: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=us)


def microseconds(moment: datetime) -> int:
    """Return a time with a zone as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def read_history(
    on: Connection,
    machines: Sequence[str],
    start_us: int,
    end_us: int,
    *,
    last: int | None = None,
) -> list[History]:
    """Read machines of one class over a period through binary COPY.

    Args:
        on: A session.
        machines: Names; all of one machine class.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period.
        last: Of each machine at most this many newest readings of the period; None for all.

    Returns:
        One history per name, in the order asked for; empty where nothing was stored.

    Raises:
        NotFoundError: A machine is not registered.
        ValueError: The machines belong to more than one class.
    """
    if not machines:
        return []
    keys, width = _looked_up(on, machines)
    data = _copied(on, _query(list(keys.values()), start_us, end_us, last))
    all_keys, instants, values = copy_format.decode(data, width)
    order = np.argsort(all_keys, kind="stable") if last is not None else None
    if order is not None:
        all_keys, instants, values = all_keys[order], instants[order], values[order]
    edges = {
        key: (np.searchsorted(all_keys, key), np.searchsorted(all_keys, key, "right"))
        for key in keys.values()
    }
    return [
        History(
            machine=name,
            instants_us=instants[slice(*edges[keys[name]])],
            values=values[slice(*edges[keys[name]])],
        )
        for name in machines
    ]


def latest_instants(on: Connection, machines: Sequence[str] | None = None) -> dict[str, int]:
    """Return the newest instant of each machine that has readings, microseconds UTC.

    Args:
        on: A session.
        machines: Names; all machines by default.
    """
    found = rows(
        on,
        "SELECT name, instant FROM machines, LATERAL (SELECT instant FROM readings "
        "WHERE machine_key = key ORDER BY instant DESC LIMIT 1) AS newest "
        "WHERE %s::text[] IS NULL OR name = ANY(%s::text[])",
        [None if machines is None else list(machines)] * 2,
    )
    return {name: microseconds(moment) for name, moment in found}


def count(on: Connection) -> int:
    """Return how many readings are stored, counted one by one."""
    return int(rows(on, "SELECT count(*) FROM readings")[0][0])


def count_between(on: Connection, machines: Sequence[str], start_us: int, end_us: int) -> int:
    """Return how many readings machines have from `start_us` up to, but without, `end_us`."""
    return int(
        rows(
            on,
            "SELECT count(*) FROM readings JOIN machines ON key = machine_key "
            "WHERE name = ANY(%s::text[]) AND instant >= %s AND instant < %s",
            (list(machines), instant(max(start_us, 0)), instant(max(end_us, 0))),
        )[0][0]
    )


def _looked_up(on: Connection, machines: Sequence[str]) -> tuple[dict[str, int], int]:
    found = rows(
        on,
        "SELECT m.name, m.key, c.name, jsonb_array_length(c.sensors) FROM machines AS m "
        "JOIN machine_classes AS c ON c.name = m.machine_class WHERE m.name = ANY(%s::text[])",
        (list(machines),),
    )
    keys = {name: key for name, key, _, _ in found}
    if missing := [name for name in machines if name not in keys]:
        raise NotFoundError("machine", missing[0], "GET /api/v1/machines lists them")
    if len(classes := {name for _, _, name, _ in found}) > 1:
        raise ValueError(f"machines of several classes: {', '.join(sorted(classes))}")
    return keys, found[0][3]


# COPY takes no parameters, so `.format` writes numbers and times out; none is a user's text.
_ALL = """
SELECT machine_key, instant, values FROM readings
WHERE machine_key = ANY('{{{keys}}}') AND instant >= '{start}' AND instant < '{end}'
ORDER BY machine_key, instant
"""
_LAST = """
SELECT machine_key, instant, values FROM unnest('{{{keys}}}'::integer[]) AS wanted, LATERAL (
    SELECT * FROM (
        SELECT machine_key, instant, values FROM readings
        WHERE machine_key = wanted AND instant >= '{start}' AND instant < '{end}'
        ORDER BY instant DESC LIMIT {last}
    ) AS newest ORDER BY instant
) AS ordered
"""
_LATEST_US = 253_402_300_799_000_000
"""The last second of the year 9999, which is where Python's times end."""


def _query(keys: list[int], start_us: int, end_us: int, last: int | None) -> str:
    return (_ALL if last is None else _LAST).format(
        keys=",".join(str(int(key)) for key in keys),
        start=instant(min(max(start_us, 0), _LATEST_US)).isoformat(),
        end=instant(min(max(end_us, 0), _LATEST_US)).isoformat(),
        last=last if last is None else int(last),
    )


def _copied(on: Connection, query: str) -> bytes:
    taken = BytesIO()
    with translated(), on.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT BINARY", taken)
    return taken.getvalue()
