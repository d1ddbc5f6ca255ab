"""`millwright maintenance add|list|end`: when people work on machines, nothing is opened."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from domain.errors import BadInputError
from ray_app.cli import context
from ray_app.cli.model import actor
from ray_app.cli.output import DryRun, Json, json_line, line, rows

app = typer.Typer(
    help="Windows of maintenance: nothing is opened and nothing is learnt.", no_args_is_help=True
)

_COLUMNS = ("id", "machine", "machine_class", "starts", "ends", "active", "note", "created_by")


@app.command()
def add(
    machine: Annotated[
        str | None, typer.Argument(metavar="[MACHINE]", help="This machine; or --class.")
    ] = None,
    machine_class: Annotated[
        str | None, typer.Option("--class", help="All machines of this class.")
    ] = None,
    starts: Annotated[
        str | None, typer.Option("--from", help="RFC 3339, in the time of readings; now without.")
    ] = None,
    ends: Annotated[
        str | None, typer.Option("--to", help="RFC 3339; until it is ended without.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Length, instead of --to.")] = None,
    note: Annotated[str, typer.Option(help="Why; kept with it.")] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Enter a window of one machine or of a class."""
    from storage import maintenance
    from storage.connect import session

    first, last = _moment(starts, "--from"), _moment(ends, "--to")
    if minutes is not None:
        if last is not None:
            raise BadInputError("give --to or --minutes, one of the two", "maintenance")
        first = first or datetime.now(UTC)
        last = first + timedelta(minutes=minutes)
    with session(context.storage()) as on:
        made = maintenance.add(
            on,
            machine=machine,
            machine_class=machine_class,
            starts=first,
            ends=last,
            note=note,
            who=actor(),
        )
        if dry_run:
            on.rollback()
    target = made.machine or f"all of {made.machine_class}"
    if dry_run:
        line(f"would enter maintenance of {target} from {made.starts} to {made.ends or 'its end'}")
    elif as_json:
        json_line(asdict(made))
    else:
        line(f"maintenance {made.id} of {target}; the scorer knows it within a second")


@app.command("list")
def list_(
    active: Annotated[bool, typer.Option("--active", help="Only what is on now.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 50,
    as_json: Json = False,
) -> None:
    """List windows, the newest first."""
    from storage import maintenance
    from storage.connect import session

    with session(context.storage()) as on:
        found = maintenance.listed(on, active=True if active else None, limit=limit)
    rows([asdict(one) for one in found], _COLUMNS, as_json=as_json, empty="No maintenance.")


@app.command()
def end(number: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """End a window now."""
    from storage import maintenance
    from storage.connect import session

    with session(context.storage()) as on:
        ended = maintenance.end(on, number)
    if as_json:
        json_line(asdict(ended))
    else:
        line(f"maintenance {ended.id} has ended")


def _moment(text: str | None, flag: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInputError(f"{text!r} is no time", flag, "Use 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise BadInputError(f"{text!r} has no zone", flag, "Append Z for UTC")
    return moment
