"""From verdicts and truth to figures: per run, and micro-averaged over runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from domain.scorecard.nab import Nab, change_points, window_points
from domain.scorecard.points import Confusion, Event, Flags, Numbers, events, roc_auc, vus_pr
from domain.scorecard.protocol import Verdicts
from domain.scorecard.runs import Run
from domain.scorecard.visible import visible_from

VUS_BUFFER_ROWS: Final = 60
"""Readings around an event in which the curves excuse a verdict, and its effect is looked for."""

NEAR: Final = 3
"""Sensors that somebody at the machine looks at before they give up: `hit_at_3`."""

_DAY_US: Final = 86_400e6

type Figures = dict[str, float | int | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tally:
    """What was counted on one run under one seed.

    Attributes:
        run: Its name.
        labelled: Whether its labels say anything: unlabelled runs count as healthy.
        confusion: Readings.
        delays_s: Seconds until each event was told; None if it never was.
        visible_delays_s: The same from where its effect can be seen, and told from there on.
        false_incidents: Incidents opened outside of events.
        days: Machine-days scored.
        nab: Windows met, by NAB's or, where changepoints are labelled, SKAB's rules.
        change_delays_s: Seconds until a change was told in each event; None if none was. Empty for
            methods that tell no changes.
        roots_hit: Events whose largest evidence is the labelled root sensor.
        roots_near: Events with the labelled root among the `NEAR` sensors with the most evidence.
        roots: Told events with a labelled root.
        sensors_ill: Sensor faults that happened; None where they are not labelled.
        sensors_told: Of those, told as such.
        sensors_blamed: Of those, taken for a failing machine.
        truth: Labels of the scored rows.
        score: Of the scored rows.
    """

    run: str
    labelled: bool
    confusion: Confusion
    delays_s: tuple[float | None, ...]
    visible_delays_s: tuple[float | None, ...]
    false_incidents: int
    days: float
    nab: Nab
    change_delays_s: tuple[float | None, ...] = ()
    roots_hit: int
    roots_near: int
    roots: int
    sensors_ill: int | None = None
    sensors_told: int = 0
    sensors_blamed: int = 0
    truth: Flags = field(repr=False)
    score: Numbers = field(repr=False)

    @classmethod
    def of(cls, run: Run, told: Verdicts) -> Self:
        """Compare verdicts on the scored part of a run with its labels."""
        truth, instants = run.truth, run.test.instants_us
        found = events(truth)
        ranks = [_root_rank(run, event, told) for event in found]
        known = [rank for rank in ranks if rank is not None]
        return cls(
            run=run.name,
            labelled=run.anomalous is not None,
            confusion=Confusion.of(truth, told.told),
            delays_s=tuple(_delay_s(event, told.told, instants) for event in found),
            visible_delays_s=tuple(
                _delay_s(_visible(run, event), told.told, instants) for event in found
            ),
            false_incidents=int((~truth[told.opened]).sum()),
            days=float(instants[-1] - instants[0]) / _DAY_US,
            nab=_nab(run, found, told),
            change_delays_s=()
            if told.changes is None
            else tuple(_delay_s(event, told.changes, instants) for event in found),
            roots_hit=sum(rank == 0 for rank in known),
            roots_near=sum(rank < NEAR for rank in known),
            roots=len(known),
            **_sensors(run, told),
            truth=truth,
            score=told.score,
        )


def figures(tallies: Sequence[Tally], *, curves: bool = True) -> Figures:
    """Return the figures of some runs together, micro-averaged.

    F1, missed alarms and curves are of the labelled runs, None where they hold no event; a run
    without labels only tells of false alarms, as `far_unlabelled`. The area under the ROC curve
    pools the readings of all runs (scores are comparable: 1 is every run's threshold); VUS-PR is
    the mean over runs.

    Args:
        tallies: Of one seed.
        curves: Whether the areas under curves are computed, which takes by far the longest.
    """
    labelled = [one for one in tallies if one.labelled]
    healthy = [one for one in tallies if not one.labelled]
    total = sum((one.confusion for one in labelled), Confusion())
    delays = [delay for one in labelled for delay in one.delays_s]
    seen = [delay for one in labelled for delay in one.visible_delays_s]
    moved = [delay for one in labelled for delay in one.change_delays_s]
    days = sum(one.days for one in tallies)
    nab = sum((one.nab for one in labelled), Nab())
    roots = sum(one.roots for one in labelled)
    out: Figures = {
        "f1": total.f1 if total.tp + total.fn else None,
        "far": total.far if labelled else None,
        "mar": total.mar if total.tp + total.fn else None,
        "roc_auc": _roc_auc(labelled) if curves else None,
        "vus_pr": _vus_pr(labelled) if curves else None,
        "events": len(delays),
        "events_detected": len(delays) - delays.count(None),
        "median_delay_s": _median(delays),
        "median_visible_delay_s": _median(seen),
        "median_change_delay_s": _median(moved),
        "false_incidents_per_machine_day": _rate(tallies, days),
        "nab_standard": nab.score,
        "nab_windows": nab.windows,
        "nab_windows_met": nab.met,
        "nab_false": nab.false,
        "hit_at_1": sum(one.roots_hit for one in labelled) / roots if roots else None,
        "hit_at_3": sum(one.roots_near for one in labelled) / roots if roots else None,
    }
    ill = [one for one in tallies if one.sensors_ill is not None]
    if ill:
        out["sensor_faults"] = sum(one.sensors_ill or 0 for one in ill)
        out["sensor_faults_detected"] = sum(one.sensors_told for one in ill)
        out["sensor_faults_blamed"] = sum(one.sensors_blamed for one in ill)
    if healthy:
        out["far_unlabelled"] = sum((one.confusion for one in healthy), Confusion()).far
    return out


def _median(delays: Sequence[float | None]) -> float | None:
    known = [delay for delay in delays if delay is not None]
    return float(np.median(known)) if known else None


def _rate(tallies: Sequence[Tally], days: float) -> float | None:
    return sum(one.false_incidents for one in tallies) / days if days else None


def _roc_auc(tallies: Sequence[Tally]) -> float | None:
    if not tallies:
        return None
    truth = np.concatenate([one.truth for one in tallies])
    return _finite(roc_auc(truth, np.concatenate([one.score for one in tallies])))


def _vus_pr(tallies: Sequence[Tally]) -> float | None:
    volumes = [
        vus_pr(one.truth, one.score, largest_buffer=VUS_BUFFER_ROWS)
        for one in tallies
        if one.truth.any()
    ]
    return float(np.mean(volumes)) if volumes else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _delay_s(event: Event, told: Flags, instants: npt.NDArray[np.int64]) -> float | None:
    hits = np.flatnonzero(told[event.first : event.last + 1])
    if not len(hits):
        return None
    return float(instants[event.first + hits[0]] - instants[event.first]) / 1e6


def _visible(run: Run, event: Event) -> Event:
    """Return the part of an event in which its effect can be seen."""
    first = visible_from(run.test.values, event, look_rows=VUS_BUFFER_ROWS)
    return Event(first=first, last=event.last)


def _nab(run: Run, found: Sequence[Event], told: Verdicts) -> Nab:
    if run.changepoints is not None:
        truth = run.changepoints[run.train_rows :]
        # Who tells no changes is counted at every turn of the verdict, as SKAB's own baselines are.
        turned = np.diff(told.told, prepend=False) if told.changes is None else told.changes
        return change_points(run.test.instants_us, truth, turned)
    return Nab() if run.anomalous is None else window_points(found, told.opened)


def _sensors(run: Run, told: Verdicts) -> dict[str, Any]:
    """Return how sensors' faults were met: by an incident of a sensor, or one of the machine."""
    if run.ill is None:
        return {}
    found = events(run.ill[run.train_rows :])
    named = np.empty(0, dtype=np.intp) if told.sensor_opened is None else told.sensor_opened
    return {
        "sensors_ill": len(found),
        "sensors_told": sum(_within(event, named) for event in found),
        "sensors_blamed": sum(_within(event, told.opened) for event in found),
    }


def _within(event: Event, rows: npt.NDArray[np.intp]) -> bool:
    return bool(((rows >= event.first) & (rows <= event.last)).any())


def _root_rank(run: Run, event: Event, told: Verdicts) -> int | None:
    """Return how many sensors have more evidence than the root; None where that is not known.

    Where several sensors may be named, the one with the most evidence counts.
    """
    roots = _may_be_root(run)
    if roots is None or told.contributions is None:
        return None
    rows = slice(event.first, event.last + 1)
    named = np.flatnonzero(roots[run.train_rows :][rows].any(axis=0))
    alarms = told.contributions[rows][told.told[rows]]
    if not len(named) or not len(alarms):
        return None
    order = np.argsort(-alarms.sum(axis=0), kind="stable")
    return int(np.flatnonzero(np.isin(order, named))[0])


def _may_be_root(run: Run) -> npt.NDArray[np.bool_] | None:
    """Return, shape (n, S), which sensors it is right to name as the root."""
    if run.touched is not None or run.roots is None:
        return run.touched
    shown: npt.NDArray[np.bool_] = run.roots[:, None] == np.arange(len(run.sensors))
    return shown
