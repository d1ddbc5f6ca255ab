"""The operations of the API: each function returns a `Call`, which a client sends."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ray_app.client import answers
from ray_app.client.call import Call, get, new_key, part, post

type Values = Mapping[str, float | None]


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be scored; made by `stored`, `reading` and `window`."""

    machine_id: str | None = None
    machine_class: str | None = None
    readings: list[dict[str, Any]] | None = None
    context: str = "stored"


def stored(machine_id: str) -> Window:
    """Return a question about a machine's newest stored reading."""
    return Window(machine_id=machine_id)


def reading(machine_id: str, at: datetime, values: Values) -> Window:
    """Return a question about one reading of a registered machine.

    Args:
        machine_id: The machine; its stored readings complete the window.
        at: When, with a zone.
        values: Sensor to number; None or absent is missing.
    """
    return window([(at, values)], machine_id=machine_id)


def window(
    readings: Sequence[tuple[datetime, Values]],
    *,
    machine_id: str | None = None,
    machine_class: str | None = None,
    alone: bool = False,
) -> Window:
    """Return a question about several readings, oldest first.

    Args:
        readings: Instants with a zone, and values by sensor.
        machine_id: A registered machine.
        machine_class: The class of one that is not registered, instead.
        alone: Whether a registered machine's stored readings are left out.
    """
    told = [{"timestamp": at.isoformat(), "values": dict(values)} for at, values in readings]
    context = "none" if alone else "stored"
    return Window(
        machine_id=machine_id, machine_class=machine_class, readings=told, context=context
    )


def predict(asked: Window) -> Call[answers.Prediction]:
    """Score one window."""
    return Call(
        operation="predict",
        method="POST",
        path="/api/v1/predict",
        answer=answers.Prediction,
        body=asked,
    )


def predict_many(asked: Sequence[Window]) -> Call[answers.Predictions]:
    """Score many windows."""
    return Call(
        operation="predict",
        method="POST",
        path="/api/v1/predict",
        answer=answers.Predictions,
        body={"requests": list(asked)},
    )


def machines(*, limit: int = 100, cursor: str = "") -> Call[answers.MachinePage]:
    """List machines."""
    return get(
        "list_machines", "/machines", answers.MachinePage, {"limit": limit, "cursor": cursor}
    )


def machine(machine_id: str) -> Call[answers.MachineView]:
    """Show one machine."""
    return get("get_machine", f"/machines/{part(machine_id)}", answers.MachineView)


def readings(  # noqa: PLR0913 - the parameters of the address
    machine_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    points: int | None = None,
    limit: int = 100,
    cursor: str = "",
) -> Call[answers.ReadingPage]:
    """List a machine's stored readings, or a period in at most `points`."""
    query = {
        "from": since and since.isoformat(),
        "to": until and until.isoformat(),
        "points": points,
        "limit": limit,
        "cursor": cursor,
    }
    path = f"/machines/{part(machine_id)}/readings"
    return get("list_readings", path, answers.ReadingPage, query)


def movements(machine_id: str, *, limit: int = 100, cursor: str = "") -> Call[answers.MovementPage]:
    """List when a machine moved, newest first."""
    path = f"/machines/{part(machine_id)}/movements"
    return get("list_movements", path, answers.MovementPage, {"limit": limit, "cursor": cursor})


def judge(machine_id: str, at: datetime | None = None) -> Call[answers.Judge]:
    """Say which version scored a machine at an instant, or scores it now."""
    path = f"/machines/{part(machine_id)}/model"
    return get("judge_of_machine", path, answers.Judge, {"at": at and at.isoformat()})


def incidents(
    *,
    machine_id: str | None = None,
    live: bool | None = None,
    limit: int = 100,
    cursor: str = "",
) -> Call[answers.IncidentPage]:
    """List incidents, newest first."""
    told = None if live is None else str(live).lower()
    query = {"machine_id": machine_id, "live": told, "limit": limit, "cursor": cursor}
    return get("list_incidents", "/incidents", answers.IncidentPage, query)


def acknowledge(incident_id: int) -> Call[answers.IncidentRow]:
    """Say that somebody looks at an incident."""
    path = f"/incidents/{incident_id}/acknowledge"
    return post("acknowledge_incident", path, answers.IncidentRow, safe=False)


def close(incident_id: int, note: str = "") -> Call[answers.IncidentRow]:
    """End an incident."""
    path = f"/incidents/{incident_id}/close"
    return post("close_incident", path, answers.IncidentRow, {"note": note}, safe=False)


def feedback(incident_id: int, found: str, note: str = "") -> Call[answers.IncidentRow]:
    """Say what an incident was: `true`, `false` or `maintenance`."""
    path, body = f"/incidents/{incident_id}/feedback", {"feedback": found, "note": note}
    return post("give_feedback", path, answers.IncidentRow, body)


def repaired(
    machine_id: str, at: datetime | None = None, note: str = "", *, key: str = ""
) -> Call[answers.MaintenanceRow]:
    """Say that a machine was repaired, now or at `at`: its level is learnt anew since then."""
    path, body = (
        f"/machines/{part(machine_id)}/repaired",
        {"at": at and at.isoformat(), "note": note},
    )
    return post("machine_repaired", path, answers.MaintenanceRow, body, key=key or new_key())


def keep_level(maintenance_id: int, *, key: str = "") -> Call[answers.MaintenanceRow]:
    """Take back that a level is learnt anew."""
    path = f"/maintenance/{maintenance_id}/keep-level"
    return post("keep_level", path, answers.MaintenanceRow, key=key or new_key())


def models(
    *, champions: bool = False, limit: int = 200, cursor: str = ""
) -> Call[answers.ModelPage]:
    """List model versions."""
    query = {"champions": str(champions).lower(), "limit": limit, "cursor": cursor}
    return get("list_models", "/models", answers.ModelPage, query)


def history(
    machine_class: str, *, at: datetime | None = None, limit: int = 100, cursor: str = ""
) -> Call[answers.EventPage]:
    """List what happened to models of a class, or what made the champion of a time."""
    query = {"at": at and at.isoformat(), "limit": limit, "cursor": cursor}
    path = f"/models/{part(machine_class)}/history"
    return get("model_history", path, answers.EventPage, query)


def promote(
    machine_class: str, version: int, reason: str = "by hand", *, key: str = ""
) -> Call[answers.ChampionNow]:
    """Make a version the champion."""
    path, body = f"/models/{part(machine_class)}/promote", {"version": version, "reason": reason}
    return post("promote_model", path, answers.ChampionNow, body, key=key or new_key())


def rollback(
    machine_class: str, reason: str = "by hand", *, key: str = ""
) -> Call[answers.ChampionNow]:
    """Return to the champion before the present one."""
    path = f"/models/{part(machine_class)}/rollback"
    return post(
        "rollback_model", path, answers.ChampionNow, {"reason": reason}, key=key or new_key()
    )


def sweeps(*, limit: int = 50, cursor: str = "") -> Call[answers.SweepPage]:
    """List sweeps, newest first."""
    return get("list_sweeps", "/sweeps", answers.SweepPage, {"limit": limit, "cursor": cursor})


def sweep(sweep_id: str) -> Call[answers.SweepRow]:
    """Show one sweep."""
    return get("get_sweep", f"/sweeps/{part(sweep_id)}", answers.SweepRow)


def start_sweep(
    machine_class: str,
    *,
    trials: int | None = None,
    seed: int | None = None,
    lookback_hours: float | None = None,
    key: str = "",
) -> Call[answers.SweepTaken]:
    """Ask for a sweep; `sweep` follows it."""
    body = {
        "machine_class": machine_class,
        "trials": trials,
        "seed": seed,
        "lookback_hours": lookback_hours,
    }
    return post("start_sweep", "/sweeps", answers.SweepTaken, body, key=key or new_key())


def cancel_sweep(sweep_id: str) -> Call[answers.SweepRow]:
    """Take back a sweep that waits."""
    path = f"/sweeps/{part(sweep_id)}/cancel"
    return post("cancel_sweep", path, answers.SweepRow, safe=False)
