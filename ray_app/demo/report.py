"""What the demonstration ends with: one short, honest table, or one JSON object."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """The figures of one run.

    Attributes:
        readings_stored: Rows in Postgres, counted there.
        lost: Readings that were published and are not stored, compared by key.
        duplicated: Rows stored that were never published, or stored twice, compared by key.
        quarantined: Messages in quarantine.
        trials: Configurations that the sweep tried.
        champion: Name and version of the promoted model; empty without one.
        objective: Its label-free score: replay detection at a bounded false-alarm rate.
        failures_injected: Failures that the simulator began.
        failures_detected: Those for which an incident was raised while they lasted.
        missed: `machine: kind` of the others.
        median_delay_s: Seconds of event time from onset to incident; None if nothing was detected.
        false_alarms: Incidents that no failure explains.
        false_alarms_per_machine_day: The same, for each day that one machine was watched.
        prediction_status: HTTP status of one real prediction.
        prediction: One sentence on what it answered.
        seconds: Wall-clock seconds from the start to this table.
        memory_gib: Resident memory of everything that was started, shared pages counted once.
    """

    readings_stored: int
    lost: int
    duplicated: int
    quarantined: int
    trials: int
    champion: str
    objective: float | None
    failures_injected: int
    failures_detected: int
    missed: tuple[str, ...]
    median_delay_s: float | None
    false_alarms: int
    false_alarms_per_machine_day: float
    prediction_status: int
    prediction: str
    seconds: float
    memory_gib: float

    def json(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return asdict(self)

    def problems(self) -> tuple[str, ...]:
        """Return what makes this run a failure, in words; empty when it went well."""
        found = {
            f"{self.lost} readings were lost": self.lost,
            f"{self.duplicated} readings were duplicated": self.duplicated,
            "no reading was stored": not self.readings_stored,
            "no model was promoted": not self.champion,
            f"not detected: {', '.join(self.missed)}": self.missed,
            f"the prediction answered {self.prediction_status}": self.prediction_status != 200,
        }
        return tuple(text for text, wrong in found.items() if wrong)

    def lines(self) -> Iterator[str]:
        """Yield the table for people."""
        delay = "-" if self.median_delay_s is None else f"{self.median_delay_s:.0f} s after onset"
        score = "-" if self.objective is None else f"{self.objective:.3f}"
        daily = f"{self.false_alarms_per_machine_day:.1f} per machine and day"
        rows = (
            ("readings stored", f"{self.readings_stored:,}"),
            ("lost / duplicated", f"{self.lost:,} / {self.duplicated:,}, compared by key"),
            ("in quarantine", f"{self.quarantined:,}"),
            ("sweep", f"{self.trials} configurations tried, no label used"),
            ("champion", f"{self.champion or '-'}, replay objective {score}"),
            ("failures", f"{self.failures_detected} of {self.failures_injected} detected"),
            ("median delay", delay),
            ("false alarms", f"{self.false_alarms}, which is {daily}"),
            ("prediction", f"HTTP {self.prediction_status}: {self.prediction}"),
            ("took", f"{self.seconds:.0f} s, {self.memory_gib:.1f} GiB resident"),
        )
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            yield f"  {name:<{width}}  {value}"
