"""A backtest: the stream's verdicts on a machine's own history, as they would have been given."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from domain.errors import BadInputError, NoChampionError, NotFoundError
from domain.incidents import IncidentRules
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.scorecard.backtest import Period, history_run, timeline, told_of
from domain.scorecard.baselines import BASELINES, judge_baseline
from domain.scorecard.card import RunScores, runs_card
from domain.scorecard.protocol import Verdicts, score_rest
from domain.scorecard.runs import Run
from domain.scorecard.tally import Tally
from ray_app.judge import look_back
from ray_app.serve.verdict import widened
from storage import failures, history, incidents, models, roster_store
from storage.connect import Connection, session
from storage.history import microseconds
from storage.settings import StorageSettings

MOST_READINGS: Final = 5_000_000
"""More than this does not fit into memory beside its scores: 2 GB at 20 sensors."""

CHAMPION: Final = "champion"

_FEWEST: Final = 60
"""Readings to learn from, and to judge, below which a machine is left out."""

_COUNTED: Final = (
    "readings",
    "alarms",
    "incidents",
    "stored_incidents",
    "stored_incidents_met",
    "new_incidents",
)

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be backtested.

    Attributes:
        machines: Names, of one class; all of the class if empty.
        machine_class: Its name; told by the machines if None.
        start_us: First instant, microseconds UTC.
        end_us: First instant after the period.
        learn: Share of each machine's readings that is learnt from and not judged.
        model: `champion` or the number of a version, which is used instead of learning.
        seeds: How often is learnt anew.
    """

    machines: tuple[str, ...]
    machine_class: str | None
    start_us: int
    end_us: int
    learn: float
    model: str | None
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """What Postgres holds of it."""

    machine_class: MachineClass
    histories: list[History]
    labels: dict[str, list[Period]]
    stored: dict[str, list[Period]]
    pipeline: Pipeline | None


def backtest(storage: StorageSettings, asked: Question, *, say: Say) -> dict[str, Any]:
    """Judge the history and return the card: figures, where labels are, and what was told.

    Args:
        storage: Where Postgres is.
        asked: The question.
        say: Hears of progress.

    Raises:
        NotFoundError: A machine, class or version is not there.
        NoChampionError: The champion is asked for and there is none.
        BadInputError: There is too little or too much history, or it is all of the training.
    """
    with session(storage) as on:
        found = _read(on, asked)
    labelled = any(found.labels.values())
    runs = _runs(found, asked, labelled, say)
    seeds = 1 if found.pipeline else asked.seeds
    ours: list[list[Tally]] = [[] for _ in runs]
    first: list[Verdicts] = []
    for seed in range(seeds):
        pipeline = found.pipeline or _learnt(runs, seed)
        told = [score_rest(pipeline, run, rules=IncidentRules()) for run in runs]
        first = first or told
        for tallies, run, one in zip(ours, runs, told, strict=True):
            tallies.append(Tally.of(run, one))
        say(f"judged {sum(len(run.test) for run in runs):,} readings, {seed + 1} of {seeds}")
    names = () if found.pipeline else BASELINES
    card = runs_card(
        [
            RunScores(
                ours=tuple(tallies),
                baselines={
                    name: tuple(
                        Tally.of(run, judge_baseline(name, run, seed=seed)) for seed in range(seeds)
                    )
                    for name in names
                },
            )
            for run, tallies in zip(runs, ours, strict=True)
        ]
    )
    about = {"machine_class": found.machine_class.name, "labelled": labelled, "seeds": seeds}
    return {**card, **_told(runs, first, found.stored), **about}


def _read(on: Connection, asked: Question) -> _Found:
    names, machine_class = _machines(on, asked)
    rows = history.count_between(on, names, asked.start_us, asked.end_us)
    if rows > MOST_READINGS:
        raise BadInputError(
            f"{rows:,} readings at once, at most {MOST_READINGS:,} are judged",
            f"class {machine_class.name}",
            "Name machines, or a shorter period with --from and --to",
        )
    pipeline = None if asked.model is None else _model(on, machine_class.name, asked.model)
    width = len((pipeline.machine_class if pipeline else machine_class).sensors)
    histories = []
    for name in names:
        (one,) = history.read_history(on, [name], asked.start_us, asked.end_us)
        if pipeline is not None:
            one = _with_past(on, one, look_back(pipeline), asked.start_us)
        histories.append(replace(one, values=widened(one.values, width)))
    return _Found(
        machine_class=pipeline.machine_class if pipeline else machine_class,
        histories=histories,
        labels=_labels(on, names, asked),
        stored={name: _incidents(on, name) for name in names},
        pipeline=pipeline,
    )


def _machines(on: Connection, asked: Question) -> tuple[list[str], MachineClass]:
    roster = roster_store.load(on)
    for name in asked.machines:
        if name not in roster.machines:
            raise NotFoundError("machine", name, "`millwright machines` lists them")
    of = {roster.machines[name].machine_class for name in asked.machines}
    of |= {asked.machine_class} if asked.machine_class else set()
    of = of or {one.machine_class for one in roster.machines.values()}
    if len(of) != 1:
        what = f"machines of several classes: {', '.join(sorted(of))}" if of else "no machines yet"
        raise BadInputError(what, "backtest", "Name machines of one class, or give --class")
    (name,) = of
    if name not in roster.classes:
        raise NotFoundError("machine class", name, f"There are {', '.join(sorted(roster.classes))}")
    members = sorted(one.name for one in roster.machines.values() if one.machine_class == name)
    return list(asked.machines) or members, roster.classes[name]


def _model(on: Connection, machine_class: str, wanted: str) -> Pipeline:
    if wanted == CHAMPION:
        stored = models.champion(on, machine_class)
        if stored is None:
            raise NoChampionError(machine_class)
    elif wanted.isdecimal():
        stored = models.get(on, machine_class, int(wanted))
    else:
        raise BadInputError(f"{wanted!r} is no version", "--model", "A number, or `champion`")
    return Pipeline.from_package(stored.package, f"{machine_class} version {stored.version}")


def _with_past(on: Connection, one: History, rows: int, start_us: int) -> History:
    """Put stored readings before the period in front: they fill windows and are not judged."""
    (past,) = history.read_history(on, [one.machine], 0, start_us, last=rows)
    if not len(past):
        return one
    return History(
        machine=one.machine,
        instants_us=np.concatenate([past.instants_us, one.instants_us]),
        values=np.concatenate([past.values, one.values]),
    )


def _labels(on: Connection, names: Sequence[str], asked: Question) -> dict[str, list[Period]]:
    labels: dict[str, list[Period]] = {name: [] for name in names}
    listed = failures.listed(on, machines=names, start_us=asked.start_us, end_us=asked.end_us)
    for one in listed:
        labels[one.machine].append(
            Period(from_us=one.onset_us, to_us=one.end_us, kind=one.kind, sensors=one.sensors)
        )
    return labels


def _incidents(on: Connection, machine: str) -> list[Period]:
    return [
        Period(
            from_us=microseconds(one.began),
            to_us=microseconds(one.last_seen) if one.closed else None,
        )
        for one in incidents.incidents(on, machine=machine, limit=100_000)
        if one.kind == "machine"
    ]


def _runs(found: _Found, asked: Question, labelled: bool, say: Say) -> list[Run]:  # noqa: FBT001
    """Return the machines with enough history on both sides of what is learnt from."""
    runs = []
    for one in found.histories:
        learnt = _learnt_rows(one, found.pipeline, asked)
        if len(one) - learnt < _FEWEST or (found.pipeline is None and learnt < _FEWEST):
            say(f"left out, {len(one) - learnt} readings to judge after {learnt}: {one.machine}")
            continue
        labels = found.labels[one.machine] if labelled else None
        runs.append(history_run(one, found.machine_class, labels, learnt_rows=learnt))
    if not runs:
        raise BadInputError(
            f"no machine has {_FEWEST} readings to judge beside those that are learnt from",
            f"class {found.machine_class.name}",
            "Choose a longer period with --from and --to, or another --learn or --model",
        )
    return runs


def _learnt_rows(one: History, pipeline: Pipeline | None, asked: Question) -> int:
    if pipeline is None:
        return int(asked.learn * len(one))
    until = pipeline.about.get("to_us")
    seen = until if isinstance(until, int) and one.machine in pipeline.front.bases else -1
    return int(np.searchsorted(one.instants_us, max(seen + 1, asked.start_us)))


def _learnt(runs: Sequence[Run], seed: int) -> Pipeline:
    spec, known = PipelineSpec(), runs[0].machine_class
    return Pipeline.fit(spec, [run.train for run in runs], known, seed=seed)


def _told(
    runs: Sequence[Run], told: Sequence[Verdicts], stored: dict[str, list[Period]]
) -> dict[str, Any]:
    each = dict(_machine_cards(runs, told, stored))
    total: dict[str, Any] = {name: sum(one[name] for one in each.values()) for name in _COUNTED}
    total["alarm_rate"] = 100 * total["alarms"] / total["readings"]
    return {**total, "machines": each}


def _machine_cards(
    runs: Sequence[Run], told: Sequence[Verdicts], stored: dict[str, list[Period]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for run, one in zip(runs, told, strict=True):
        yield run.name, {**told_of(run, one, stored[run.name]), "timeline": timeline(run, one)}
