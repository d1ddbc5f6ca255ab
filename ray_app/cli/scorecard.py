"""`millwright scorecard`: how good the verdicts are, on data whose truth is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from domain.errors import BadInputError
from domain.scorecard.runs import Format
from ray_app.cli.output import Json, json_line, line, progress, rows

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from ray_app.datasets import Dataset

FIGURES: Final = (
    "f1",
    "far",
    "mar",
    "roc_auc",
    "vus_pr",
    "events",
    "events_detected",
    "median_delay_s",
    "median_visible_delay_s",
    "median_change_delay_s",
    "false_incidents_per_machine_day",
    "nab_standard",
    "nab_windows",
    "nab_windows_met",
    "nab_false",
    "hit_at_1",
    "hit_at_3",
    "sensor_faults",
    "sensor_faults_detected",
    "sensor_faults_blamed",
    "far_unlabelled",
)
_KEYS: Final = FIGURES[:17]
"""Always there in JSON, null where the data cannot tell."""
_RISK: Final = ("auc", "brier", "calibration_error", "rmse", "coverage", "rmse_last")
_NEVER_MORE: Final = 8


class Choice(StrEnum):
    """Where a run's hyperparameters come from; never from its labels."""

    DEFAULTS = "defaults"
    REPLAY = "replay"


_PROTOCOL: Final = {
    Format.SKAB: "the first 400 rows of each run are learnt from, the rest is scored; "
    "the defaults were chosen with SKAB's development runs in sight; "
    "nab_standard is of told changes, 60 s to the right; it is generous to who tells many "
    "(baseline `clock`), so read nab_false beside it",
    Format.NAB: "NAB's probation (15 %, at most 750 rows) is learnt from, the rest is scored; "
    "no number was chosen on NAB; nab_standard counts incidents opened, at the fixed threshold",
    Format.CSV: "the first 30 % of each run are learnt from, the rest is scored",
    Format.CMAPSS: "machines of a test file are forecast by what its train file teaches, others by "
    "5-fold cross-validation; the risk model was designed with FD001's train file in sight",
}

_EXAM: Final = (
    "a healthy hour of each fleet is learnt from, by one pipeline per class; labels begin with the "
    "fault, not with its effect; the right root is any sensor that the fault moves"
)


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(scorecard)


def scorecard(
    path: Annotated[
        Path | None, typer.Argument(help="A labelled file, or a folder of them.")
    ] = None,
    kind: Annotated[
        Format | None, typer.Option("--format", help="Told by the first line by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repetitions, for the spread.")] = 5,
    choose: Annotated[
        Choice,
        typer.Option(help="Hyperparameters: the defaults, or by replay on what is learnt from."),
    ] = Choice.DEFAULTS,
    exam: Annotated[
        bool, typer.Option("--exam", help="Simulated fleets that fail in every way, no PATH.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score labelled data as the stream would have, and say how good the verdicts were."""
    if exam:
        _exam(path, kind, choose, seeds, as_json)
        return
    if path is None:
        raise BadInputError("no PATH was given", "scorecard", "Name labelled data, or use --exam")
    from ray_app.datasets import read_dataset

    dataset = read_dataset(path, kind)
    for name in dataset.skipped:
        progress(f"left out: {name}")
    card = _card(dataset, seeds, choose is Choice.REPLAY)
    about = {
        "path": str(path),
        "format": dataset.kind.value,
        "seeds": seeds,
        "hyperparameters": choose.value,
        "protocol": _PROTOCOL[dataset.kind],
    }
    _show(card, about, as_json)


def _exam(
    path: Path | None, kind: Format | None, choice: Choice, seeds: int, as_json: bool
) -> None:
    """Let simulated fleets of every shipped class sit the exam."""
    from domain.scorecard.card import runs_card
    from domain.scorecard.exam import CLASSES, exam_scores, examine
    from domain.scorecard.repaired import repaired_scores

    if path is not None or kind is not None or choice is not Choice.DEFAULTS:
        what = "--exam makes its own data and takes the defaults"
        raise BadInputError(what, "scorecard", "Leave PATH, --format and --choose out")
    with _workers(len(CLASSES) * seeds) as pool:
        sat = {
            name: [pool.submit(examine, name, seed=seed) for seed in range(seeds)]
            for name in CLASSES
        }
        scored, repaired = [], []
        for name, waiting in sat.items():
            answers = []
            for seed, one in enumerate(waiting):
                answers.append(one.result())
                progress(f"{name}: fleet {seed + 1} of {seeds} has been judged")
            scored += exam_scores(answers)
            repaired += repaired_scores([[one.repaired for one in each] for each in answers])
    card = {**dict.fromkeys((*_KEYS, *_RISK)), **runs_card(scored)}
    card["per_file"] |= runs_card(repaired)["per_file"]
    about = {
        "path": "simulated fleets",
        "format": "exam",
        "seeds": seeds,
        "hyperparameters": choice.value,
        "protocol": _EXAM,
    }
    _show(card, about, as_json)


def _show(card: dict[str, Any], about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        json_line({**card, **about})
    else:
        _tell(card, about)


def _card(dataset: "Dataset", seeds: int, by_replay: bool) -> dict[str, Any]:
    from domain.scorecard.card import fleet_card, runs_card, score_run
    from domain.scorecard.lives import risk_figures

    blank = dict.fromkeys((*_KEYS, *_RISK))
    with _workers(len(dataset.runs) + seeds * len(dataset.fleets)) as pool:
        if dataset.fleets:
            asked = {
                fleet.name: [pool.submit(risk_figures, fleet, seed=seed) for seed in range(seeds)]
                for fleet in dataset.fleets
            }
            found = {name: [one.result() for one in each] for name, each in asked.items()}
            return {**blank, **fleet_card(found)}
        waiting = [
            pool.submit(score_run, run, seeds=seeds, by_replay=by_replay) for run in dataset.runs
        ]
        return {**blank, **runs_card([one.result() for one in waiting])}


@contextmanager
def _workers(tasks: int) -> Iterator["Executor"]:
    """Give processes to work on, one per core; one thread where there is but one task."""
    import os
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
    from multiprocessing import get_context

    count = min(tasks, len(os.sched_getaffinity(0)), _NEVER_MORE)
    if count == 1:
        with ThreadPoolExecutor(1) as single:
            yield single
        return
    # Spawned: a fork would inherit locks of threads that libraries started.
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _tell(card: dict[str, Any], about: dict[str, Any]) -> None:
    line(f"{about['path']} ({about['format']}, {about['seeds']} seeds): {about['protocol']}")
    names = [name for name in (*FIGURES, *_RISK) if card.get(name) is not None]
    methods = [("millwright", card), *card["baselines"].items()]
    table = [{"method": name, **found} for name, found in methods]
    files = [{"file": name, **found} for name, found in card["per_file"].items()]
    for name in names:
        spread = card["spread"].get(name, {})
        interval = spread.get("interval_over_runs")
        over_runs = f", {interval[0]:.3g} to {interval[1]:.3g} over runs" if interval else ""
        line(f"{name:32} {card[name]:8.4g}  ±{spread.get('sd_over_seeds', 0):.2g}{over_runs}")
    short = [name for name in names if name not in {"events_detected", "hit_at_3"}]
    rows(files, ["file", *short], as_json=False, empty="")
    if card["baselines"]:
        rows(table, ["method", *short], as_json=False, empty="")
