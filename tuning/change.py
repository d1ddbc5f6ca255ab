"""What a class's newest readings say against its champion's training: how far they moved, and why.

1. Read the newest readings and hours of each machine.
2. Leave out what training leaves out: maintenance, failures that people named, incidents, and of a
   machine whose level is learnt anew after a repair what was before it.
3. Incidents stay where they are of most machines: what moves a fleet at once is its surroundings
   or its work (`tuning.causes`), and to leave that out would hide it for ever.
4. Compare: the stability index over the newest readings, the cause over the hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from domain.anew import since_last
from domain.errors import ModelRejectedError
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.readings import History
from domain.risk.steps import step_us
from storage import models, steps
from storage.care import words
from storage.connect import Connection
from storage.history import latest_instants, read_history
from storage.suspicion import suspected
from tuning.causes import Diagnosis, Recent, diagnose
from tuning.data import without
from tuning.drift import Reference, overall, stability_index

_NEWEST_S: Final = 900.0
"""Live readings that are compared with training: long enough to hold every regime."""

_NEWEST_ROWS: Final = 400
"""Of each machine; evenly drawn, since neighbours say the same."""

_CAUSE_STEPS: Final = 180
"""Steps in which the cause of a change is looked for: three hours of minutes."""

_FAULTY_SHARE: Final = 0.2
"""A sensor that the watch doubted in so much of the last quarter of an hour is faulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What changed since training; None is unknown.

    Attributes:
        index: Population stability index of the median sensor.
        diagnosis: Why.
    """

    index: float | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Champion:
    """What change is measured against, loaded once per version."""

    version: int
    reference: Reference | None = None
    pipeline: Pipeline | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Seen:
    """One machine's healthy readings: hours of steps, and the newest as they came."""

    hours: History
    newest: History


class ChangeWatch:
    """Compares live readings with what champions learnt.

    Args:
        margin_s: Seconds around suspected failures that are left out with them.
    """

    def __init__(self, margin_s: float) -> None:
        self._margin_s = margin_s
        self._champions: dict[str, _Champion] = {}

    def look(
        self, on: Connection, kind: MachineClass, names: Sequence[str], version: int
    ) -> Change:
        """Compare a class's newest readings with its champion's training.

        Args:
            on: A session.
            kind: The class.
            names: Of its machines.
            version: Of its champion.
        """
        known = self._champions.get(kind.name)
        if known is None or known.version != version:
            known = self._champions[kind.name] = _champion(on, kind, version)
        seen = self._seen(on, kind, names)
        if known.reference is None or known.pipeline is None or not seen:
            return Change()
        drawn = [one.newest.values[:: -(-len(one.newest) // _NEWEST_ROWS)] for one in seen]
        index = overall(stability_index(known.reference, np.concatenate(drawn)))
        fleet = [_recent(known.pipeline, one) for one in seen if len(one.hours)]
        return Change(index=index, diagnosis=diagnose(known.reference, fleet, kind.sensor_names))

    def _seen(self, on: Connection, kind: MachineClass, names: Sequence[str]) -> list[_Seen]:
        """Return the machines that have healthy readings now."""
        latest = latest_instants(on, names)
        if not latest:
            return []
        length, end_us = step_us(kind.period_s), max(latest.values()) + 1
        start_us = max(0, end_us - _CAUSE_STEPS * length)
        hours = steps.read(on, list(latest), start_us, end_us, step_us=length)
        parts = read_history(on, list(latest), end_us - round(_NEWEST_S * 1e6), end_us)
        said = words(on, list(latest))
        whole = [
            _Seen(hours=past, newest=last)
            for past, last in (
                [since_last(one, said.get(one.machine, ())) for one in pair]
                for pair in zip(hours, parts, strict=True)
            )
            if len(last)
        ]
        calm = self._calm(on, whole, start_us, end_us)
        return (
            calm
            if 2 * len(calm) > len(whole)
            else self._calm(on, whole, start_us, end_us, incidents=False)
        )

    def _calm(
        self,
        on: Connection,
        seen: list[_Seen],
        start_us: int,
        end_us: int,
        *,
        incidents: bool = True,
    ) -> list[_Seen]:
        """Leave out suspected periods, and machines of which nothing new is left."""
        names = [one.newest.machine for one in seen]
        found = suspected(on, names, start_us, end_us, incidents=incidents)
        left = []
        for name, one in zip(names, seen, strict=True):
            own = [period for period in found if period.machine == name]
            newest = without(one.newest, own, self._margin_s)
            if len(newest):
                hours = without(one.hours, own, self._margin_s)
                left.append(_Seen(hours=hours, newest=newest))
        return left


def _recent(pipeline: Pipeline, seen: _Seen) -> Recent:
    faults = pipeline.watch.check(pipeline.watch.new_memory(), seen.newest.values) > 0
    return Recent(
        machine=seen.hours.machine,
        values=seen.hours.values,
        faulty=faults.mean(axis=0) > _FAULTY_SHARE,
    )


def _champion(on: Connection, kind: MachineClass, version: int) -> _Champion:
    nothing = _Champion(version=version)
    try:
        package = models.get(on, kind.name, version).package
        pipeline = Pipeline.from_package(package, f"{kind.name} version {version}")
    except ModelRejectedError:
        return nothing
    record = pipeline.about.get("drift")
    if pipeline.machine_class.sensor_names != kind.sensor_names or not isinstance(record, dict):
        return nothing
    return _Champion(version=version, reference=Reference.from_json(record), pipeline=pipeline)
