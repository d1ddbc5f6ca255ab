"""What a sweep may use."""

from dataclasses import dataclass, field

from domain.gain import REPLAYS
from tuning.promotion import Gate
from tuning.retraining import RetrainingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """Bounds of a sweep and of retraining.

    Attributes:
        tracking_uri: MLflow's tracking server or store; may hold a password, never shown.
        artifact_root: Where artifacts of a new experiment go; the server's own place when None.
        tracking_wait_s: How long a sweep waits for MLflow at its end before it goes on without.
        lookback_hours: Hours of history before the newest reading that training sees.
        margin_s: Seconds around suspected failures that training does not see.
        trials: Configurations a sweep tries on little data.
        finalists: The best of them that are tried again on more.
        screen_rows: Readings of a first trial.
        confirm_rows: Readings of a finalist's trial.
        confirm_machines: Most machines they are of; more would leave each less than its baseline
            and warm-up take, and the judgement would fall on those.
        min_rows: Fewest readings worth a sweep.
        max_rows: Most readings the chosen configuration is fitted to.
        replays: Replays of challenger and champion at the gate, each with a seed of its own.
        max_concurrent: Trials at the same time.
        trial_cpus: Logical CPUs that a trial sets aside.
        seed: Makes the sweep repeatable.
        retrain_interval_s: Seconds between periodic retrainings; 0 switches them off.
        cooldown_s: Seconds after a retraining in which no other begins.
        gate: What a challenger has to show.
    """

    tracking_uri: str = field(repr=False)
    artifact_root: str | None = None
    tracking_wait_s: float = 240.0
    lookback_hours: float = 1.0
    margin_s: float = 120.0
    trials: int = 24
    finalists: int = 3
    screen_rows: int = 8_000
    confirm_rows: int = 24_000
    confirm_machines: int = 10
    min_rows: int = 600
    max_rows: int = 200_000
    replays: int = REPLAYS
    max_concurrent: int = 2
    trial_cpus: float = 0.5
    seed: int = 0
    retrain_interval_s: float = 3600.0
    cooldown_s: float = 900.0
    gate: Gate = field(default_factory=Gate)

    @property
    def policy(self) -> RetrainingPolicy:
        """When to train again; an interval of 0 switches every cause off."""
        return RetrainingPolicy(
            interval_s=self.retrain_interval_s,
            cooldown_s=self.cooldown_s,
            drift_limit=RetrainingPolicy().drift_limit if self.retrain_interval_s > 0 else 0.0,
        )
