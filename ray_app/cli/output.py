"""What commands print: a table for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]


def line(text: str) -> None:
    """Print one line for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    """Print one line of progress to stderr, so that stdout stays what was asked for."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def json_line(value: object) -> None:
    """Print one JSON value on a line of its own."""
    line(json.dumps(value, default=_plain))


def rows(
    records: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str
) -> None:
    """Print records as a table, or as a JSON list.

    Args:
        records: One mapping per row.
        columns: Keys to show, in order; JSON shows every key.
        as_json: For programs.
        empty: What a person reads when there is no record.
    """
    if as_json:
        json_line([dict(record) for record in records])
        return
    if not records:
        line(empty)
        return
    cells = [[name.replace("_", " ").upper() for name in columns]]
    cells += [[_cell(record.get(name)) for name in columns] for record in records]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        line("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return instant(value)
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def instant(value: datetime) -> str:
    """Return RFC 3339 in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)
