"""`millwright replay`, `export`, `machines`: readings in and out, and who sends them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.errors import BadInputError
from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, rows

if TYPE_CHECKING:
    from ingestion.publish import Piece
    from ingestion.replay import Replayed

END_US = 253_402_300_799_000_000
"""The end of the year 9999."""


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(replay)
    app.command()(export)
    app.command()(machines)


def replay(
    file: Annotated[Path, typer.Argument(help="CSV, TSV or Parquet, a row per reading.")],
    machine: Annotated[
        str | None, typer.Option(help="Name of the machine, when no column tells it.")
    ] = None,
    machine_column: Annotated[
        str | None, typer.Option(help="Column with the machine's name.")
    ] = None,
    time_column: Annotated[
        str | None, typer.Option(help="Column with the time; guessed by its name otherwise.")
    ] = None,
    time_format: Annotated[
        str | None, typer.Option(help="As in strptime; ISO 8601 or epoch otherwise.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="COLUMN=SENSOR, again for each; all others by name.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Column that is no sensor, such as a label.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Guessed otherwise.")] = None,
    register: Annotated[
        str | None, typer.Option(help="Machine class to register the columns as.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="1 is real speed; as fast as it goes without.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Shift the times: the first reading is now.")
    ] = False,
    packed: Annotated[
        bool,
        typer.Option("--packed", help="Packed messages instead of JSON: a fifth of the bytes."),
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Send a file's readings to Kafka, as if the machines were speaking."""
    from ingestion.files import FileSpec, read
    from ingestion.publish import Pace
    from ingestion.replay import ReplayPlan
    from ingestion.replay import replay as send

    spec = FileSpec(
        path=file,
        machine=machine,
        machine_column=machine_column,
        time_column=time_column,
        time_format=time_format,
        columns=dict(_pair(text) for text in column or ()),
        exclude=frozenset(exclude or ()),
        delimiter=delimiter,
    )
    if dry_run:
        _preview(list(read(spec)))
        return
    found = context.settings()
    plan = ReplayPlan(
        spec=spec,
        pace=Pace(speed=speed),
        register_as=register,
        from_us=time.time_ns() // 1000 if now else None,
        packed=packed,
    )
    with _counted(str(file)) as count:
        done = send(
            context.required_kafka(found), context.required_storage(found), plan, progress=count
        )
    _tell(done, as_json=as_json)


def _tell(done: "Replayed", *, as_json: bool) -> None:
    if as_json:
        json_line(
            {
                "readings": done.readings,
                "failed": done.failed,
                "machine_class": done.machine_class,
                "seconds": round(done.seconds, 3),
            }
        )
    else:
        line(
            f"sent {done.readings:,} readings of class {done.machine_class} in "
            f"{done.seconds:.1f} s" + (f"; Kafka refused {done.failed:,}" if done.failed else "")
        )


def export(
    machine: Annotated[str, typer.Argument(help="Name of the machine.")],
    file: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    start: Annotated[
        str | None, typer.Option("--from", help="RFC 3339, such as 2026-01-02T00:00:00Z.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="RFC 3339, not included; all there is without.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a machine's readings to Parquet, which `replay` reads."""
    from ingestion.export import export as write

    period = (instant_of("--from", start, 0), instant_of("--to", end, END_US))
    storage = context.storage()
    with _counted(str(file)) as count:
        total = write(storage, machine, file, start_us=period[0], end_us=period[1], progress=count)
    if as_json:
        json_line({"machine": machine, "file": str(file), "readings": total})
    else:
        line(f"wrote {total:,} readings of {machine} to {file}")


def machines(as_json: Json = False) -> None:
    """List the machines with their health."""
    from storage import fleet
    from storage.connect import session

    with session(context.storage()) as on:
        found = fleet.machines(on, limit=100_000)
    records = [
        {
            "machine": one.name,
            "class": one.machine_class,
            "last_reading": one.last_reading,
            "score": one.score,
            "model_version": one.model_version,
            "incidents": ", ".join(
                f"{each['kind']} since {each['began']}: {each['root_sensor']}"
                for each in one.incidents
            ),
        }
        for one in found
    ]
    rows(
        records,
        ("machine", "class", "last_reading", "score", "model_version", "incidents"),
        as_json=as_json,
        empty="No machines yet. Next: `millwright simulate` or `millwright replay FILE`.",
    )


def instant_of(option: str, text: str | None, otherwise: int) -> int:
    """Return the microseconds of an option's time, or what stands for it when it is not given.

    Raises:
        BadInputError: It is no time.
    """
    from domain.wire import parse_instant

    try:
        return otherwise if text is None else parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"{text!r} {error}", option) from None


def _pair(text: str) -> tuple[str, str]:
    name, sign, sensor = text.partition("=")
    if not (name and sign and sensor):
        raise BadInputError(f"{text!r} is not COLUMN=SENSOR", "--column")
    return name, sensor


def _preview(pieces: "list[Piece]") -> None:
    names = sorted({name for piece in pieces for name in piece.machines})
    line(
        f"would send {sum(map(len, pieces)):,} readings of {', '.join(names[:8])} with "
        f"{len(pieces[0].sensors)} sensors: {', '.join(pieces[0].sensors)}"
    )


@contextmanager
def _counted(what: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} readings"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.advance(task, count)
