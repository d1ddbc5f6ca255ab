"""`millwright ingest`: readings from Kafka to Postgres without Ray, also from topics of yours."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from domain.errors import BadInputError
from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, progress
from ray_app.cli.signals import stopped_by_signals

if TYPE_CHECKING:
    from domain.mapping import Mapping
    from ingestion.foreign import Preview


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ingest)


def ingest(
    worker: Annotated[str, typer.Option(help="Name of this consumer.")] = "ingest-0",
    accept_gap: Annotated[
        bool,
        typer.Option("--accept-gap", help="Go on behind what Kafka dropped before it was stored."),
    ] = False,
    mapping: Annotated[
        Path | None,
        typer.Option(help="Mapping file: how messages of another shape become readings."),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic to read by the mapping; the file's by default.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, max=100_000, help="Messages that --dry-run looks at.")
    ] = 20,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Store readings from Kafka in this process until Ctrl-C, without Ray."""
    from domain.mapping import load
    from ingestion.foreign import settings_for

    if mapping is None:
        for flag, given in (("--topic", topic is not None), ("--dry-run", dry_run)):
            if given:
                raise BadInputError("it needs a --mapping", flag)
    rule = None if mapping is None else load(mapping)
    found = context.settings()
    kafka = context.required_kafka(found)
    if rule is not None:
        kafka = settings_for(kafka, rule, topic)
    if rule is not None and dry_run:
        from ingestion.foreign import preview

        _show(preview(kafka, rule, sample, now_us=time.time_ns() // 1000), rule, as_json=as_json)
        return
    _store(found, kafka, rule, worker, accept_gap=accept_gap, as_json=as_json)


def _store(
    found: Any,
    kafka: Any,
    mapping: "Mapping | None",
    worker: str,
    *,
    accept_gap: bool,
    as_json: bool,
) -> None:
    from ingestion.consume import Ingestion
    from ingestion.gaps import accept_gaps
    from storage.migrate import upgrade

    storage = context.required_storage(found)
    upgrade(storage)
    for gone in accept_gaps(kafka, storage) if accept_gap else ():
        progress(f"{kafka.topic}[{gone.partition}]: went on behind {gone.lost:,} lost messages")
    ingestion = Ingestion(kafka, storage, worker=worker, mapping=mapping)
    progress(f"storing {kafka.topic} as {worker}; Ctrl-C ends it in good order")
    with stopped_by_signals(ingestion.stop):
        totals = ingestion.run()
    if as_json:
        json_line(
            {
                "stored": totals.stored,
                "duplicates": totals.duplicates,
                "quarantined": totals.quarantined,
            }
        )
        return
    line(
        f"stored {totals.stored:,} readings, {totals.duplicates:,} duplicates, "
        f"{totals.quarantined:,} in quarantine"
    )


def _show(seen: "Preview", mapping: "Mapping", *, as_json: bool) -> None:
    readings = _readings(seen, mapping)
    refused = [
        {"place": seen.messages.place(one.index), "reason": one.reason, "detail": one.detail}
        for one in seen.found.rejections
    ]
    if as_json:
        counts = {"messages": len(seen.messages), "ignored": seen.ignored}
        json_line(counts | {"readings": readings, "refused": refused})
        return
    for one in readings:
        values = "  ".join(f"{name}={value:g}" for name, value in one["values"].items())
        line(f"{one['machine']}  {one['timestamp']}  {values}")
    for each in refused:
        line(f"refused {each['place']}  {each['reason']}: {each['detail']}")
    line(
        f"{len(seen.messages):,} messages would become {len(readings):,} readings; "
        f"{len(refused):,} would be refused, {seen.ignored:,} ignored; nothing was stored"
    )


def _readings(seen: "Preview", mapping: "Mapping") -> list[dict[str, Any]]:
    from domain.wire import format_instants

    found = seen.found
    times = [time_.decode() for time_ in format_instants(found.instants_us)]
    return [
        {
            "machine": machine,
            "timestamp": moment,
            "values": {
                name: value
                for name, value in zip(mapping.sensor_names, row, strict=True)
                if value == value  # noqa: PLR0124 - NaN is missing
            },
        }
        for machine, moment, row in zip(found.machines, times, found.values.tolist(), strict=True)
    ]
