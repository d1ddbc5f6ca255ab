"""What people found at an incident, and what follows: limits of its machine, and a label."""

from dataclasses import dataclass

from domain.limits import Feedback, Opinion, factors_of
from storage import failures, incidents, outbox
from storage.connect import Connection, rows
from storage.failures import Label
from storage.history import microseconds
from storage.incidents import IncidentRow

_KIND = "unspecified"
"""Of a label: a person confirmed that something was wrong, and not what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackDone:
    """What feedback came to.

    Attributes:
        incident: After it.
        before: Sensor → factor on its part in this machine's scores before it; 1 is left out.
        after: The same after it.
    """

    incident: IncidentRow
    before: dict[str, float]
    after: dict[str, float]


def give(
    on: Connection, number: int, feedback: Feedback, *, who: str, note: str = ""
) -> FeedbackDone:
    """Keep what a person found, also of a closed incident; the last word on it counts.

    In one transaction the machine's limits are folded anew from everything that was said of it,
    and a true alarm becomes a label of failure, which anything else takes back.

    Raises:
        NotFoundError: There is no incident of this number.
    """
    known = incidents.incident(on, number)
    (key,) = rows(on, "SELECT key FROM machines WHERE name = %s FOR UPDATE", (known.machine,))[0]
    rows(
        on,
        "UPDATE incidents SET feedback = %s, feedback_by = %s, feedback_at = clock_timestamp(),"
        " note = CASE WHEN %s = '' THEN note ELSE %s END WHERE id = %s",
        (feedback, who, note, note, number),
    )
    before, after = limits(on, key), factors_of(_opinions(on, key))
    _write(on, key, before, after)
    found = incidents.incident(on, number)
    _label(on, key, found)
    outbox.enqueue(on, [number], "feedback")
    return FeedbackDone(incident=found, before=before, after=after)


def limits(on: Connection, machine_key: int) -> dict[str, float]:
    """Return sensor → factor of one machine; 1 is left out."""
    found = rows(
        on,
        "SELECT sensor, factor FROM sensor_limits WHERE machine_key = %s ORDER BY sensor",
        (machine_key,),
    )
    return {sensor: float(factor) for sensor, factor in found}


def _opinions(on: Connection, machine_key: int) -> list[Opinion]:
    """Return what was said of a machine's incidents; faults of sensors say nothing of limits."""
    found = rows(
        on,
        "SELECT feedback, evidence FROM incidents WHERE machine_key = %s AND kind = 'machine'"
        " AND feedback IS NOT NULL ORDER BY id",
        (machine_key,),
    )
    return [
        Opinion(feedback=said, shares={part["sensor"]: float(part["share"]) for part in evidence})
        for said, evidence in found
    ]


def _write(
    on: Connection, machine_key: int, before: dict[str, float], after: dict[str, float]
) -> None:
    rows(
        on,
        "DELETE FROM sensor_limits WHERE machine_key = %s AND sensor = ANY(%s::text[])",
        (machine_key, [name for name in before if name not in after]),
    )
    changed = {name: factor for name, factor in after.items() if before.get(name) != factor}
    rows(
        on,
        "INSERT INTO sensor_limits (machine_key, sensor, factor) SELECT %s, s, f"
        " FROM unnest(%s::text[], %s::float8[]) AS n (s, f) ON CONFLICT (machine_key, sensor)"
        " DO UPDATE SET factor = excluded.factor, changed_at = clock_timestamp()",
        (machine_key, list(changed), list(changed.values())),
    )


def _label(on: Connection, machine_key: int, one: IncidentRow) -> None:
    if one.feedback == "true" and one.kind == "machine":
        label = Label(
            machine=one.machine,
            kind=_KIND,
            source="feedback",
            onset_us=microseconds(one.began),
            end_us=None if one.closed is None else max(map(microseconds, (one.began, one.closed))),
            sensors=(one.root_sensor,),
            note=one.note,
        )
        failures.add(on, [label])
        return
    rows(
        on,
        "DELETE FROM failures WHERE machine_key = %s AND source = 'feedback' AND kind = %s"
        " AND onset = %s",
        (machine_key, _KIND, one.began),
    )
