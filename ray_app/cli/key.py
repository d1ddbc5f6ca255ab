"""`millwright key create|list|revoke`: keys of the HTTP API."""

from typing import Annotated, Any

import typer

from ray_app.cli import context
from ray_app.cli.output import Json, json_line, line, rows

app = typer.Typer(help="Keys of the HTTP API.", no_args_is_help=True)

_COLUMNS = ("name", "role", "created_at", "revoked")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who holds it; unique.")],
    role: Annotated[str, typer.Option(help="reader, operator or owner.")] = "operator",
    as_json: Json = False,
) -> None:
    """Make a key and print it, once; the database keeps only its hash."""
    from storage import api_keys
    from storage.connect import session

    with session(context.storage()) as on:
        key = api_keys.create(on, name, role)
    if as_json:
        json_line({"name": name, "role": role, "key": key})
    else:
        line(key)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List keys, the oldest first; never the keys themselves."""
    from storage import api_keys
    from storage.connect import session

    with session(context.storage()) as on:
        found = api_keys.every(on)
    records: list[dict[str, Any]] = [
        {
            "name": one.holder.name,
            "role": one.holder.role,
            "created_at": one.created_at.isoformat(),
            "revoked": one.revoked,
        }
        for one in found
    ]
    rows(records, _COLUMNS, as_json=as_json, empty="No keys yet: `millwright key create NAME`.")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Who holds it.")], as_json: Json = False
) -> None:
    """Close a key for good."""
    from storage import api_keys
    from storage.connect import session

    with session(context.storage()) as on:
        api_keys.revoke(on, name)
    if as_json:
        json_line({"name": name, "revoked": True})
    else:
        line(f"{name} is revoked; replicas forget it within 30 seconds")
