"""Does replay rank configurations as labels would? Spearman over random ones, beside silhouette.

    python benchmarks/replay_study.py [--configurations 200] [--data skab,fleet] [--out FILE]

Configurations are drawn at random from the sweep's space. Each is judged twice on the same data: by
replay, which sees the unlabelled first part only, and by F1 of its verdicts on the rest. On SKAB
(`MILLWRIGHT_DATA`) both are means or pools over all labelled runs; on simulated pumps over a fleet
in which each machine fails once. The silhouette exists only where a detector has several centres,
so replay is also given for those alone.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import optuna
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from domain.class_files import load_class
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.replay import evaluate
from domain.scorecard.points import Confusion, Flags
from domain.scorecard.protocol import at_period, score_rest
from domain.scorecard.runs import Format
from domain.simulation.failures import Failure
from domain.simulation.fleet import Fleet
from ray_app.datasets import read_dataset
from tuning.space import spec_of, suggest

DATA: Final = Path(os.environ.get("MILLWRIGHT_DATA", "../shared/data")) / "skab"
START_US: Final = 1_700_000_000_000_000
MINUTE_US: Final = 60_000_000
MACHINES: Final = tuple(f"m{at}" for at in range(6))
RESAMPLES: Final = 500


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration under both judges; NaN is written as null.

    Attributes:
        data: Where.
        spec: The configuration.
        replay: Mean objective.
        silhouette: Mean; None where the detector has one centre.
        f1: Of the verdicts.
        far: False-alarm rate, percent.
    """

    data: str
    spec: dict[str, object]
    replay: float
    silhouette: float | None
    f1: float
    far: float


def drawn(count: int, seed: int) -> Iterator[PipelineSpec]:
    """Draw configurations at random from the sweep's space."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        trial = study.ask()
        suggest(trial)
        yield spec_of(trial.params)


def skab() -> Callable[[PipelineSpec], Judged]:
    """Return the judge on SKAB's labelled runs."""
    runs = [one for one in read_dataset(DATA, Format.SKAB).runs if one.anomalous is not None]

    def judge(given: PipelineSpec) -> Judged:
        total, results = Confusion(), []
        for run in runs:
            spec = at_period(given, run.period_s)
            results.append(evaluate(spec, [run.train], run.machine_class, seed=0)[1])
            pipeline = Pipeline.fit(spec, [run.train], run.machine_class, seed=0)
            total += Confusion.of(run.truth, score_rest(pipeline, run).told)
        silhouettes = [one.silhouette for one in results if np.isfinite(one.silhouette)]
        replay = float(np.mean([one.objective for one in results]))
        return _judged("skab", given, replay, silhouettes, total)

    return judge


@dataclass(frozen=True, kw_only=True)
class Exam:
    """A fleet: half an hour to learn from, a quarter of health, a quarter with failures."""

    machine_class: MachineClass
    learnt: dict[str, History]
    lived: dict[str, History]
    failures: dict[str, Failure]


def exam(seed: int) -> Exam:
    """Simulate a fleet of pumps."""
    fleet = Fleet.create(load_class("pump"), MACHINES, start_us=START_US, seed=seed)
    learnt = _advance(fleet, START_US + 30 * MINUTE_US)
    onset = START_US + 45 * MINUTE_US
    failures = {
        name: fleet.inject(name, fleet.modes[at % len(fleet.modes)], onset_us=onset)
        for at, name in enumerate(MACHINES)
    }
    return Exam(
        machine_class=fleet.machine_class,
        learnt=learnt,
        lived=_advance(fleet, onset + 15 * MINUTE_US),
        failures=failures,
    )


def fleets() -> Callable[[PipelineSpec], Judged]:
    """Return the judge on a simulated fleet."""
    one = exam(seed=21)
    histories = tuple(one.learnt.values())

    def judge(spec: PipelineSpec) -> Judged:
        result = evaluate(spec, histories, one.machine_class, seed=0)[1]
        pipeline = Pipeline.fit(spec, histories, one.machine_class, seed=0)
        total = Confusion()
        for name in MACHINES:
            state, past, lived = pipeline.new_state(name), one.learnt[name], one.lived[name]
            pipeline.score(state, past.instants_us, past.values)
            scores = pipeline.score(state, lived.instants_us, lived.values)
            total += Confusion.of(_truth(lived, one.failures[name]), scores.score > 1)
        silhouettes = [result.silhouette] if np.isfinite(result.silhouette) else []
        return _judged("fleet", spec, result.objective, silhouettes, total)

    return judge


def report(data: str, judged: list[Judged]) -> None:
    """Print the rank correlations with 90 % bootstrap intervals over configurations."""
    several = [one for one in judged if one.silhouette is not None]
    best = max(judged, key=lambda one: one.replay)
    print(f"{data}: {len(judged)} configurations, {len(several)} with a silhouette")
    print(f"  replay with F1                {_rank([(one.replay, one.f1) for one in judged])}")
    if several:
        print(f"  … where there is a silhouette {_rank([(o.replay, o.f1) for o in several])}")
        pairs = [(float(one.silhouette or 0.0), one.f1) for one in several]
        print(f"  silhouette with F1            {_rank(pairs)}")
    top = max(one.f1 for one in judged)
    middle = float(np.median([one.f1 for one in judged]))
    print(
        f"  replay's choice F1 {best.f1:.3f} at FAR {best.far:.1f} % (median {middle:.3f},", end=""
    )
    print(f" best in hindsight {top:.3f})")


def main() -> None:
    """Judge, write a line each, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=200)
    parser.add_argument("--data", default="skab,fleet")
    parser.add_argument("--out", type=Path, default=Path(os.devnull))
    given = parser.parse_args()
    with given.out.open("wb") as out, threadpool_limits(1):
        for data in given.data.split(","):
            judge = {"skab": skab, "fleet": fleets}[data]()
            judged = []
            for spec in drawn(given.configurations, seed=5):
                judged.append(judge(spec))
                out.write(msgspec.json.encode(judged[-1]) + b"\n")
                out.flush()
            report(data, judged)


def _judged(
    data: str, spec: PipelineSpec, replay: float, silhouettes: list[float], total: Confusion
) -> Judged:
    return Judged(
        data=data,
        spec=msgspec.to_builtins(msgspec.json.decode(spec.to_json())),
        replay=replay,
        silhouette=float(np.mean(silhouettes)) if silhouettes else None,
        f1=total.f1,
        far=total.far,
    )


def _advance(fleet: Fleet, until_us: int) -> dict[str, History]:
    return {
        fleet.names[at]: History(machine=fleet.names[at], instants_us=instants, values=values)
        for at, instants, values in fleet.advance(until_us)
    }


def _truth(lived: History, failure: Failure) -> Flags:
    truth: Flags = lived.instants_us >= failure.onset_us
    return truth & (lived.instants_us <= failure.end_us)


def _rank(pairs: list[tuple[float, float]]) -> str:
    table = np.array(pairs)
    rng = np.random.default_rng(0)
    draws = [table[rng.integers(0, len(table), len(table))] for _ in range(RESAMPLES)]
    spread = np.quantile([spearmanr(one[:, 0], one[:, 1])[0] for one in draws], (0.05, 0.95))
    found = float(spearmanr(table[:, 0], table[:, 1])[0])
    return f"Spearman {found:+.2f} ({spread[0]:+.2f} to {spread[1]:+.2f})"


if __name__ == "__main__":
    main()
