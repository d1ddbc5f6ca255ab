"""`millwright retention show|set|off|apply`: how long readings are kept, and where they go."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from domain.errors import BadInputError
from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, progress

app = typer.Typer(help="How long readings are kept.", no_args_is_help=True)


@app.command()
def show(as_json: Json = False) -> None:
    """Show how long readings are kept, and what is stored."""
    from storage import partitions, retention
    from storage.connect import session

    with session(context.storage()) as on:
        rule, days = retention.rule(on), partitions.existing(on)
        due = retention.due(on, _now_us())
    record: dict[str, Any] = {
        "days": rule.days if rule else None,
        "archive": rule.archive if rule else None,
        "oldest_day": days[0].isoformat() if days else None,
        "days_past_retention": [day.isoformat() for day in due],
    }
    if as_json:
        json_line(record)
        return
    line(_told(record["days"], record["archive"]))
    line(f"the oldest day is {record['oldest_day']}, {len(due)} days are past retention")


@app.command(name="set")
def set_(
    days: Annotated[int, typer.Argument(min=1, help="Whole days before today to keep.")],
    archive: Annotated[
        Path | None,
        typer.Option(help="Folder for Parquet; a day is dropped only once it is in it."),
    ] = None,
    no_archive: Annotated[
        bool, typer.Option("--no-archive", help="Drop for good from now on.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Keep readings of so many days; minutes, means and extremes are kept for good."""
    from storage import retention
    from storage.connect import session

    if archive is not None and no_archive:
        raise BadInputError("it contradicts --archive", "--no-archive")
    folder = None if archive is None else _writable(archive)
    with session(context.storage()) as on:
        before = retention.rule(on)
        if folder is None and not no_archive and before is not None:
            folder = before.archive
        if not dry_run:
            retention.set_days(on, days, folder)
        due = retention.due(on, _now_us()) if not dry_run else ()
    if as_json:
        json_line({"days": days, "archive": folder, "changed": not dry_run})
    elif dry_run:
        line(f"would be set: {_told(days, folder)}")
    else:
        line(f"{_told(days, folder)}; {len(due)} days go with the next round, within 10 minutes")


@app.command()
def off(as_json: Json = False) -> None:
    """Keep everything from now on."""
    from storage import retention
    from storage.connect import session

    with session(context.storage()) as on:
        retention.turn_off(on)
    if as_json:
        json_line({"days": None, "archive": None, "changed": True})
    else:
        line(_told(None, None))


@app.command()
def apply(dry_run: DryRun = False, as_json: Json = False) -> None:
    """Archive and drop now what is past retention; consumers do so by themselves."""
    from ingestion.archive import archive_next
    from storage import retention
    from storage.connect import connect, translated

    on = connect(context.storage(), application="millwright retention")
    try:
        with translated(), on:
            days = retention.due(on, _now_us())
        dropped: list[str] = []
        files: list[str] = []
        if not dry_run:
            while done := archive_next(on, _now_us()):
                progress(f"archived {done.readings:,} readings of {done.day}")
                dropped.append(done.day.isoformat())
                files += map(str, done.files)
            with translated(), on:
                dropped += [day.isoformat() for day in retention.apply(on, _now_us())]
    finally:
        on.close()
    if as_json:
        due = [day.isoformat() for day in days]
        json_line({"past_retention": due, "dropped": dropped, "files": files})
    elif dry_run:
        line(f"{len(days)} days would be dropped")
    else:
        line(f"dropped {len(dropped)} days" + (f", {len(files)} files" if files else ""))


def _told(days: int | None, archive: str | None) -> str:
    if days is None:
        return "every reading is kept"
    where = f", older ones go to {archive}" if archive else ", older ones are dropped for good"
    return f"readings of {days} days are kept{where}"


def _writable(folder: Path) -> str:
    found = folder.expanduser().absolute()
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{found}: {error.strerror or error}", "--archive") from error
    if not os.access(found, os.W_OK):
        raise BadInputError(f"{found} cannot be written", "--archive")
    return str(found)


def _now_us() -> int:
    return time.time_ns() // 1000
