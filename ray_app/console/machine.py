"""One machine's page: its past, scored anew by the champion, and what it has been through."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.anew import acting, in_effect
from domain.care import Care, is_cold
from domain.errors import NotFoundError
from domain.machines import MachineClass
from domain.readings import History, widened
from domain.scores import Scores
from ray_app.beginnings import StoredReadings, beginning
from ray_app.console.timeline import Axis, Curve, Line, Shade, line
from ray_app.known import Champion, Known
from ray_app.serve.verdict import Own, contributions, scored
from ray_app.serve.views import MachineView, machine_view
from storage import feedback, fleet, incidents, movements
from storage.connect import Connection
from storage.history import first_instant, instant, microseconds, read_history
from storage.incidents import IncidentRow, Similar
from storage.movements import MovementRow
from storage.verdicts import Contribution

PERIODS_MIN = (15, 60, 240)
_TOP_SENSORS = 4
_FAR_FUTURE_US = 2**62
_MOVEMENTS = 10
_MARKED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePage:
    """What the page shows.

    Attributes:
        now: When it was true.
        machine: What is known of it.
        minutes: Length of the timeline.
        start: Left edge of the timeline; None when nothing is stored.
        end: Right edge: the newest reading.
        lines: Score first, then the sensors that matter most.
        shades: Incidents within the timeline.
        marks: Where the machine began to move or had settled, within the timeline.
        contributions: Of the newest reading, largest first.
        units: Sensor name to unit.
        champion: What scored it; None when there is none.
        incidents: Newest first.
        limits: Sensor → factor that feedback put on its part in the score.
        similar: Past incidents that look like the newest live one.
        anew: Since when the level is learnt anew because the machine was repaired; None where it
            is what the model learnt.
        unknown_modes: Reason why no failure mode is known → of how many incidents.
        movements: Newest first.
        moved: Incident → movements within it and shortly before.
    """

    now: datetime
    machine: MachineView
    minutes: int
    start: datetime | None
    end: datetime | None
    lines: tuple[Line, ...]
    shades: tuple[Shade, ...]
    marks: tuple[float, ...]
    contributions: tuple[Contribution, ...]
    units: dict[str, str]
    champion: Champion | None
    incidents: tuple[IncidentRow, ...]
    limits: Mapping[str, float]
    similar: tuple[Similar, ...]
    anew: datetime | None
    unknown_modes: Mapping[str, int]
    movements: tuple[MovementRow, ...]
    moved: Mapping[int, tuple[MovementRow, ...]]


def read(on: Connection, known: Known, name: str, minutes: int) -> MachinePage:
    """Return the page's content.

    Args:
        on: A session.
        known: Roster and champions.
        name: Of the machine.
        minutes: Length of the timeline, ending at the newest reading.

    Raises:
        NotFoundError: There is no such machine.
    """
    found = fleet.machines(on, name=name, limit=1)
    if not found:
        raise NotFoundError("machine", name[:128], "The first page lists them")
    machine = machine_view(found[0])
    machine_class = known.roster.classes.get(machine.machine_class)
    champion = known.champions.get(machine.machine_class)
    past = incidents.incidents(on, machine=name, limit=20)
    live = [one for one in past if one.closed is None and one.kind == "machine"]
    care = known.care_of(name)
    history = _history(on, machine, minutes)
    scores = _scored(on, care, champion, history)
    axis = Axis(
        start_us=int(history.instants_us[-1]) - minutes * 60_000_000 if len(history) else 0,
        end_us=int(history.instants_us[-1]) if len(history) else 1,
    )
    parts = _parts(champion, scores, history)
    moved = movements.listed(on, name, since=instant(axis.start_us), limit=_MARKED)
    focus = _focus(
        machine_class, [one for one in past if one.closed is None or _shade(axis, one)], parts
    )
    return MachinePage(
        now=datetime.now(UTC),
        machine=machine,
        minutes=minutes,
        start=instant(axis.start_us) if len(history) else None,
        end=instant(axis.end_us) if len(history) else None,
        lines=tuple(_lines(axis, history, scores, focus)),
        shades=_shades(axis, past),
        marks=_marks(axis, moved),
        contributions=parts[:8],
        units={s.name: s.unit for s in machine_class.sensors} if machine_class else {},
        champion=champion,
        incidents=past,
        limits=feedback.limits(on, found[0].key),
        similar=incidents.similar(on, live[0].id) if live else (),
        anew=_anew(champion, name, care),
        unknown_modes=Counter(
            one.failure_mode.reason
            for one in past
            if one.kind == "machine" and one.failure_mode.mode == "unknown"
        ),
        movements=movements.listed(on, name, limit=_MOVEMENTS),
        moved=movements.of_incidents(on, [one.id for one in past]),
    )


def _history(on: Connection, machine: MachineView, minutes: int) -> History:
    end_us = _FAR_FUTURE_US
    if machine.last_reading is not None:
        end_us = microseconds(machine.last_reading) + 1
    start_us = max(0, end_us - minutes * 60_000_000)
    return read_history(on, [machine.id], start_us, end_us)[0]


def _scored(on: Connection, care: Care, champion: Champion | None, shown: History) -> Scores | None:
    """Score what is shown after what the model looks back on; the scores are of both."""
    if champion is None or not len(shown):
        return None
    pipeline, name = champion.pipeline, shown.machine
    begun = beginning(
        pipeline,
        StoredReadings(on),
        name,
        int(shown.instants_us[0]),
        pipeline.warmup_rows,
        acting(pipeline, name, care.anew_us),
    )
    first_us = first_instant(on, name) if is_cold(pipeline, name) else None
    window = shown.widened(len(pipeline.machine_class.sensors))
    return scored(champion, window, begun, Own(care=care, first_us=first_us))[0]


def _anew(champion: Champion | None, name: str, care: Care) -> datetime | None:
    """Return the newest word on a machine that its model does not know of."""
    words = () if champion is None else acting(champion.pipeline, name, care.anew_us)
    word = in_effect(words, microseconds(datetime.now(UTC)))
    return None if word is None else instant(word)


def _parts(
    champion: Champion | None, scores: Scores | None, history: History
) -> tuple[Contribution, ...]:
    if champion is None or scores is None:
        return ()
    observed = widened(history.values[-1:], len(champion.pipeline.machine_class.sensors))[0]
    return contributions(champion.pipeline, scores, -1, observed)


def _focus(
    machine_class: MachineClass | None,
    shaded: Sequence[IncidentRow],
    parts: Sequence[Contribution],
) -> list[tuple[int, str, str]]:
    """Return column, name and unit of the sensors that matter.

    First the roots of what is shaded, for a shade without its sensor explains nothing: of live
    incidents, then of those that are over. Then what else was evidence, then what makes up the
    score now.
    """
    if machine_class is None:
        return []
    ordered = sorted(shaded, key=lambda one: one.closed is not None)
    names = [one.root_sensor for one in ordered]
    names += [str(part["sensor"]) for one in ordered for part in one.evidence[:_TOP_SENSORS]]
    names += [part.sensor for part in parts] + list(machine_class.sensor_names)
    known = [name for name in dict.fromkeys(names) if name in machine_class.position]
    columns = [machine_class.position[name] for name in known[:_TOP_SENSORS]]
    return [(at, machine_class.sensors[at].name, machine_class.sensors[at].unit) for at in columns]


def _lines(
    axis: Axis,
    history: History,
    scores: Scores | None,
    focus: Iterable[tuple[int, str, str]],
) -> Iterable[Line]:
    if not len(history):
        return
    at, shown = history.instants_us, len(history)
    if scores is not None:
        yield line(axis, "score", Curve(instants_us=at, observed=scores.score[-shown:]), limit=1.0)
    for column, name, unit in focus:
        expected = None
        if scores is not None and column < scores.expected.shape[1]:
            expected = scores.expected[-shown:, column]
        observed = history.values[:, column]
        curve = Curve(instants_us=at, observed=observed, expected=expected)
        yield line(axis, name, curve, unit=unit)


def _shades(axis: Axis, past: Iterable[IncidentRow]) -> tuple[Shade, ...]:
    found = (_shade(axis, one) for one in past)
    return tuple(one for one in found if one is not None)


def _marks(axis: Axis, moved: Iterable[MovementRow]) -> tuple[float, ...]:
    turns = (at for one in moved for at in (one.began, one.settled) if at is not None)
    found = (axis.mark(microseconds(at)) for at in turns)
    return tuple(one for one in found if one is not None)


def _shade(axis: Axis, one: IncidentRow) -> Shade | None:
    end_us = axis.end_us if one.closed is None else microseconds(one.last_seen)
    return axis.shade(microseconds(one.began), end_us, one.kind)
