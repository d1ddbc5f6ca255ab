"""Scoring one reading of one machine: alone, and amortised over many readings in one call.

    python benchmarks/scoring.py [--machines 1000] [--rounds 5] [--sensors 20]

Every machine of a simulated fleet has a state of its own; each step brings one new reading of each.
`one` calls `Pipeline.score` machine by machine, `each` calls `Pipeline.score_each` for all of them,
`moves` is `each` and the look for machines that move, as the stream's scorer takes it, `rows` gives
many readings of one machine in one call: the floor, for nothing is asked per call.
Microseconds of processor time per reading, so that other work hardly counts; median of the
rounds; the last line is JSON. Pools of threads are held to one, whose spinning would count.
"""

import argparse
import json
from statistics import median
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from domain.class_files import load_class
from domain.pipeline import Pipeline, PipelineState
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.simulation.fleet import Fleet
from ray_app.moving import MoveWatch

START_US = 1_700_000_000_000_000
LEARNT_S = 900
STEPS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sensors", type=int, default=20)
    given = parser.parse_args()
    histories = _histories(given.sensors)
    found: dict[str, float] = {}
    for spec in (PipelineSpec(), PipelineSpec(features="gated", detector="pca", window_s=30.0)):
        kind = load_class("pump").with_sensors(given.sensors).machine_class
        pipeline = Pipeline.fit(spec, histories, kind, seed=0)
        name = f"{spec.features}-{spec.detector}"
        one = [_one(pipeline, histories[0], given.machines) for _ in range(given.rounds)]
        each = [_each(pipeline, histories[0], given.machines) for _ in range(given.rounds)]
        moves = [
            _each(pipeline, histories[0], given.machines, look=True) for _ in range(given.rounds)
        ]
        rows = [_rows(pipeline, histories[0]) for _ in range(given.rounds)]
        found |= {
            f"{name} one_us": median(one),
            f"{name} each_us": median(each),
            f"{name} moves_us": median(moves),
            f"{name} rows_us": median(rows),
        }
        print(
            f"{name:24} one {median(one):6.1f} µs, each {median(each):6.1f} µs, "
            f"moves {median(moves):6.1f} µs, rows {median(rows):6.1f} µs"
        )
    print(json.dumps(found))


def _histories(sensors: int) -> list[History]:
    names = ["p-0", "p-1"]
    file = load_class("pump").with_sensors(sensors)
    fleet = Fleet.create(file, names, start_us=START_US, seed=0)
    return [
        History(machine=names[at], instants_us=instants, values=values)
        for at, instants, values in fleet.advance(START_US + LEARNT_S * 1_000_000)
    ]


def _states(pipeline: Pipeline, past: History, machines: int) -> list[PipelineState]:
    state = pipeline.new_state()
    half = len(past) // 2
    pipeline.score(state, past.instants_us[:half], past.values[:half])
    return [state.copy() for _ in range(machines)]


def _one(pipeline: Pipeline, past: History, machines: int) -> float:
    """Return microseconds per reading, machine by machine."""
    states, half = _states(pipeline, past, machines), len(past) // 2
    began = process_time()
    for step in range(half, half + STEPS):
        at, row = past.instants_us[step : step + 1], past.values[step : step + 1]
        for state in states:
            pipeline.score(state, at, row)
    return 1e6 * (process_time() - began) / (machines * STEPS)


def _each(pipeline: Pipeline, past: History, machines: int, *, look: bool = False) -> float:
    """Return microseconds per reading, one of each machine in one call."""
    states, half = _states(pipeline, past, machines), len(past) // 2
    watch, keys, ends = MoveWatch({}), list(range(machines)), np.arange(1, machines + 1)
    began = process_time()
    for step in range(half, half + STEPS):
        at = np.repeat(past.instants_us[step : step + 1], machines)
        values = np.repeat(past.values[step : step + 1], machines, axis=0)
        scores = pipeline.score_each(states, at, values)
        if look:
            watch.look(pipeline, keys, ends, at, scores)
    return 1e6 * (process_time() - began) / (machines * STEPS)


def _rows(pipeline: Pipeline, past: History) -> float:
    """Return microseconds per reading of one machine in bulk."""
    (state,) = _states(pipeline, past, 1)
    half = len(past) // 2
    began = process_time()
    pipeline.score(state, past.instants_us[half:], past.values[half:])
    return 1e6 * (process_time() - began) / (len(past) - half)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
