"""What a sweep may use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """Bounds of a sweep and of retraining.

    Attributes:
        tracking_uri: MLflow's tracking server or store.
        lookback_hours: Hours of history before the newest reading that training sees.
        trials: Configurations a sweep tries.
        max_concurrent: Trials at the same time.
        seed: Makes the sweep repeatable.
        retrain_interval_s: Seconds between periodic retrainings; 0 switches them off.
        cooldown_s: Seconds after a retraining in which no other begins.
    """

    tracking_uri: str
    lookback_hours: float = 1.0
    trials: int = 24
    max_concurrent: int = 2
    seed: int = 0
    retrain_interval_s: float = 3600.0
    cooldown_s: float = 900.0
