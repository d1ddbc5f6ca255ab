"""What a backtest reads from Postgres: history, labels, incidents and, where asked for, a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.anew import acting
from domain.errors import BadInputError, NoChampionError, NotFoundError
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.readings import History, Matrix
from domain.scorecard.backtest import Period
from ray_app.beginnings import StoredReadings, beginning, look_back
from storage import care, failures, history, incidents, models, roster_store
from storage.connect import Connection
from storage.history import microseconds

MOST_READINGS: Final = 5_000_000
"""More than this does not fit into memory beside its scores: 2 GB at 20 sensors."""

CHAMPION: Final = "champion"


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
class Found:
    """What Postgres holds of it.

    Attributes:
        machine_class: What the columns are; as the model knows it, where one is named.
        histories: One per machine; with a model, readings before the period come first.
        labels: Machine → its failures.
        stored: Machine → its incidents, as they were told.
        pipeline: The named model; None to learn one.
        words: Machine → from when on its level is learnt anew; none where nobody said so.
        levels: Machine → its level before the first reading, where it was learnt anew before.
    """

    machine_class: MachineClass
    histories: list[History]
    labels: dict[str, list[Period]]
    stored: dict[str, list[Period]]
    pipeline: Pipeline | None
    words: dict[str, tuple[int, ...]]
    levels: dict[str, Matrix]


def read(on: Connection, asked: Question) -> Found:
    """Read what a question is about.

    Raises:
        NotFoundError: A machine, class or version is not there.
        NoChampionError: The champion is asked for and there is none.
        BadInputError: It is of several classes, or too much at once.
    """
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
    histories, words, levels = [], care.words(on, names), {}
    for name in names:
        (one,) = history.read_history(on, [name], asked.start_us, asked.end_us)
        if pipeline is not None:
            said = acting(pipeline, name, words.get(name, ()))
            begun = beginning(
                pipeline, StoredReadings(on), name, asked.start_us, look_back(pipeline), said
            )
            # Stored readings before the period fill windows and are not judged.
            one, words[name] = one.after(begun.past), begun.words
            if begun.level is not None:
                levels[name] = begun.level
        histories.append(one.widened(width))
    return Found(
        machine_class=pipeline.machine_class if pipeline else machine_class,
        histories=histories,
        labels=_labels(on, names, asked),
        stored={name: _incidents(on, name) for name in names},
        pipeline=pipeline,
        words=words,
        levels=levels,
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
