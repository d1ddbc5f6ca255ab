"""Stored readings as numpy columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
import numpy.typing as npt

from domain.errors import NotFoundError
from domain.readings import History, Instants, Matrix
from storage import copy_format, rollup_format
from storage.connect import Connection, rows, translated
from storage.rollup_format import MINUTE_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(us: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=us)


def microseconds(moment: datetime) -> int:
    """Return a time with a zone as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def read_history(  # noqa: PLR0913 - of whom, when, and how much
    on: Connection,
    machines: Sequence[str],
    start_us: int,
    end_us: int,
    *,
    last: int | None = None,
    first: int | None = None,
) -> list[History]:
    """Read machines of one class over a period through binary COPY.

    Args:
        on: A session.
        machines: Names; all of one machine class.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period.
        last: Of each machine at most this many newest readings of the period; None for all.
        first: Of each machine at most this many oldest ones; not together with `last`.

    Returns:
        One history per name, in the order asked for; empty where nothing was stored.

    Raises:
        NotFoundError: A machine is not registered.
        ValueError: The machines belong to more than one class.
    """
    if not machines:
        return []
    keys, width = _looked_up(on, machines)
    limit, text = (last, None) if first is None else (first, _FIRST)
    data = _copied(on, _query(list(keys.values()), start_us, end_us, limit, text))
    all_keys, instants, values = copy_format.decode(data, width)
    # Sorting here takes a tenth of what the server would need, which sorts whole rows on disk.
    order = np.lexsort((instants, all_keys))
    ordered = all_keys[order]
    found = []
    for name in machines:
        first, end = np.searchsorted(ordered, (keys[name], keys[name] + 1))
        picked = order[first:end]
        found.append(History(machine=name, instants_us=instants[picked], values=values[picked]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trend:
    """A machine's course over a period, in as much detail as the period allows.

    Attributes:
        machine: Name of the machine.
        step_s: Seconds that a row sums up; 0 where each row is a reading.
        instants_us: Shape (n,), ascending; the beginning of what a row sums up.
        count: Shape (n, sensors), readings in which the sensor was there.
        mean: Shape (n, sensors); NaN is missing, here and below.
        low: Shape (n, sensors), smallest value.
        high: Shape (n, sensors), largest value.
    """

    machine: str
    step_s: int
    instants_us: Instants
    count: npt.NDArray[np.int64]
    mean: Matrix
    low: Matrix
    high: Matrix


MOST_RAW = 7_200
"""A period with more nominal readings is told by minutes: an hour at two per second is raw."""


def read_trends(
    on: Connection, machines: Sequence[str], start_us: int, end_us: int, *, most: int = MOST_RAW
) -> list[Trend]:
    """Read machines of one class over a period: readings, or minutes where those were too many.

    Minutes follow their readings within seconds, and outlive them when retention drops those.

    Args:
        on: A session.
        machines: Names; all of one machine class.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period; a minute that begins before it is whole.
        most: Readings per machine, at its nominal period, up to which they are read raw.

    Returns:
        One trend per name, in the order asked for; empty where nothing was stored.

    Raises:
        NotFoundError: A machine is not registered.
        ValueError: The machines belong to more than one class.
    """
    if not machines:
        return []
    keys, width = _looked_up(on, machines)
    ((period_s,),) = rows(
        on,
        "SELECT period_s FROM machine_classes AS c JOIN machines AS m ON m.machine_class = c.name "
        "WHERE m.name = %s",
        (machines[0],),
    )
    if end_us - start_us <= most * period_s * 1e6:
        return [
            Trend(
                machine=one.machine,
                step_s=0,
                instants_us=one.instants_us,
                count=(~np.isnan(one.values)).astype(np.int64),
                mean=one.values,
                low=one.values,
                high=one.values,
            )
            for one in read_history(on, machines, start_us, end_us)
        ]
    begin_us = start_us - start_us % MINUTE_US
    query = _query(list(keys.values()), begin_us, end_us, None, _MINUTES)
    sums = rollup_format.decode(_copied(on, query), width)
    picked = {name: np.flatnonzero(sums.machine_keys == keys[name]) for name in machines}
    return [
        Trend(
            machine=name,
            step_s=60,
            instants_us=sums.minutes_us[at],
            count=sums.count[at].astype(np.int64),
            mean=sums.mean[at],
            low=sums.low[at],
            high=sums.high[at],
        )
        for name, at in picked.items()
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


def first_instant(on: Connection, machine: str) -> int | None:
    """Return the instant of a machine's oldest stored reading, microseconds UTC; None without."""
    first, last = span(on, machine)
    return first if first <= last else None


def span(on: Connection, machine: str) -> tuple[int, int]:
    """Return a machine's first and last instant, microseconds UTC; (0, -1) without any reading."""
    ((first, last),) = rows(
        on,
        "SELECT min(instant), max(instant) FROM readings "
        "WHERE machine_key = (SELECT key FROM machines WHERE name = %s)",
        (machine,),
    )
    return (0, -1) if first is None else (microseconds(first), microseconds(last))


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
"""
_LAST = """
SELECT machine_key, instant, values FROM unnest('{{{keys}}}'::integer[]) AS wanted, LATERAL (
    SELECT machine_key, instant, values FROM readings
    WHERE machine_key = wanted AND instant >= '{start}' AND instant < '{end}'
    ORDER BY instant DESC LIMIT {last}
) AS newest
"""
_FIRST = _LAST.replace("instant DESC", "instant")
_LATEST_US = 253_402_300_799_000_000
"""The last second of the year 9999, which is where Python's times end."""


_MINUTES = (
    "SELECT * FROM readings_1m WHERE machine_key IN ({keys}) AND minute >= '{start}' "
    "AND minute < '{end}' ORDER BY machine_key, minute"
)


def _query(
    keys: list[int], start_us: int, end_us: int, last: int | None, text: str | None = None
) -> str:
    return (text or (_ALL if last is None else _LAST)).format(
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
