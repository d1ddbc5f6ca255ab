"""`millwright webhook add|list|remove|test|retry`: who is told of incidents."""

import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from domain.errors import BadInputError, ServiceUnavailableError
from domain.webhooks import Format
from ray_app.cli import context
from ray_app.cli.model import actor
from ray_app.cli.output import DryRun, Json, json_line, line, rows

app = typer.Typer(help="Webhooks that are told of incidents.", no_args_is_help=True)

_COLUMNS = ("id", "url", "format", "signed", "waiting", "delivered", "dead", "last_error")

Number = Annotated[int, typer.Argument(metavar="ID", help="As `millwright webhook list` shows it.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="http:// or https://.")],
    shape: Annotated[
        Format, typer.Option("--format", help="json, or what Alertmanager's API takes.")
    ] = Format.JSON,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="Holds what signs messages; `-` reads stdin. One is made without."),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Register a webhook; a secret that is made here is printed once and never again."""
    from storage import webhooks
    from storage.connect import session

    made_here = secret_file is None and shape is Format.JSON
    secret = secrets.token_hex(32) if made_here else _secret(secret_file)
    with session(context.storage()) as on:
        made = webhooks.add(on, url, shape, secret, who=actor())
        if dry_run:
            on.rollback()
    if dry_run:
        line(f"would register {made.url} as {made.format}")
    elif as_json:
        json_line(asdict(made) | ({"secret": secret} if made_here else {}))
    else:
        line(f"webhook {made.id} is told of incidents; `webhook test {made.id}` tries it")
        if made_here:
            line(secret)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List webhooks and how their deliveries fare; never their secrets."""
    from storage import webhooks
    from storage.connect import session

    with session(context.storage()) as on:
        found = webhooks.every(on)
    empty = "No webhook yet: `millwright webhook add URL`."
    rows([asdict(one) for one in found], _COLUMNS, as_json=as_json, empty=empty)


@app.command()
def remove(number: Number, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Forget a webhook and what waits for it."""
    from storage import webhooks
    from storage.connect import session

    with session(context.storage()) as on:
        known = webhooks.show(on, number)
        if not dry_run:
            webhooks.remove(on, number)
    if as_json:
        json_line(asdict(known))
    else:
        line(f"{'would forget' if dry_run else 'forgot'} {known.url}, {known.waiting} waited")


@app.command("test")
def try_(number: Number, as_json: Json = False) -> None:
    """Send a test message now and say what came of it."""
    from ray_app.courier import send_now
    from storage import webhooks
    from storage.connect import session

    with session(context.storage()) as on:
        sample = webhooks.sample(on, number)
    error = send_now(sample)
    if as_json:
        json_line({"delivered": not error, "error": error})
    elif not error:
        line(f"webhook {number} took the message")
    if error:
        raise ServiceUnavailableError(f"webhook {number}", error, "Mend the receiver, or its URL")


@app.command()
def retry(number: Number, as_json: Json = False) -> None:
    """Let messages that were given up be tried again."""
    from storage import webhooks
    from storage.connect import session

    with session(context.storage()) as on:
        woken = webhooks.revive(on, number)
    if as_json:
        json_line({"waiting": woken})
    else:
        line(f"{woken} messages are tried again")


def _secret(file: Path | None) -> str:
    if file is None:
        return ""
    if str(file) == "-":
        return sys.stdin.readline().strip()
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"cannot be read: {error}", str(file)) from None
