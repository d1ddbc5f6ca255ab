"""`millwright maintenance`: when people work on machines, nothing is opened; what they repaired."""

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

_COLUMNS = (
    "id",
    "machine",
    "machine_class",
    "starts",
    "ends",
    "active",
    "learn_anew",
    "note",
    "created_by",
)

LearnAnew = Annotated[
    bool,
    typer.Option(
        "--learn-anew",
        help="The machine was repaired and may stay at another level: learn it anew from the end.",
    ),
]
Note = Annotated[str, typer.Option(help="Why; kept with it.")]
OfClass = Annotated[str | None, typer.Option("--class", help="All machines of this class.")]
OfMachine = Annotated[
    str | None, typer.Argument(metavar="[MACHINE]", help="This machine; or --class.")
]


@app.command()
def add(
    machine: OfMachine = None,
    machine_class: OfClass = None,
    starts: Annotated[
        str | None, typer.Option("--from", help="RFC 3339, in the time of readings; now without.")
    ] = None,
    ends: Annotated[
        str | None, typer.Option("--to", help="RFC 3339; until it is ended without.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Length, instead of --to.")] = None,
    learn_anew: LearnAnew = False,
    note: Note = "",
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
            learn_anew=learn_anew,
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
def end(
    number: Annotated[int, typer.Argument(metavar="ID")],
    learn_anew: LearnAnew = False,
    as_json: Json = False,
) -> None:
    """End a window now."""
    from storage import maintenance
    from storage.connect import session

    with session(context.storage()) as on:
        ended = maintenance.end(on, number, learn_anew=learn_anew)
    if as_json:
        json_line(asdict(ended))
    else:
        anew = f"; the level is learnt anew since {ended.ends}" if ended.learn_anew else ""
        line(f"maintenance {ended.id} has ended{anew}")


@app.command()
def repaired(
    machine: OfMachine = None,
    machine_class: OfClass = None,
    at: Annotated[
        str | None, typer.Option(help="RFC 3339, in the time of readings; now without.")
    ] = None,
    note: Note = "",
    as_json: Json = False,
) -> None:
    """Say that a machine was repaired: its healthy level is learnt anew from then on."""
    from storage import maintenance
    from storage.connect import session

    since = _moment(at, "--at")
    with session(context.storage()) as on:
        made = maintenance.repaired(
            on, machine=machine, machine_class=machine_class, at=since, note=note, who=actor()
        )
    if as_json:
        json_line(asdict(made))
    else:
        target = made.machine or f"all of {made.machine_class}"
        line(
            f"the level of {target} is learnt anew since {made.ends}; take it back with "
            f"`millwright maintenance keep-level {made.id}`"
        )


@app.command("keep-level")
def keep_level(number: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Take back that a level is learnt anew: the machine was not repaired, or not this one."""
    from storage import maintenance
    from storage.connect import session

    with session(context.storage()) as on:
        kept = maintenance.keep_level(on, number)
    if as_json:
        json_line(asdict(kept))
    else:
        line(f"the level after maintenance {kept.id} is the one that was learnt before")


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
