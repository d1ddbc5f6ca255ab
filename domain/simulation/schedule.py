"""Random failures of one machine, drawn ahead."""

from typing import NamedTuple

import numpy as np

from domain.class_spec import ClassSpec


class Drawn(NamedTuple):
    """A failure to inject: mode, onset in microseconds UTC, seconds, factor on the effects."""

    mode: str
    onset_us: int
    develop_s: float
    duration_s: float
    severity: float


def draw_failures(
    spec: ClassSpec,
    rng: np.random.Generator,
    *,
    per_hour: float,
    start_us: int,
    until_us: int,
) -> list[Drawn]:
    """Draw failures one after another, with exponential healthy times between them.

    Args:
        spec: Modes with their weights.
        rng: Where chance comes from.
        per_hour: Mean failures per healthy hour.
        start_us: The first healthy time begins here.
        until_us: No onset from here on.
    """
    modes = [name for name, mode in spec.failures.items() if mode.weight > 0]
    if not modes:
        return []
    weights = np.array([spec.failures[name].weight for name in modes])
    drawn: list[Drawn] = []
    at_us = start_us
    while True:
        at_us += round(rng.exponential(3600e6 / per_hour))
        if at_us >= until_us:
            return drawn
        name = modes[int(rng.choice(len(modes), p=weights / weights.sum()))]
        mode, pace = spec.failures[name], rng.uniform(0.7, 1.4)
        drawn.append(
            Drawn(
                mode=name,
                onset_us=at_us,
                develop_s=mode.develop_s * pace,
                duration_s=mode.duration_s * pace,
                severity=rng.uniform(0.7, 1.3),
            )
        )
        at_us += round(drawn[-1].duration_s * 1e6)
