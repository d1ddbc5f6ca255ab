"""`millwright up`, `demo`, `env`, `doctor`: the platform as a whole."""

import shlex
import threading
from pathlib import Path
from typing import Annotated

import typer

from ray_app.cli import context
from ray_app.cli.output import Json, json_line, line, progress

Home = Annotated[
    Path | None, typer.Option(help="Data directory; MILLWRIGHT_HOME, or ~/.millwright.")
]
Port = Annotated[int | None, typer.Option(help="Port of console and API; 8000 or a free one.")]
DashboardPort = Annotated[
    int | None, typer.Option(help="Port of Ray's dashboard; 8265 or a free one.")
]


def mount(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(demo)
    app.command()(env)
    app.command()(doctor)


def up(
    home: Home = None,
    port: Port = None,
    dashboard_port: DashboardPort = None,
    consumers: Annotated[
        int | None, typer.Option(min=0, help="Consumer actors that are always there.")
    ] = None,
    max_consumers: Annotated[
        int | None, typer.Option(min=0, help="Consumer actors while they are behind.")
    ] = None,
    mapping: Annotated[
        list[Path] | None,
        typer.Option(help="Mapping file of a topic of yours to read as well; may be repeated."),
    ] = None,
) -> None:
    """Start services, Ray, ingestion, scoring and the API; stop all of it on Ctrl-C."""
    from domain.mapping import load
    from ray_app.bring_up import running
    from ray_app.settings import Settings

    settings = Settings.load(
        {
            "millwright_home": home,
            "millwright_http_port": port,
            "millwright_dashboard_port": dashboard_port,
            "millwright_consumers": consumers,
            "millwright_max_consumers": max_consumers,
        }
    )
    # Before anything is started: a mistake in a file is told at once.
    mappings = [load(path) for path in mapping or ()]
    with running(settings, say=progress) as platform:
        platform.serve()
        # Not before: their start takes CPU that the API needs to come up.
        env = settings.env
        platform.start_consumers(env.millwright_consumers, env.millwright_max_consumers)
        for each in mappings:
            platform.start_mapped(each)
        platform.start_scorer()
        platform.start_retrainer()
        line(f"console and API   {platform.api}")
        line(f"Ray dashboard     {platform.dashboard}")
        line(f"MLflow            {platform.tracking_uri}")
        line("It runs until Ctrl-C. Next: `millwright simulate` or `millwright replay FILE`.")
        threading.Event().wait()


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop everything after the table.")] = False,
    home: Home = None,
    port: Port = None,
    dashboard_port: DashboardPort = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides fleet, failures and sweep.")] = 0,
    as_json: Json = False,
) -> None:
    """Watch a simulated fleet fail and Millwright notice it."""
    from ray_app.demo.plan import DemoPlan
    from ray_app.demo.run import perform
    from ray_app.settings import Settings

    settings = Settings.load(
        {
            "millwright_home": home,
            "millwright_http_port": port,
            "millwright_dashboard_port": dashboard_port,
            "simulation_seed": seed,
            "sweep_seed": seed,
        }
    )
    with perform(settings, DemoPlan.of(settings.env), say=progress) as (platform, report):
        for text in () if as_json else ("", *report.lines(), ""):
            line(text)
        for problem in report.problems():
            progress(f"millwright: {problem}")
        if not once:
            line(f"console and API   {platform.api}")
            line(f"Ray dashboard     {platform.dashboard}")
            line(f"MLflow            {platform.tracking_uri}")
            line("The fleet lives on until Ctrl-C.")
            threading.Event().wait()
    if as_json:
        json_line(report.json())
    if report.problems():
        raise typer.Exit(1)


def env(home: Home = None) -> None:
    """Print the environment for `ray`, `serve` and `mlflow`: eval "$(millwright env)"."""
    from domain.errors import ServiceUnavailableError
    from ray_app.embedded.state import read

    found = context.settings(millwright_home=home)
    running = read(found.home)
    if running is None:
        raise ServiceUnavailableError(
            "the platform", f"none is running in {found.home}", "Start it with `millwright up`"
        )
    variables = {
        "MILLWRIGHT_HOME": str(found.home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": running.ray_token,
        "RAY_ADDRESS": running.ray,
        "RAY_API_SERVER_ADDRESS": running.dashboard,
        "RAY_DASHBOARD_ADDRESS": running.dashboard,
        "KAFKA_BOOTSTRAP_SERVERS": running.kafka,
        "MLFLOW_TRACKING_URI": running.tracking_uri,
        "MILLWRIGHT_API": running.api,
    }
    for name, value in variables.items():
        line(f"export {name}={shlex.quote(value)}")


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Say what is installed, what answers, what listens where, and what to mend."""
    from ray_app.doctor import examine

    findings = examine(context.settings(millwright_home=home))
    if as_json:
        json_line([finding.json() for finding in findings])
    else:
        for finding in findings:
            line(str(finding))
    if any(finding.wrong for finding in findings):
        raise typer.Exit(1)
