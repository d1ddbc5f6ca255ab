"""A backtest: the stream's verdicts on a machine's own history, as they would have been given."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from domain.anew import since_last
from domain.clean_training import learn
from domain.errors import BadInputError
from domain.incidents import IncidentRules
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.scorecard.backtest import Period, history_run, timeline, told_of
from domain.scorecard.baselines import BASELINES, judge_baseline
from domain.scorecard.card import RunScores, runs_card
from domain.scorecard.protocol import Verdicts, score_rest
from domain.scorecard.runs import Run
from domain.scorecard.tally import Tally
from ray_app.backtest_history import Found, Question, read
from storage.connect import session
from storage.settings import StorageSettings

_FEWEST: Final = 60
"""Readings to learn from, and to judge, below which a machine is left out."""

_COUNTED: Final = (
    "readings",
    "alarms",
    "incidents",
    "stored_incidents",
    "stored_incidents_met",
    "new_incidents",
    "changes",
)

type Say = Callable[[str], None]


def backtest(storage: StorageSettings, asked: Question, *, say: Say) -> dict[str, Any]:
    """Judge the history and return the card: figures, where labels are, and what was told.

    Args:
        storage: Where Postgres is.
        asked: The question.
        say: Hears of progress.

    Returns:
        The keys of the scorecard, of which those that need labels are None without them, what
        `told_of` gives in all and, with a timeline, under `machines` for each.

    Raises:
        NotFoundError: A machine, class or version is not there.
        NoChampionError: The champion is asked for and there is none.
        BadInputError: There is too little or too much history, or it is all of the training.
    """
    with session(storage) as on:
        found = read(on, asked)
    labelled = any(found.labels.values())
    runs = _runs(found, asked, say, labelled=labelled)
    seeds = 1 if found.pipeline else asked.seeds
    told = []
    for seed in range(seeds):
        pipeline = found.pipeline or _learnt(runs, seed)
        told.append([score_rest(pipeline, run, rules=IncidentRules()) for run in runs])
        say(f"judged {sum(len(run.test) for run in runs):,} readings, {seed + 1} of {seeds}")
    names = () if found.pipeline else tuple(BASELINES)
    card = runs_card(
        [_scores(run, each, names) for run, each in zip(runs, zip(*told, strict=True), strict=True)]
    )
    about = {"machine_class": found.machine_class.name, "labelled": labelled, "seeds": seeds}
    return {**card, **_told(runs, told[0], found.stored), **about}


def _scores(run: Run, told: Sequence[Verdicts], names: Sequence[str]) -> RunScores:
    """Return a machine's tallies under all seeds, of ours and of the named baselines."""
    others = {
        name: tuple(
            Tally.of(run, judge_baseline(name, run, seed=seed)) for seed in range(len(told))
        )
        for name in names
    }
    return RunScores(ours=tuple(Tally.of(run, one) for one in told), baselines=others)


def _runs(found: Found, asked: Question, say: Say, *, labelled: bool) -> list[Run]:
    """Return the machines with enough history on both sides of what is learnt from."""
    runs = []
    for one in found.histories:
        learnt = _learnt_rows(one, found.pipeline, asked)
        if len(one) - learnt < _FEWEST or (found.pipeline is None and learnt < _FEWEST):
            say(f"left out, {len(one) - learnt} readings to judge after {learnt}: {one.machine}")
            continue
        labels = found.labels[one.machine] if labelled else None
        run = history_run(one, found.machine_class, labels, learnt_rows=learnt)
        words, level = found.words.get(one.machine, ()), found.levels.get(one.machine)
        runs.append(replace(run, words=words, level=level))
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
    histories = [_of_one_level(run) for run in runs]
    return learn(spec, histories, known, seed=seed)


def _of_one_level(run: Run) -> History:
    """Return what is learnt from since the last repair; all of it where that says too little."""
    last_us = int(run.train.instants_us[-1]) if len(run.train) else 0
    newest = since_last(run.train, [one for one in run.words if one <= last_us])
    return newest if len(newest) >= _FEWEST else run.train


def _told(
    runs: Sequence[Run], told: Sequence[Verdicts], stored: Mapping[str, Sequence[Period]]
) -> dict[str, Any]:
    each = dict(_machine_cards(runs, told, stored))
    total: dict[str, Any] = {name: sum(one[name] for one in each.values()) for name in _COUNTED}
    total["alarm_rate"] = 100 * total["alarms"] / total["readings"]
    return {**total, "machines": each}


def _machine_cards(
    runs: Sequence[Run], told: Sequence[Verdicts], stored: Mapping[str, Sequence[Period]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for run, one in zip(runs, told, strict=True):
        yield run.name, {**told_of(run, one, stored[run.name]), "timeline": timeline(run, one)}
