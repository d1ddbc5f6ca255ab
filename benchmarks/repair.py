"""A repair to another level with the operator's word, and the next failure after it.

    python benchmarks/repair.py [--seeds 3] [--after 300] [--machines 20]

Simulated fleets learn for an hour; each machine fails fully, stays elsewhere by four deviations
when it is repaired, and fails again some seconds after that in the next mode of its class. Per
class and with the word or without: false alarms between the repair and the next onset in percent,
how many of the next failures opened an incident of their own before their repair, and its median
delay. The last line is JSON.
"""

import argparse
import json
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

import numpy as np

from domain.class_files import ClassFile, load_class
from domain.incidents import IncidentRules
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.scorecard.backtest import history_run
from domain.scorecard.exam import CLASSES, SUFFIX, with_new_levels
from domain.scorecard.protocol import score_rest
from domain.scorecard.runs import Run
from domain.simulation.fleet import Fleet

START_US: Final = 1_700_000_000_000_000
LEARNT_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """A machine's readings and when it was repaired, failed again and was repaired again."""

    run: Run
    repaired_us: int
    onset_us: int
    end_us: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--after", type=int, default=300, help="seconds from repair to onset")
    parser.add_argument("--machines", type=int, default=20, help="of a fleet, at least its modes")
    given = parser.parse_args()
    found: dict[str, dict[str, float | None]] = {}
    for name in CLASSES:
        told: dict[bool, list[tuple[float, float | None]]] = {False: [], True: []}
        for seed in range(given.seeds):
            lives = _fleet(load_class(name), given.machines, seed, given.after)
            kind = lives[0].run.machine_class
            pipeline = Pipeline.fit(
                PipelineSpec(), [one.run.train for one in lives], kind, seed=seed, changes=False
            )
            for word, results in told.items():
                results += [_judged(pipeline, one, word=word) for one in lives]
        for word, results in told.items():
            delays = [delay for _, delay in results if delay is not None]
            found[f"{name}, {'told' if word else 'not told'}"] = {
                "far": float(np.mean([far for far, _ in results])),
                "failures": len(results),
                "met": len(delays),
                "median_delay_s": median(delays) if delays else None,
            }
    for title, figures in found.items():
        print(f"{title:16} {figures}")
    print(json.dumps(found))


def _fleet(file: ClassFile, machines: int, seed: int, after_s: int) -> list[Lived]:
    plain = [name for name, one in file.spec.failures.items() if one.kind == "machine"]
    names = [f"m-{at}" for at in range(max(machines, len(plain)))]
    fleet = Fleet.create(with_new_levels(file), names, start_us=START_US, seed=seed)
    times = {}
    for at, name in enumerate(names):
        mode, following = plain[at % len(plain)], plain[(at + 1) % len(plain)]
        onset_us = START_US + (LEARNT_S + 600 + 7 * at) * 1_000_000
        first = fleet.inject(name, f"{mode}{SUFFIX}", onset_us=onset_us)
        second = fleet.inject(name, following, onset_us=first.end_us + after_s * 1_000_000)
        times[name] = (first.end_us, second.onset_us, second.end_us)
    lives = []
    for at, instants, values in fleet.advance(max(end for *_, end in times.values())):
        one = History(machine=names[at], instants_us=instants, values=values)
        learnt = int(np.searchsorted(instants, START_US + LEARNT_S * 1_000_000))
        run = history_run(one, fleet.machine_class, None, learnt_rows=learnt)
        repaired_us, onset_us, end_us = times[names[at]]
        lives.append(Lived(run=run, repaired_us=repaired_us, onset_us=onset_us, end_us=end_us))
    return lives


def _judged(pipeline: Pipeline, one: Lived, *, word: bool) -> tuple[float, float | None]:
    """Return false alarms between repair and onset in percent, and the delay of the next alarm."""
    run = replace(one.run, words=(one.repaired_us,) if word else ())
    told, at = score_rest(pipeline, run, rules=IncidentRules()), run.test.instants_us
    between = (at >= one.repaired_us) & (at < one.onset_us)
    opened = at[told.opened]
    met = opened[(opened >= one.onset_us) & (opened < one.end_us)]
    delay_s = float(met[0] - one.onset_us) / 1e6 if len(met) else None
    return 100 * float(told.told[between].mean()), delay_s


if __name__ == "__main__":
    main()
