"""The exam: simulated fleets whose truth is known, every failure mode at every strength.

One fleet per class and seed runs healthy for a while, from which the pipeline learns; then its
machines fail, each as its group says. A second fleet is contaminated: some of its machines fail in
the time that is learnt from as well, and nobody says so. The simulator's truth only scores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from domain.class_files import ClassFile, load_class
from domain.clean_training import learn
from domain.incidents import IncidentRules
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import Instants, Matrix
from domain.scorecard.baselines import BASELINES, judge_baseline
from domain.scorecard.card import RunScores
from domain.scorecard.protocol import score_rest
from domain.scorecard.repaired import judge_repaired
from domain.scorecard.runs import Format, Run
from domain.scorecard.tally import Tally
from domain.simulation.failures import Failure
from domain.simulation.fleet import Fleet

GROUPS: Final[Mapping[str, float]] = {
    "full": 1.0,
    "half": 0.5,
    "near-invisible": 0.2,
    "new-level": 1.0,
    "contaminated": 1.0,
    "sensor": 1.0,
    "healthy": 0.0,
}
"""Group of machines → severity of their failures. A near-invisible one shifts its sensors by one or
two short-term standard deviations. `new-level`: after the repair the sensors stay elsewhere, by
`ELSEWHERE` deviations. `sensor`: a sensor is stuck or silent and the machine is well."""

CLASSES: Final = ("pump", "fan")

ELSEWHERE: Final = 4.0

_START_US: Final = 1_700_000_000_000_000
SUFFIX: Final = "_elsewhere"
_NEW_LEVEL: Final = "new-level"
_CONTAMINATED: Final = 3
"""Every so many machines of a contaminated fleet fail while they are learnt from."""

_SENSORS_EACH: Final = 3
"""Machines per kind of sensor fault: each draws the sensor that it hits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """How long an exam is.

    Attributes:
        groups: Which of `GROUPS` sit it.
        learn_s: Seconds of history to learn from.
        calm_s: Seconds of health before a failure begins, at least.
        jitter_s: Up to so many seconds more, of each machine its own.
        after_s: Seconds after the last repair.
        healthy: Machines that nothing happens to.
        baselines: Whether trivial methods sit it as well.
    """

    groups: tuple[str, ...] = tuple(GROUPS)
    learn_s: int = 3600
    calm_s: int = 600
    jitter_s: int = 600
    after_s: int = 600
    healthy: int = 2
    baselines: bool = True


DEFAULT_PAPER: Final = Paper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A machine that sits the exam: its group, and the mode it will fail in, if any."""

    name: str
    group: str
    mode: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What was told of one machine, held against the truth.

    Attributes:
        machine: Its name.
        ours: By the pipeline.
        baselines: By each trivial method.
        repaired: By the pipeline, of a machine that stays elsewhere, where somebody says at its
            repair that its level is to be learnt anew; None of all others.
    """

    machine: str
    ours: Tally
    baselines: Mapping[str, Tally]
    repaired: Tally | None = None


def examine(
    class_name: str,
    *,
    seed: int,
    paper: Paper = DEFAULT_PAPER,
    spec: PipelineSpec | None = None,
) -> list[Answer]:
    """Let the pipeline learn two fleets of a class and judge their machines.

    Args:
        class_name: A shipped class or a path, as for `load_class`.
        seed: Of fleets, failures and detector.
        paper: What is asked.
        spec: Hyperparameters; the defaults are those of production.

    Raises:
        NotFoundError: There is no such class.
    """
    answers = []
    for runs in _fleets(load_class(class_name), seed, paper):
        learnt = [run.train for run in runs]
        chosen = PipelineSpec() if spec is None else spec
        pipeline = learn(chosen, learnt, runs[0].machine_class, seed=seed)
        answers += [_answer(pipeline, run, seed, paper) for run in runs]
    return answers


def exam_scores(sat: Sequence[Sequence[Answer]]) -> list[RunScores]:
    """Return each machine under all seeds, as `runs_card` takes it.

    Args:
        sat: Per seed the answers of one class, in the same order.
    """
    return [
        RunScores(
            ours=tuple(one.ours for one in each),
            baselines={
                name: tuple(one.baselines[name] for one in each) for name in each[0].baselines
            },
        )
        for each in zip(*sat, strict=True)
    ]


def _answer(pipeline: Pipeline, run: Run, seed: int, paper: Paper) -> Answer:
    names = BASELINES if paper.baselines else ()
    return Answer(
        machine=run.machine or run.name,
        ours=Tally.of(run, score_rest(pipeline, run, rules=IncidentRules())),
        baselines={name: Tally.of(run, judge_baseline(name, run, seed=seed)) for name in names},
        repaired=judge_repaired(pipeline, run) if run.name.endswith(f"/{_NEW_LEVEL}") else None,
    )


def _fleets(file: ClassFile, seed: int, paper: Paper) -> Iterator[list[Run]]:
    """Give the runs of the plain fleet, and of the contaminated one."""
    file = with_new_levels(file)
    for contaminated in (False, True):
        sitting = [
            one for one in _candidates(file, paper) if (one.group == "contaminated") is contaminated
        ]
        if any(one.mode is not None for one in sitting):
            yield _sit(file, sitting, seed, paper)


def _candidates(file: ClassFile, paper: Paper) -> Iterator[Candidate]:
    """Name the machines: of each group one per failure mode that it may fail in."""
    plain = {name: one for name, one in file.spec.failures.items() if not name.endswith(SUFFIX)}
    for group in paper.groups:
        if group == "healthy":
            modes: list[str | None] = [None] * paper.healthy
        else:
            sensor = group == "sensor"
            modes = [name for name, one in plain.items() if (one.kind != "machine") is sensor]
            modes *= _SENSORS_EACH if sensor else 1
        for at, mode in enumerate(modes):
            yield Candidate(
                name=f"{group}-{at}",
                group=group,
                mode=f"{mode}{SUFFIX}" if group == _NEW_LEVEL else mode,
            )


def with_new_levels(file: ClassFile) -> ClassFile:
    """Give every failure of a machine a twin that leaves the machine elsewhere."""
    failures = dict(file.spec.failures)
    for name, mode in file.spec.failures.items():
        if mode.kind == "machine":
            moved = msgspec.structs.replace(mode, residual=ELSEWHERE)
            failures[f"{name}{SUFFIX}"] = moved
    return ClassFile(spec=msgspec.structs.replace(file.spec, failures=failures))


def _sit(file: ClassFile, sitting: Sequence[Candidate], seed: int, paper: Paper) -> list[Run]:
    """Let a fleet live and return its machines with the truth about them."""
    names = [one.name for one in sitting]
    fleet = Fleet.create(file, names, start_us=_START_US, seed=seed)
    rng = np.random.default_rng([seed, len(names)])
    onset_s = paper.learn_s + paper.calm_s + rng.integers(0, paper.jitter_s + 1, len(names))
    failures: list[Failure] = []
    for at, one in enumerate(sitting):
        if one.mode is None:
            continue
        if one.group == "contaminated" and at % _CONTAMINATED == 0:
            fleet.inject(one.name, one.mode, onset_us=_START_US + paper.learn_s * 400_000)
        failures.append(
            fleet.inject(
                one.name,
                one.mode,
                onset_us=_START_US + int(onset_s[at]) * 1_000_000,
                severity=GROUPS[one.group],
            )
        )
    end_us = max(failure.end_us for failure in failures) + paper.after_s * 1_000_000
    told = {failure.machine: failure for failure in failures}
    learnt_us = _START_US + paper.learn_s * 1_000_000
    return [
        _run(fleet, sitting[at], instants, values, told.get(names[at]), learnt_us)
        for at, instants, values in fleet.advance(end_us)
    ]


def _run(  # noqa: PLR0913, PLR0917 - what is known of one machine
    fleet: Fleet,
    candidate: Candidate,
    instants: Instants,
    values: Matrix,
    failure: Failure | None,
    learnt_us: int,
) -> Run:
    """Put the truth beside a machine's readings."""
    known, sensor = fleet.machine_class, candidate.group == "sensor"
    failing = np.zeros(len(instants), dtype=np.bool_)
    touched = np.zeros(values.shape, dtype=np.bool_)
    if failure is not None:
        failing = (instants >= failure.onset_us) & (instants < failure.end_us)
        touched[np.ix_(failing, [known.position[name] for name in failure.sensors])] = True
    return Run(
        name=f"{known.name}/{candidate.group}",
        kind=Format.CSV,
        machine=f"{known.name}-{candidate.name}",
        sensors=known.sensor_names,
        instants_us=instants,
        values=values,
        anomalous=failing & (not sensor),
        touched=touched & (not sensor),
        ill=failing & sensor,
        declared=known,
        learnt_rows=int(np.searchsorted(instants, learnt_us)),
    )
