"""Risk on simulated fleets with many failures, on machines held out, minute by minute.

    python benchmarks/risk_fleet.py [--machines 40] [--hours 48] [--seeds 3]

Prints one JSON object per machine class. The forecast is that of production.
"""

import argparse
import json
from typing import Any

import numpy as np

from domain.class_files import load_class
from domain.readings import History, Matrix
from domain.risk.class_risk import ClassRisk
from domain.risk.steps import Event, lives_of, steps_of
from domain.scorecard.lives import calibration_error
from domain.scorecard.points import roc_auc
from domain.simulation.fleet import Fleet

START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
MINUTE_US = 60_000_000
MODES = {
    "pump": ("bearing_wear", "overheating", "cavitation", "imbalance"),
    "fan": (),
}


def fleet_of(name: str, machines: int, hours: int, seed: int) -> tuple[list[History], list[Event]]:
    """Return minutes of a fleet, and its failures: each develops over two to eight hours."""
    rng = np.random.default_rng(seed)
    fleet = Fleet.create(
        load_class(name), [f"{name}-{n}" for n in range(machines)], start_us=START_US, seed=seed,
        period_s=5.0,
    )  # fmt: skip
    kinds = MODES[name] or tuple(mode for mode in fleet.modes if "sensor" not in mode)
    events = []
    for machine in fleet.names:
        at_us = START_US + round(rng.uniform(2, 14) * HOUR_US)
        while at_us < START_US + hours * HOUR_US:
            develop_s = float(rng.uniform(2, 8) * 3600)
            failure = fleet.inject(
                machine,
                str(rng.choice(kinds)),
                onset_us=at_us,
                develop_s=develop_s,
                duration_s=develop_s + 600,
                severity=float(rng.uniform(0.8, 1.2)),
            )
            events.append(
                Event(
                    machine=machine,
                    kind=failure.kind,
                    onset_us=at_us,
                    failed_us=at_us + round(develop_s * 1e6),
                    ended_us=failure.end_us + 60_000_000,
                )
            )
            at_us = failure.end_us + round(rng.exponential(8) * HOUR_US)
    parts: dict[int, list[tuple[Any, Matrix]]] = {}
    for hour in range(1, hours + 1):
        for at, instants, values in fleet.advance(START_US + hour * HOUR_US):
            parts.setdefault(at, []).append(steps_of(instants, values, MINUTE_US))
    histories = [
        History(
            machine=fleet.names[at],
            instants_us=np.concatenate([one[0] for one in found]),
            values=np.concatenate([one[1] for one in found]),
        )
        for at, found in parts.items()
    ]
    end_us = START_US + hours * HOUR_US
    return histories, [one for one in events if one.failed_us < end_us]


def judged(name: str, machines: int, hours: int, seed: int) -> dict[str, float]:
    """Learn from the even machines, forecast every minute of the odd ones."""
    histories, events = fleet_of(name, machines, hours, seed)
    kind = load_class(name).machine_class
    risk = ClassRisk.fit(kind, histories[::2], events, seed=seed)
    model = risk.models["1 h"]
    told: list[Matrix] = []
    hits: list[bool] = []
    wrong: list[bool] = []
    for one in histories[1::2]:
        own = [event for event in events if event.machine == one.machine]
        for life in lives_of(one, own, MINUTE_US):
            forecast = model.forecast(life.values)
            left = np.arange(len(life.values) - 1.0, -1.0, -1.0)
            known = np.full(len(left), life.failed) | (left > model.cap)
            columns = (left, forecast.p, forecast.remaining, forecast.remaining_low,
                       forecast.remaining_high)  # fmt: skip
            told.append(np.stack(columns)[:, known])
        for event in own:
            end = int(np.searchsorted(one.instants_us, event.failed_us))
            nearest = risk.modes.nearest(one.values[max(0, end - 128) : end])
            named = "unknown" if nearest is None else nearest.mode
            hits.append(named == event.kind)
            wrong.append(named not in {event.kind, "unknown"})
    left, p, remaining, low, high = np.concatenate(told, axis=1)
    soon, capped = left <= model.horizon, np.minimum(left, model.cap)
    base = float(soon.mean())
    return {
        "auc": roc_auc(soon, p),
        "brier": float(np.mean((p - soon) ** 2)),
        "brier_of_base_rate": base * (1 - base),
        "calibration_error": calibration_error(soon, p),
        "rmse_s": 60 * float(np.sqrt(np.mean((remaining - capped) ** 2))),
        "coverage": float(np.mean((low <= capped) & (capped <= high))),
        "mode_hit": float(np.mean(hits)),
        "mode_wrong": float(np.mean(wrong)),
        "failures": float(len(events)),
    }


def main() -> None:
    """Judge each class and print the means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=40)
    parser.add_argument("--hours", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    for name in MODES:
        found = [judged(name, asked.machines, asked.hours, seed) for seed in range(asked.seeds)]
        means = {key: round(float(np.mean([one[key] for one in found])), 4) for key in found[0]}
        spread = {key: round(float(np.std([one[key] for one in found])), 4) for key in found[0]}
        print(json.dumps({"machine_class": name, **means, "spread": spread}))


if __name__ == "__main__":
    main()
