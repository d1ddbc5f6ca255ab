"""`millwright incident list|show|feedback`: what went wrong, what it resembles, what it was."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from ray_app.cli import context
from ray_app.cli.model import actor
from ray_app.cli.output import Json, json_line, line, rows

app = typer.Typer(help="Incidents, and what people found.", no_args_is_help=True)

_COLUMNS = ("id", "machine", "severity", "state", "root_sensor", "peak_score", "began", "feedback")
_MOVED = ("began", "settled", "sensor", "peak_score")
_SIMILAR = ("id", "machine", "likeness", "root_sensor", "began", "feedback", "note")

Number = Annotated[int, typer.Argument(metavar="ID")]


class Found(StrEnum):
    """What a person found."""

    TRUE = "true"
    FALSE = "false"
    MAINTENANCE = "maintenance"


@app.command("list")
def list_(
    live: Annotated[bool, typer.Option("--live", help="Only those that are not closed.")] = False,
    machine: Annotated[str | None, typer.Option(help="Only of this machine.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 50,
    as_json: Json = False,
) -> None:
    """List incidents, the newest first."""
    from storage import incidents
    from storage.connect import session

    with session(context.storage()) as on:
        found = incidents.incidents(on, machine=machine, live=True if live else None, limit=limit)
    rows([asdict(one) for one in found], _COLUMNS, as_json=as_json, empty="No incident.")


@app.command()
def show(number: Number, as_json: Json = False) -> None:
    """Show one incident, and past ones that look like it."""
    from storage import incidents, movements
    from storage.connect import session

    with session(context.storage()) as on:
        one, alike = incidents.incident(on, number), incidents.similar(on, number)
        moved = movements.of_incidents(on, [number]).get(number, ())
    if as_json:
        json_line(
            asdict(one)
            | {
                "similar": [asdict(each) for each in alike],
                "movements": [asdict(each) for each in moved],
            }
        )
        return
    did = "; ".join(f"{each.sensor} {each.words}" for each in one.faults)
    told = asdict(one) | {"failure_mode": one.failure_mode.sentence(), "faults": did}
    for name, value in told.items():
        line(f"{name:>16}  {value}")
    rows([asdict(each) for each in moved], _MOVED, as_json=False, empty="It did not move before.")
    rows([asdict(each) for each in alike], _SIMILAR, as_json=False, empty="Nothing like it before.")


@app.command()
def feedback(
    number: Number,
    found: Annotated[Found, typer.Argument(help="Was the alarm true, false, or maintenance?")],
    note: Annotated[str, typer.Option(help="In your words; kept with it.")] = "",
    as_json: Json = False,
) -> None:
    """Say what you found; the machine's limits follow at once."""
    from storage import feedback as feedbacks
    from storage.connect import session

    with session(context.storage()) as on:
        done = feedbacks.give(on, number, found.value, who=actor(), note=note)
    if as_json:
        json_line(asdict(done))
        return
    line(f"incident {number} was {found}")
    for name in sorted(done.before.keys() | done.after.keys()):
        line(f"  {name}: ×{done.before.get(name, 1.0):.2f} → ×{done.after.get(name, 1.0):.2f}")
