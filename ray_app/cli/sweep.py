"""`millwright sweep run|status`: learn from stored history, here or as a job of the cluster."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, progress, rows
from ray_app.settings import Settings
from storage.settings import StorageSettings
from tuning.settings import TuningSettings

app = typer.Typer(help="Learn what healthy looks like from stored history.", no_args_is_help=True)

_COLUMNS = ("id", "machine_class", "state", "trials", "version", "started_at", "ended_at")


@app.command()
def run(
    machine_class: Annotated[
        str | None, typer.Option("--class", help="Machine class; all that have machines without.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Configurations to try; SWEEP_TRIALS.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="SWEEP_SEED.")] = None,
    lookback_hours: Annotated[
        float | None, typer.Option(help="Hours of history; TRAINING_LOOKBACK_HOURS.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Try configurations, register the best, and promote it if it passes the gate.

    Also as a job of a cluster: `ray job submit -- millwright sweep run`.
    """
    found = context.settings(
        sweep_trials=trials, sweep_seed=seed, training_lookback_hours=lookback_hours
    )
    storage, tuning = context.required_storage(found), found.tuning()
    names = [machine_class] if machine_class else _classes(storage)
    if dry_run:
        for name in names:
            _rehearse(storage, tuning, name)
        return
    with _cluster(found):
        from ray_app.metrics import process_metrics
        from tuning.sweep import run_sweep

        for name in names:
            outcome = run_sweep(
                storage,
                tuning,
                name,
                say=progress,
                actor="millwright sweep run",
                metrics=process_metrics(),
            )
            if as_json:
                json_line({**asdict(outcome), "spec": asdict(outcome.spec)})
            else:
                line(outcome.sentence())


@app.command()
def status(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 20,
    as_json: Json = False,
) -> None:
    """List sweeps, the newest first."""
    from storage import sweep_history
    from storage.connect import session

    with session(context.storage()) as on:
        records: list[dict[str, Any]] = [
            asdict(one) for one in sweep_history.listed(on, limit=limit)
        ]
    rows(
        records,
        (*_COLUMNS, "outcome"),
        as_json=as_json,
        empty="No sweep yet: `millwright sweep run`.",
    )


def _classes(storage: StorageSettings) -> list[str]:
    from domain.errors import BadInputError
    from storage.connect import session
    from tuning.data import classes_with_machines

    with session(storage) as on:
        names = classes_with_machines(on)
    if not names:
        raise BadInputError(
            "no machine is known yet",
            "sweep",
            "Run `millwright simulate`, or bring a history with `millwright replay FILE`",
        )
    return list(names)


def _rehearse(storage: StorageSettings, tuning: TuningSettings, name: str) -> None:
    from storage.connect import session
    from tuning.course import selection, unusual_sentence
    from tuning.data import read

    with session(storage) as on:
        dataset = read(on, name, selection(tuning))
    line(
        f"would try {tuning.trials} configurations on {len(dataset)} readings of "
        f"{len(dataset.histories)} machines of {name}; {dataset.excluded} near suspected failures "
        "are left out"
    )
    dataset = dataset.cleaned(seed=tuning.seed)
    if dataset.unusual:
        line(unusual_sentence(dataset))


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    """Join the cluster of this job or of the running platform, or start one for this sweep."""
    from ray_app import cluster
    from ray_app.embedded import state
    from ray_app.embedded.ports import free_port

    running, address = state.read(settings.home), os.environ.get("RAY_ADDRESS", "")
    with ExitStack() as stack:
        # In a job Ray has set the address; that of a dashboard is meant for other commands.
        if address and not address.startswith("http"):
            stack.enter_context(cluster.attached(address))
        elif running is not None and running.ray:
            stack.enter_context(cluster.joined(settings.home, running.ray))
        else:
            progress("no platform is running: starting a Ray cluster for this sweep")
            stack.enter_context(cluster.local(settings.home, dashboard_port=free_port()))
        yield
