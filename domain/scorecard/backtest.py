"""A machine's own history as a run of the scorecard, and what to say where nobody labelled it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from domain.incidents import Incident
from domain.machines import MachineClass
from domain.readings import History
from domain.scorecard.points import Flags
from domain.scorecard.protocol import Verdicts
from domain.scorecard.runs import Format, Run

BINS: Final = 60
"""Points of a machine's timeline."""

SENSOR_PREFIX: Final = "sensor"
"""A label whose kind begins so tells of a sensor's fault; the machine may be well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A stretch of time of one machine.

    Attributes:
        from_us: First instant, microseconds UTC.
        to_us: Last instant; None while it lasts.
        kind: Failure mode; empty for an incident.
        sensors: Names of the sensors that show it; may be empty.
    """

    from_us: int
    to_us: int | None
    kind: str = ""
    sensors: tuple[str, ...] = ()


def history_run(
    history: History,
    machine_class: MachineClass,
    labels: Sequence[Period] | None,
    *,
    learnt_rows: int,
) -> Run:
    """Return a machine's history as a run.

    Args:
        history: Its readings, of all sensors of the class.
        machine_class: What the columns are.
        labels: Its failures; None where nobody labelled the machines that are judged together.
        learnt_rows: Readings that are not judged, because they are learnt from.
    """
    instants = history.instants_us
    failing, ill = np.zeros((2, len(history)), dtype=np.bool_)
    touched = np.zeros(history.values.shape, dtype=np.bool_)
    for one in labels or ():
        inside = _inside(one, instants)
        if one.kind.startswith(SENSOR_PREFIX):
            ill |= inside
            continue
        failing |= inside
        known = [machine_class.position[s] for s in one.sensors if s in machine_class.position]
        touched[np.ix_(inside, known)] = True
    labelled = labels is not None
    return Run(
        name=history.machine,
        kind=Format.CSV,
        sensors=machine_class.sensor_names,
        instants_us=instants,
        values=history.values,
        anomalous=failing if labelled else None,
        touched=touched if labelled else None,
        ill=ill if labelled else None,
        declared=machine_class,
        learnt_rows=learnt_rows,
    )


def told_of(run: Run, told: Verdicts, stored: Sequence[Period]) -> dict[str, Any]:
    """Return what needs no label: alarms, their rate, incidents beside those that were stored.

    Args:
        run: The run.
        told: Verdicts on its scored part.
        stored: Incidents that were told while the machine ran.

    Returns:
        `alarms`, `alarm_rate` in percent of the readings, `incidents`, `stored_incidents` of the
        scored time, `stored_incidents_met` by one of ours, `new_incidents` that meet none of them,
        `changes` (the machine began to move or had settled) and their instants, `changes_us`.
    """
    instants = run.test.instants_us
    first, last = int(instants[0]), int(instants[-1])
    known = [one for one in stored if _touch(one, first, last)]
    ours = [_period(one) for one in told.incidents]
    moved = [] if told.changes is None else instants[told.changes].tolist()
    return {
        "readings": len(instants),
        "alarms": int(told.told.sum()),
        "alarm_rate": 100 * float(told.told.mean()),
        "incidents": len(ours),
        "stored_incidents": len(known),
        "stored_incidents_met": sum(any(_meet(one, each) for each in ours) for one in known),
        "new_incidents": sum(not any(_meet(one, each) for each in known) for one in ours),
        "changes": len(moved),
        "changes_us": moved,
    }


def timeline(run: Run, told: Verdicts, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Return the course of the score in equal stretches of time, those without readings left out.

    Returns:
        `from_us`, `score_mean`, `score_max` and `alarms`, the share of readings above 1, of each.
    """
    instants = run.test.instants_us
    width = max(1, -(-(int(instants[-1]) - int(instants[0]) + 1) // bins))
    place = (instants - instants[0]) // width
    found = []
    for at in np.unique(place).tolist():
        inside = place == at
        score = told.score[inside]
        found.append(
            {
                "from_us": int(instants[0]) + at * width,
                "score_mean": float(score.mean()),
                "score_max": float(score.max()),
                "alarms": float(told.told[inside].mean()),
            }
        )
    return found


def _period(incident: Incident) -> Period:
    return Period(from_us=incident.began_us, to_us=incident.last_seen_us)


def _inside(one: Period, instants: npt.NDArray[np.int64]) -> Flags:
    inside: Flags = instants >= one.from_us
    return inside if one.to_us is None else inside & (instants <= one.to_us)


def _touch(one: Period, first: int, last: int) -> bool:
    return one.from_us <= last and (one.to_us is None or one.to_us >= first)


def _meet(one: Period, other: Period) -> bool:
    begins_before_the_end = one.to_us is None or other.from_us <= one.to_us
    return begins_before_the_end and (other.to_us is None or one.from_us <= other.to_us)
