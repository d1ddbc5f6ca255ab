"""`millwright model …`: which version serves, since when and why; promotion and rollback."""

import getpass
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from domain.errors import BadInputError
from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, progress, rows
from ray_app.settings import Settings
from tuning.settings import TuningSettings

app = typer.Typer(help="Model versions and the champion of each class.", no_args_is_help=True)

_COLUMNS = ("machine_class", "version", "champion", "objective", "false_alarm_rate", "trained_at")
_SHADOW = (
    *("machine_class", "champion", "challenger", "state", "machine_days", "champion_incidents"),
    *("challenger_incidents", "agreement", "score_drift", "score_distance"),
)
_MLFLOW_WAIT_S = 60.0
_EVENTS = ("at", "machine_class", "version", "event", "actor", "reason")

ClassName = Annotated[str, typer.Argument(metavar="CLASS", help="Machine class.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]


@app.command("list")
def list_(
    champions: Annotated[bool, typer.Option("--champions", help="Only champions.")] = False,
    as_json: Json = False,
) -> None:
    """List model versions, by class and newest first."""
    from storage import models
    from storage.connect import session

    with session(context.storage()) as on:
        found = models.listed(on, champions_only=champions)
    records: list[dict[str, Any]] = []
    for one in found:
        figures = {key: one.metrics.get(key) for key in ("objective", "false_alarm_rate")}
        records.append({**asdict(one), **figures})
    rows(records, _COLUMNS, as_json=as_json, empty="No model yet: `millwright sweep run`.")


@app.command()
def history(
    machine_class: Annotated[
        str | None, typer.Argument(metavar="[CLASS]", help="Only this class.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="RFC 3339: who was champion of CLASS at that time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what happened to models, newest first."""
    from storage import models
    from storage.connect import session

    with session(context.storage()) as on:
        if at is None:
            found = models.history(on, machine_class)
        else:
            event = models.champion_at(on, *_when(machine_class, at))
            found = [event] if event else []
    records = [asdict(one) for one in found]
    rows(records, _EVENTS, as_json=as_json, empty="Nothing happened to a model yet.")


@app.command()
def shadow(as_json: Json = False) -> None:
    """List what challengers made of the live stream beside their champions."""
    from storage import shadow as shadows
    from storage.connect import session

    with session(context.storage()) as on:
        found = shadows.listed(on)
    empty = "No challenger has scored beside a champion yet."
    rows([asdict(one) for one in found], _SHADOW, as_json=as_json, empty=empty)


@app.command()
def promote(
    machine_class: ClassName,
    version: Annotated[int, typer.Argument(help="As `millwright model list` shows it.")],
    reason: Reason = "by hand",
    force: Annotated[
        bool, typer.Option("--force", help="Even if its time in shadow speaks against it.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make a version the champion, whatever replay said, unless the live stream objects."""
    from storage import models
    from storage.connect import session
    from tuning import registry
    from tuning.promotion import Gate

    found = context.settings()
    storage = context.required_storage(found)
    if dry_run:
        with session(storage) as on:
            stored = models.get(on, machine_class, version)
        line(f"would promote {stored.machine_class} version {stored.version}")
        return
    trouble = registry.promote(
        storage,
        _tuning(found),
        machine_class,
        version,
        actor=actor(),
        reason=reason,
        gate=None if force else Gate(),
    )
    _tell(machine_class, version, trouble, "promoted", as_json=as_json)


@app.command()
def rollback(
    machine_class: ClassName,
    reason: Reason = "by hand",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Return to the champion before the present one."""
    from storage import models
    from storage.connect import session
    from tuning import registry

    found = context.settings()
    storage = context.required_storage(found)
    if dry_run:
        with session(storage) as on:
            past = models.champion_line(on, machine_class)
        line(f"champions of {machine_class}, the present one last: {past or 'none'}")
        return
    version, trouble = registry.rollback(
        storage, _tuning(found), machine_class, actor=actor(), reason=reason
    )
    _tell(machine_class, version, trouble, "champion again", as_json=as_json)


@app.command()
def reconcile(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring MLflow's aliases to the champions that Postgres knows."""
    from storage.connect import session
    from tuning import registry
    from tuning.tracking import Tracking

    found = context.settings()
    storage, tuning = context.required_storage(found), context.required_tuning(found)
    tracking = Tracking(tuning.tracking_uri, tuning.artifact_root)
    tracking.open(_MLFLOW_WAIT_S)
    with session(storage) as on:
        moved = (registry.behind if dry_run else registry.reconcile)(on, tracking)
    if as_json:
        json_line([asdict(one) for one in moved])
        return
    for one in moved:
        line(f"{'would move' if dry_run else 'moved'} {one}")
    if not moved:
        line("MLflow's aliases are where Postgres says")


def _tell(machine_class: str, version: int, trouble: str, did: str, *, as_json: bool) -> None:
    if trouble:
        progress(f"millwright: {trouble}")
    if as_json:
        json_line({"machine_class": machine_class, "version": version, "trouble": trouble})
    else:
        line(f"{machine_class} version {version} is {did}; it serves within a second")


def _tuning(found: Settings) -> TuningSettings | None:
    return found.tuning() if found.tracking_uri else None


def actor() -> str:
    """Return who runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone without a login name"


def _when(machine_class: str | None, at: str) -> tuple[str, datetime]:
    if machine_class is None:
        raise BadInputError("--at needs a class", "millwright model history", "Name one before it")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise BadInputError(f"{at!r} is no time", "--at", "Use 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise BadInputError(f"{at!r} has no zone", "--at", "Append Z for UTC")
    return machine_class, moment
