"""Scored readings of one machine as the rows that Postgres keeps. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from domain.care import NO_CARE, Care, notes
from domain.conditions import StateChanges, What, sensor_conditions
from domain.incidents import Change, Incident, IncidentEvent
from domain.machines import Machine
from domain.readings import Instants, Matrix
from domain.risk.outlook import Failure, IncidentMode, mode_of
from domain.scores import Scores
from domain.severity import severity_of
from domain.told import SensorDid
from ray_app.known import Champion
from ray_app.serve.verdict import contributions, faults_of
from storage import verdicts
from storage.movements import Told
from storage.verdicts import Anomaly, Contribution, Kind, State

_TOP = 8
"""Sensors named per anomaly; the rest would only repeat that they are healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An incident that a batch opened, updated or closed."""

    change: Change
    incident: verdicts.Incident


@dataclass(slots=True, kw_only=True)
class Verdicts:
    """What one batch came to.

    Attributes:
        scored: Readings that were scored.
        late: Readings older than one of the same machine that was scored before; left out.
        unjudged: Readings of a class without a champion; left out.
        anomalies: Anomalous readings.
        changes: Incidents, in the order of events.
        states: The last state of each machine.
        conditions: Changes of sensors' states.
        movements: Movements that began, went on or were over.
        views: What was scored, for who scores it again in shadow.
    """

    scored: int = 0
    late: int = 0
    unjudged: int = 0
    anomalies: list[Anomaly] = field(default_factory=list)
    changes: list[Changed] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    conditions: list[StateChanges] = field(default_factory=list)
    movements: list[Told] = field(default_factory=list)
    views: list["View"] = field(default_factory=list)

    def add(self, other: "Verdicts") -> None:
        """Take in what another batch came to."""
        self.scored += other.scored
        self.late += other.late
        self.unjudged += other.unjudged
        self.anomalies += other.anomalies
        self.changes += other.changes
        self.states += other.states
        self.conditions += other.conditions
        self.movements += other.movements
        self.views += other.views


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """Scored readings of one machine, and what is to be said of them.

    Attributes:
        champion: What scored them.
        machine: Whose they are.
        care: What is the machine's own.
        first_us: Instant of its first reading where it is cold; None where the model knows it.
        at: Shape (n,).
        values: Shape (n, S), as observed.
        scores: Of n readings, as the machine's own limits see them.
        failure: Risk of failure after them; None while the class has no risk model.
    """

    champion: Champion
    machine: Machine
    care: Care = NO_CARE
    first_us: int | None = None
    at: Instants
    values: Matrix
    scores: Scores
    failure: Failure | None = None

    @property
    def key(self) -> int:
        """`Machine.key`."""
        return self.machine.key

    @property
    def under_maintenance(self) -> npt.NDArray[np.bool_]:
        """Which readings are of a window of maintenance, or of a model that looks back on one."""
        pipeline = self.champion.pipeline
        window_s = pipeline.front.window_rows * pipeline.machine_class.period_s
        return self.care.under_maintenance(self.at, settle_us=round(window_s * 1e6))

    def take(self, rows: npt.NDArray[np.intp]) -> "View":
        """Return the named rows."""
        scores = self.scores
        return replace(
            self,
            at=self.at[rows],
            values=self.values[rows],
            scores=Scores(
                score=scores.score[rows],
                contributions=scores.contributions[rows],
                expected=scores.expected[rows],
                ready=scores.ready[rows],
                sensor_faults=scores.sensor_faults[rows],
            ),
        )

    def anomalies(self) -> Iterator[Anomaly]:
        """Return the anomalous rows that are sure, and no work of people."""
        sure = self.scores.ready & ~self.under_maintenance
        for row in np.flatnonzero((self.scores.score > 1) & sure).tolist():
            yield Anomaly(
                machine_key=self.key,
                instant_us=int(self.at[row]),
                model_version=self.champion.version,
                score=float(self.scores.score[row]),
                kind="machine",
                contributions=contributions(
                    self.champion.pipeline, self.scores, row, self.values[row], _TOP
                ),
            )

    def sensor_conditions(self) -> dict[What, tuple[int, int]]:
        """Return what is wrong with each sensor after the last row, and since which row."""
        names = self.champion.pipeline.machine_class.sensor_names
        return sensor_conditions(names, self.at, self.scores.sensor_faults)

    def state(self, *, gap: bool = False) -> State:
        """Return what is known of the machine after the last row.

        Args:
            gap: Whether the model's window has a hole.
        """
        names = self.champion.pipeline.machine_class.sensor_names
        faults = faults_of(names, self.scores.sensor_faults[-1])
        return State(
            machine_key=self.key,
            instant_us=int(self.at[-1]),
            score=float(self.scores.score[-1]),
            model_version=self.champion.version,
            failure=self.failure,
            quality={
                "ready": bool(self.scores.ready[-1]),
                "gap": gap,
                "faults": [{"sensor": one.sensor, "kind": one.kind} for one in faults],
                "note": "; ".join(
                    notes(
                        self.champion.pipeline,
                        self.care,
                        int(self.at[-1]),
                        self.first_us,
                        machine=self.machine.name,
                    )
                ),
            },
        )

    def change(
        self, kind: Kind, event: IncidentEvent, faults: tuple[SensorDid, ...] = ()
    ) -> Changed:
        """Return an incident's change as it is stored, with what sensors did in it."""
        incident = event.incident
        evidence = self._evidence(incident)
        return Changed(
            change=event.change,
            incident=verdicts.Incident(
                machine_key=self.key,
                kind=kind,
                began_us=incident.began_us,
                opened_us=incident.opened_us,
                last_seen_us=incident.last_seen_us,
                closed_us=incident.closed_us,
                peak_score=incident.peak_score,
                anomalies=incident.anomalies,
                root_sensor=self.champion.pipeline.machine_class.sensor_names[incident.root],
                evidence=evidence,
                peaked_us=None if incident.peak is None else incident.peak.instant_us,
                model_version=self.champion.version,
                severity=severity_of(
                    incident.peak_score,
                    (incident.last_seen_us - incident.began_us) / 1e6,
                    incident.evidence,
                ),
                close_reason=self._close_reason(event),
                failure_mode=self._failure_mode(kind, event),
                faults=faults,
            ),
        )

    def _failure_mode(self, kind: Kind, event: IncidentEvent) -> IncidentMode | None:
        """Return the nearest mode while the machine is in trouble; None where that is over."""
        if event.change is Change.CLOSED:
            return None
        if kind == "sensor":
            return IncidentMode(mode="unknown", reason="a sensor's fault is no machine's failure")
        return mode_of(self.failure)

    def _close_reason(self, event: IncidentEvent) -> verdicts.CloseReason | None:
        closed_us = event.incident.closed_us
        if closed_us is None:
            return None
        if event.repaired:
            return "repaired"
        within = self.care.under_maintenance(np.array([closed_us], dtype=np.int64))[0]
        return "maintenance" if within else "quiet"

    def _evidence(self, incident: Incident) -> tuple[Contribution, ...]:
        """Return the largest parts, with what was seen when the score was at its highest."""
        parts = np.array(incident.evidence)
        total = float(parts.sum()) or 1.0
        names = self.champion.pipeline.machine_class.sensor_names
        order = [at for at in np.argsort(-parts, kind="stable")[:_TOP].tolist() if parts[at] > 0]
        peak = incident.peak
        return tuple(
            Contribution(
                sensor=names[at],
                share=round(float(parts[at]) / total, 6),
                expected=None if peak is None else _number(peak.expected[at]),
                observed=None if peak is None else _number(peak.observed[at]),
            )
            for at in order
        )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
