"""What the demonstration does, decided before anything is started."""

from dataclasses import dataclass
from typing import Self

from ray_app.producer_plan import ProducerPlan
from ray_app.settings import Environment

_S = 1_000_000
_MINUTE_US = 60 * _S

MODES = ("bearing_wear", "overheating", "cavitation", "imbalance", "sensor_stuck", "sensor_dropout")
"""One machine fails in each way; the others stay healthy, for false alarms to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A failure of the demonstration.

    Attributes:
        machine: Its name.
        mode: Failure mode.
        onset_us: Instant of its onset, microseconds UTC.
        develop_s: Seconds of event time to full development.
        duration_s: Seconds of event time to the repair.
    """

    machine: str
    mode: str
    onset_us: int
    develop_s: float = 180.0
    duration_s: float = 480.0

    @property
    def end_us(self) -> int:
        """Instant of the repair."""
        return self.onset_us + round(self.duration_s * _S)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """One run of the demonstration.

    Attributes:
        machines: How many machines; at least one for each failure mode and one healthy.
        num_sensors: Sensors of each.
        period_s: Seconds of event time between two readings.
        history_s: Seconds of healthy history, sent as fast as it goes.
        live_s: Seconds of event time watched after it.
        speed: Seconds of event time per second while it catches up with the present.
        trials: Configurations that the sweep tries.
        seed: Decides fleet and sweep.
        grace_s: Seconds after a repair in which an incident still belongs to the failure.
    """

    machines: int = 8
    num_sensors: int = 20
    period_s: float = 0.5
    history_s: float = 3600.0
    live_s: float = 900.0
    speed: float = 25.0
    trials: int = 8
    seed: int = 0
    grace_s: float = 180.0

    @classmethod
    def of(cls, env: Environment) -> Self:
        """Return the plan for the given settings."""
        return cls(
            machines=max(env.num_machines, len(MODES) + 1),
            num_sensors=env.num_sensors,
            period_s=env.simulation_interval_ms / 1000,
            history_s=env.training_lookback_hours * 3600,
            seed=env.simulation_seed,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the machines."""
        width = max(2, len(str(self.machines)))
        return tuple(f"pump-{number:0{width}}" for number in range(1, self.machines + 1))

    def live_us(self, now_us: int) -> int:
        """Return where history ends: so far back that all of the live part is past or present."""
        # On whole seconds, for eyes that read a table.
        return now_us // _S * _S - round((self.live_s + self.grace_s) * _S)

    def start_us(self, live_us: int) -> int:
        """Return where history begins."""
        return live_us - round(self.history_s * _S)

    def history(self, live_us: int) -> ProducerPlan:
        """Return what the producer sends first; it ends by itself."""
        return ProducerPlan(
            machines=self.names,
            start_us=self.start_us(live_us),
            live_us=live_us,
            until_us=live_us,
            num_sensors=self.num_sensors,
            period_s=self.period_s,
            seed=self.seed,
        )

    def live(self, live_us: int, wall_us: int) -> ProducerPlan:
        """Return what the producer sends from now on: the same fleet, accelerated."""
        return ProducerPlan(
            machines=self.names,
            start_us=self.start_us(live_us),
            live_us=live_us,
            began_us=wall_us,
            num_sensors=self.num_sensors,
            period_s=self.period_s,
            speed=self.speed,
            seed=self.seed,
        )

    def injections(self, from_us: int) -> tuple[Injection, ...]:
        """Return the failures: a machine per mode, one onset every 20 s from two minutes on."""
        first_us = from_us // _S * _S + 2 * _MINUTE_US
        return tuple(
            Injection(machine=name, mode=mode, onset_us=first_us + at * 20 * _S)
            for at, (name, mode) in enumerate(zip(self.names, MODES, strict=False))
        )
