"""`millwright`: one binary, noun verb.

Commands import what they need when they run, so that `--help` and a typo answer at once. Every
error ends here: one line on stderr (or one JSON object with `--json`), an exit code from the error
tree, no traceback unless MILLWRIGHT_LOG_LEVEL is DEBUG.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from domain.errors import PlatformError
from ray_app.cli import (
    backtest,
    data,
    incident,
    ingest,
    key,
    label,
    maintenance,
    model,
    platform,
    quarantine,
    retention,
    score,
    scorecard,
    simulate,
    sweep,
    webhook,
)

app = typer.Typer(
    name="millwright",
    help="Keeps machines from failing: sensor streams in, early warnings out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
platform.mount(app)
simulate.mount(app)
data.mount(app)
ingest.mount(app)
score.mount(app)
scorecard.mount(app)
backtest.mount(app)
label.mount(app)
app.add_typer(sweep.app, name="sweep")
app.add_typer(model.app, name="model")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(retention.app, name="retention")
app.add_typer(key.app, name="key")
app.add_typer(incident.app, name="incident")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(webhook.app, name="webhook")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command; return its exit code (0 done, 2 bad input, 3 a service is away, …)."""
    try:
        code = app(words, standalone_mode=False)
    except (typer.Exit, SystemExit) as end:
        code = getattr(end, "exit_code", getattr(end, "code", 0))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader of our output left (`millwright … | head`): nothing more to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.TyperException as error:
        return _tell(2, "Wrong usage", error.format_message(), words)
    except PlatformError as error:
        return _tell(error.exit_code, error.title, str(error), words)
    except Exception as error:  # noqa: BLE001 - the last net: no traceback reaches a user
        return _unexpected(error, words)
    return code if isinstance(code, int) else 0


def _tell(code: int, title: str, detail: str, words: list[str]) -> int:
    if "--json" in words:
        sys.stderr.write(json.dumps({"title": title, "detail": detail, "exit_code": code}) + "\n")
    else:
        sys.stderr.write(f"millwright: {' '.join(detail.split())}\n")
    return code


def _unexpected(error: Exception, words: list[str]) -> int:
    if os.environ.get("MILLWRIGHT_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)
    detail = f"unexpected {type(error).__name__}: {error}"
    hint = ". Set MILLWRIGHT_LOG_LEVEL=DEBUG to see where, and please report it"
    return _tell(1, "Internal error", detail + hint, words)


if __name__ == "__main__":
    main()
