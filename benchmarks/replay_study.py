"""Does replay rank configurations as labels would? Spearman over random ones, beside silhouette.

    python benchmarks/replay_study.py [--configurations 200] [--data skab,fleet,nab]
        [--processes 2] [--out FILE]

Configurations are drawn at random from the sweep's space. Each is judged twice on the same data: by
replay, which sees the unlabelled first part only, and by F1 of its verdicts on the rest. On SKAB
(`MILLWRIGHT_DATA`) both are means or pools over all labelled runs; on simulated pumps and fans over
a fleet of each in which every machine fails once; NAB is one machine. The silhouette exists only
where a detector has several centres, so replay is also given for those alone.

Each configuration is a line of `--out` as soon as it is judged. Begun again with the same file, the
study goes on where it was; processes are nice, so that it may run beside other work.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import optuna
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from domain.class_files import load_class
from domain.clean_training import clean
from domain.laid_faults import DEFAULT_RULES, ReplayRules
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.replay import evaluate
from domain.scorecard.points import Confusion, Flags
from domain.scorecard.protocol import at_period
from domain.scorecard.runs import Format
from domain.scores import Scores
from domain.simulation.failures import Failure
from domain.simulation.fleet import Fleet
from ray_app.datasets import read_dataset
from tuning.space import spec_of, suggest

DATA: Final = Path(os.environ.get("MILLWRIGHT_DATA", "../shared/data"))
START_US: Final = 1_700_000_000_000_000
MINUTE_US: Final = 60_000_000
MACHINES: Final = tuple(f"m{at}" for at in range(6))
RESAMPLES: Final = 500
NICENESS: Final = 15
_NEWEST: Final = slice(-1, None)  # nobody asks why: the newest reading alone is explained


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

    @property
    def key(self) -> str:
        """What tells it from others: where, and which configuration."""
        return _key(self.data, PipelineSpec.from_dict(self.spec))


def drawn(count: int, seed: int) -> Iterator[PipelineSpec]:
    """Draw configurations at random from the sweep's space."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(count):
        trial = study.ask()
        suggest(trial)
        yield spec_of(trial.params)


def labelled(data: Format) -> Callable[[PipelineSpec], Judged]:
    """Return the judge on the labelled runs of SKAB or NAB."""
    found = read_dataset(DATA / data.value, data).runs
    runs = [one for one in found if one.anomalous is not None]
    learnt = [clean([one.train], one.machine_class, seed=0).histories for one in runs]
    # The mean over many runs needs no more faults of each; a run alone does.
    rules = ReplayRules(least_episodes=-(-DEFAULT_RULES.least_episodes // len(runs)))

    def judge(given: PipelineSpec) -> Judged:
        total, results = Confusion(), []
        for run, past in zip(runs, learnt, strict=True):
            spec = at_period(given, run.period_s)
            results.append(evaluate(spec, past, run.machine_class, seed=0, rules=rules)[1])
            pipeline = Pipeline.fit(spec, past, run.machine_class, seed=0)
            scores = _scored(pipeline, run.train, run.test)
            total += Confusion.of(run.truth, scores.ready & (scores.score > 1))
        silhouettes = [one.silhouette for one in results if np.isfinite(one.silhouette)]
        replay = float(np.mean([one.objective for one in results]))
        return _judged(data.value, given, replay, silhouettes, total)

    return judge


@dataclass(frozen=True, kw_only=True)
class Exam:
    """A fleet: half an hour to learn from, a quarter of health, a quarter with failures."""

    machine_class: MachineClass
    learnt: dict[str, History]
    lived: dict[str, History]
    failures: dict[str, Failure]


def exam(machine_class: str, seed: int) -> Exam:
    """Simulate a fleet of a shipped class."""
    fleet = Fleet.create(load_class(machine_class), MACHINES, start_us=START_US, seed=seed)
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
    """Return the judge on simulated fleets."""
    exams = [exam("pump", seed=21), exam("fan", seed=22)]

    def judge(spec: PipelineSpec) -> Judged:
        total, results = Confusion(), []
        for one in exams:
            histories = tuple(one.learnt.values())
            results.append(evaluate(spec, histories, one.machine_class, seed=0)[1])
            pipeline = Pipeline.fit(spec, histories, one.machine_class, seed=0)
            for name in MACHINES:
                lived = one.lived[name]
                scores = _scored(pipeline, one.learnt[name], lived)
                total += Confusion.of(_truth(lived, one.failures[name]), scores.score > 1)
        silhouettes = [one.silhouette for one in results if np.isfinite(one.silhouette)]
        replay = float(np.mean([one.objective for one in results]))
        return _judged("fleet", spec, replay, silhouettes, total)

    return judge


@cache
def judge_of(data: str) -> Callable[[PipelineSpec], Judged]:
    """Return the judge on a data set; each process keeps its own."""
    return fleets() if data == "fleet" else labelled(Format(data))


def judge_one(data: str, spec: PipelineSpec) -> Judged:
    """Judge a configuration in a process of its own."""
    with threadpool_limits(1):
        return judge_of(data)(spec)


def judge_all(
    data: str, specs: Sequence[PipelineSpec], out: Path, processes: int
) -> Iterator[Judged]:
    """Judge what the file does not hold yet; write a line as soon as one is known."""
    known = {one.key: one for one in read(out) if one.data == data}
    wanted = {_key(data, spec): spec for spec in specs}
    yield from (one for key, one in known.items() if key in wanted)
    left = [spec for key, spec in wanted.items() if key not in known]
    with (
        out.open("ab") as lines,
        ProcessPoolExecutor(processes, initializer=os.nice, initargs=(NICENESS,)) as pool,
    ):
        for done in as_completed(pool.submit(judge_one, data, spec) for spec in left):
            lines.write(msgspec.json.encode(done.result()) + b"\n")
            lines.flush()
            yield done.result()


def read(out: Path) -> list[Judged]:
    """Return what a file holds; a last line that was cut off by a kill is left out."""
    if not out.exists():
        return []
    whole = [line for line in out.read_bytes().split(b"\n")[:-1] if line]
    return [msgspec.json.decode(line, type=Judged) for line in whole]


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
    parser.add_argument("--data", default="skab,fleet,nab")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("replay_study.jsonl"))
    given = parser.parse_args()
    specs = list(drawn(given.configurations, seed=5))
    for data in given.data.split(","):
        report(data, list(judge_all(data, specs, given.out, given.processes)))


def _scored(pipeline: Pipeline, past: History, rest: History) -> Scores:
    """Score what follows a machine's past in one call; the stream's calls give the same scores."""
    state = pipeline.new_state(past.machine)
    pipeline.score(state, past.instants_us, past.values, explained=_NEWEST)
    return pipeline.score(state, rest.instants_us, rest.values, explained=_NEWEST)


def _key(data: str, spec: PipelineSpec) -> str:
    return f"{data} {spec.to_json()}"


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
