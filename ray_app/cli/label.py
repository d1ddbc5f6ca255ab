"""`millwright label …`: what truly failed; `millwright modes` and `risk`: what that has taught."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from domain.errors import BadInputError
from ray_app.cli import context
from ray_app.cli.output import DryRun, Json, json_line, line, rows

app = typer.Typer(help="Labels: failures that truly happened.", no_args_is_help=True)
risk_app = typer.Typer(help="Risk of failure, learnt from labels.", no_args_is_help=True)

_LABELS = ("id", "machine_id", "kind", "source", "onset", "failed", "ended", "note")
_MODES = ("machine_class", "name", "count", "lead_time_s", "typical_sensors", "named_by")

Instant = Annotated[str | None, typer.Option(help="RFC 3339, as 2026-01-31T12:00:00Z.")]


def mount(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(app, name="label")
    main.add_typer(risk_app, name="risk")
    main.command("modes")(modes)


@app.command()
def add(
    machine: Annotated[str, typer.Argument(help="Name of the machine.")],
    kind: Annotated[str, typer.Argument(help="Failure mode; `failure` where nobody knows which.")],
    onset: Annotated[str, typer.Option(help="First sign of it, RFC 3339.")],
    failed: Instant = None,
    ended: Instant = None,
    severity: Annotated[float, typer.Option(min=0, help="1 is full strength.")] = 1.0,
    note: Annotated[str, typer.Option(help="Free text.")] = "",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Record that a machine failed; the same machine, kind and onset is the same label."""
    from storage import failures
    from storage.connect import session

    label = failures.Label(
        machine=machine,
        kind=kind,
        source="operator",
        onset_us=_us(onset, "--onset"),
        failed_us=None if failed is None else _us(failed, "--failed"),
        end_us=None if ended is None else _us(ended, "--ended"),
        severity=severity,
        note=note,
    )
    if label.failed_us is not None and not label.onset_us <= label.failed_us <= (
        label.end_us or label.failed_us
    ):
        raise BadInputError("it is not between onset and end", "--failed", "Order the three times")
    if dry_run:
        line(f"would record {kind} of {machine} from {onset}")
        return
    with session(context.storage()) as on:
        made = failures.record(on, label)
    record = _record(made)
    if as_json:
        json_line(record)
    else:
        line(f"label {made.id}: {kind} of {machine}; risk is learnt anew within minutes")


@app.command("list")
def list_(
    machine: Annotated[str | None, typer.Option(help="Only this machine's.")] = None,
    as_json: Json = False,
) -> None:
    """List labels by onset."""
    from storage import failures
    from storage.connect import session

    with session(context.storage()) as on:
        found = failures.listed(on, machines=None if machine is None else [machine])
    rows([_record(one) for one in found], _LABELS, as_json=as_json, empty="No label yet.")


@risk_app.command()
def train(
    machine_class: Annotated[str, typer.Argument(metavar="CLASS", help="Machine class.")],
    as_json: Json = False,
) -> None:
    """Learn the risk of a class now from labels and stored history; it serves within a second."""
    from tuning import risk

    outcome = risk.train(context.storage(), machine_class)
    if as_json:
        json_line(asdict(outcome))
        return
    line(outcome.sentence())
    for horizon, why in outcome.lacking.items():
        line(f"  {horizon}: unknown, {why}")


def modes(
    machine_class: Annotated[
        str | None, typer.Argument(metavar="[CLASS]", help="Only this class.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List failure modes: names, typical sensors, lead time and count."""
    from storage import risk_models
    from storage.connect import session

    with session(context.storage()) as on:
        found = risk_models.current(on, machine_class)
    records: list[dict[str, Any]] = [
        {
            "machine_class": one.machine_class,
            **mode,
            "typical_sensors": ", ".join(
                f"{s['sensor']} {s['direction']}" for s in mode["sensors"]
            ),
        }
        for one in found
        for mode in one.modes
    ]
    empty = "No failure mode yet: record failures with `millwright label add`."
    rows(records, _MODES, as_json=as_json, empty=empty)


def _record(label: Any) -> dict[str, Any]:
    from storage.history import instant

    times = {"onset": label.onset_us, "failed": label.failed_us, "ended": label.end_us}
    return {
        "id": label.id,
        "machine_id": label.machine,
        "kind": label.kind,
        "source": label.source,
        **{name: None if at is None else instant(at) for name, at in times.items()},
        "severity": label.severity,
        "sensors": list(label.sensors),
        "note": label.note,
    }


def _us(text: str, option: str) -> int:
    from storage.history import microseconds

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInputError(f"{text!r} is no time", option, "Use 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise BadInputError(f"{text!r} has no zone", option, "Append Z for UTC")
    return microseconds(moment)
