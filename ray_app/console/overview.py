"""The fleet at a glance: what the first page shows, put together from what is stored."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.health import URGENCY, Health
from ray_app.serve.views import MachineView, machine_view
from storage import fleet, incidents, models, movements, quarantine, rates, sweep_history
from storage.connect import Connection
from storage.incidents import IncidentRow
from storage.models import ModelRow
from storage.movements import MovementRow
from storage.rates import StageRate
from storage.sweep_history import SweepRow

SHOWN = 200
"""A longer table helps nobody; the API pages through all of them."""

LATELY = timedelta(hours=24)
"""Incidents that ended so shortly before the newest reading are shown beside the open ones."""

_CARDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the pipeline as the page shows it.

    Attributes:
        title: What it does, in one word.
        rate: None when no worker has reported lately.
    """

    title: str
    rate: StageRate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The first page.

    Attributes:
        now: When it was true.
        machines: Most urgent first.
        truncated: Whether there are more machines than these.
        counts: How many machines have each health, most urgent first.
        incidents: Live ones, newest first.
        closed: Those that ended lately, newest first.
        closed_more: Whether there are more of them than these.
        moved: Incident → its machine's movements, of those that are shown.
        stages: In the order of the flow.
        champions: One per class that has one.
        sweep: The newest sweep.
        quarantined: Messages that wait in quarantine.
    """

    now: datetime
    machines: tuple[MachineView, ...]
    truncated: bool
    counts: dict[Health, int]
    incidents: tuple[IncidentRow, ...]
    closed: tuple[IncidentRow, ...]
    closed_more: bool
    moved: Mapping[int, tuple[MovementRow, ...]]
    stages: tuple[Stage, ...]
    champions: tuple[ModelRow, ...]
    sweep: SweepRow | None
    quarantined: int


def read(on: Connection) -> Overview:
    """Return the page's content."""
    found = fleet.machines(on, limit=SHOWN + 1)
    views = [machine_view(row) for row in found[:SHOWN]]
    sweeps = sweep_history.listed(on, limit=1)
    live = incidents.incidents(on, live=True, limit=_CARDS)
    closed = incidents.closed_lately(on, within=LATELY, limit=_CARDS + 1)
    shown = (*live, *closed[:_CARDS])
    return Overview(
        now=datetime.now(UTC),
        machines=tuple(sorted(views, key=_urgency)),
        truncated=len(found) > SHOWN,
        counts=_counts(views),
        incidents=live,
        closed=closed[:_CARDS],
        closed_more=len(closed) > _CARDS,
        moved=movements.of_incidents(on, [one.id for one in shown]),
        stages=_stages(rates.by_stage(on)),
        champions=models.listed(on, champions_only=True),
        sweep=sweeps[0] if sweeps else None,
        quarantined=sum(quarantine.counts(on).values()),
    )


def _urgency(machine: MachineView) -> tuple[int, float, str]:
    return URGENCY[machine.health], -(machine.score or 0.0), machine.id


def _counts(machines: list[MachineView]) -> dict[Health, int]:
    counted = Counter(machine.health for machine in machines)
    return {health: counted[health] for health in Health if counted[health]}


def _stages(rates: tuple[StageRate, ...]) -> tuple[Stage, ...]:
    by_name = {rate.stage: rate for rate in rates}
    titles = (("produce", "Produced"), ("consume", "Stored"), ("score", "Scored"))
    return tuple(Stage(title=title, rate=by_name.get(name)) for name, title in titles)
