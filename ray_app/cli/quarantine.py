"""`millwright quarantine list|show|redrive`: messages that are no readings, yet."""

import time
from typing import Annotated, Any

import typer

from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, rows

app = typer.Typer(help="Messages that could not become readings.", no_args_is_help=True)

_COLUMNS = ("id", "place", "reason", "detail", "quarantined_at", "redriven_at")


@app.command("list")
def list_(
    reason: Annotated[str | None, typer.Option(help="Only those that broke this rule.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 50,
    redriven: Annotated[bool, typer.Option("--all", help="Also what was re-driven.")] = False,
    as_json: Json = False,
) -> None:
    """List messages in quarantine, the newest first."""
    from storage import quarantine
    from storage.connect import session

    with session(context.storage()) as on:
        found = quarantine.listed(on, reason=reason, open_only=not redriven, limit=limit)
    records = [_record(one) for one in found]
    rows(records, _COLUMNS, as_json=as_json, empty="Quarantine is empty.")


@app.command()
def show(number: Annotated[int, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show one message with its raw bytes."""
    from storage import quarantine
    from storage.connect import session

    with session(context.storage()) as on:
        found = quarantine.show(on, number)
    record = _record(found) | {"key": repr(found.entry.key), "value": repr(found.entry.value)}
    if as_json:
        json_line(record)
        return
    for name, value in record.items():
        line(f"{name:>14}  {value}")


@app.command()
def redrive(
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", help="Only these; all without any.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only those that broke this rule.")] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Try messages again, after the sensor, the class or the rule was mended."""
    from storage import quarantine
    from storage.connect import session
    from storage.redrive import redrive as again

    storage = context.storage()
    if dry_run:
        with session(storage) as on:
            waiting = (
                [quarantine.show(on, number).id for number in numbers]
                if numbers
                else sum(
                    count for rule, count in quarantine.counts(on).items() if reason in (None, rule)
                )
            )
        count = waiting if isinstance(waiting, int) else len(waiting)
        line(f"would try {count} messages again")
        return
    done = again(storage, numbers or None, now_us=time.time_ns() // 1000, reason=reason)
    if as_json:
        json_line({"stored": done.stored, "duplicates": done.duplicates, "refused": done.refused})
    else:
        line(
            f"{done.stored} stored, {done.duplicates} were there already, "
            f"{done.refused} still refused"
        )


def _record(found: Any) -> dict[str, Any]:
    return {
        "id": found.id,
        "place": found.place,
        "reason": found.entry.reason,
        "detail": found.entry.detail,
        "quarantined_at": found.quarantined_at,
        "redriven_at": found.redriven_at,
    }
