"""From windows of numbers to predictions, by the same pipeline that scores the stream. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from domain.anew import acting, begins
from domain.care import NO_CARE, Care, adjusted, notes
from domain.pipeline import Pipeline
from domain.readings import History, Matrix
from domain.risk.outlook import Failure
from domain.scores import Scores
from domain.sensor_health import SensorFault
from domain.wire import format_instant
from ray_app.beginnings import Beginning
from ray_app.known import Champion
from ray_app.serve.schema import (
    DataQuality,
    ModelUsed,
    Prediction,
    SensorFaultSeen,
)
from storage.verdicts import Contribution

THRESHOLD = 1.0
"""Scores are scaled so that more than this is anomalous."""

_SIGNIFICANT = 6
"""Digits of a share: more would only be noise in a JSON body."""

_EVERY_ROW = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What is one machine's own beside its readings.

    Attributes:
        care: Limits that feedback moved, maintenance.
        first_us: Instant of its first reading where it is cold; None where the model knows it.
        note: What limits the score, in words.
    """

    care: Care = NO_CARE
    first_us: int | None = None
    note: str = ""


NOTHING_OWN = Own()


def predict(
    champion: Champion,
    window: History,
    *,
    context: Beginning | None = None,
    own: Own = NOTHING_OWN,
    failure: Failure | None = None,
) -> Prediction:
    """Score one window.

    Args:
        champion: What scores it.
        window: At least one reading, columns in the order of the champion's sensors; a machine
            without a name is not registered and starts from the class's own level.
        context: Stored readings of the machine before the window, put in front of it, and the
            level that it was given since.
        own: What is the machine's own.
        failure: Risk of failure; None while the class has no risk model.
    """
    pipeline, newest = champion.pipeline, window.values[-1]
    scores, before = scored(champion, window, context, own, explained=slice(-1, None))
    last, at_us = float(scores.score[-1]), int(window.instants_us[-1])
    own_notes = notes(pipeline, own.care, at_us, own.first_us, machine=window.machine or None)
    return Prediction(
        machine_id=window.machine or None,
        machine_class=champion.machine_class,
        timestamp=format_instant(at_us),
        score=last,
        threshold=THRESHOLD,
        is_anomaly=last > THRESHOLD,
        contributions=list(contributions(pipeline, scores, -1, newest)),
        failure=failure or Failure(),
        model=ModelUsed(name=champion.machine_class, version=champion.version),
        data_quality=_quality(pipeline, scores, newest, before, (own.note, *own_notes)),
        scores=scores.score[before:].tolist(),
    )


def scored(
    champion: Champion,
    window: History,
    context: Beginning | None,
    own: Own = NOTHING_OWN,
    *,
    explained: slice = _EVERY_ROW,
) -> tuple[Scores, int]:
    """Return the scores of context and window, and how many rows are the context's.

    Args:
        champion: What scores it.
        window: As for `predict`.
        context: As for `predict`.
        own: As for `predict`.
        explained: The last rows, whose contributions are wanted; all of them where limits were
            moved, for then a score is the sum of its parts.
    """
    whole, pipeline = _joined(window, context), champion.pipeline
    rows = _EVERY_ROW if own.care.factors else explained
    begun = context or Beginning(
        past=window, words=acting(pipeline, window.machine or None, own.care.anew_us)
    )
    state = pipeline.new_state(window.machine or None, level=begun.level)
    anew = begins(whole.instants_us, begun.words) if begun.words else None
    scores = pipeline.score(state, whole.instants_us, whole.values, explained=rows, anew=anew)
    scores = adjusted(pipeline, scores, whole.instants_us, own.care, first_us=own.first_us)
    return scores, len(whole) - len(window)


def _joined(window: History, context: Beginning | None) -> History:
    if context is None:
        return window
    return window.after(context.past.widened(window.values.shape[1]))


def contributions(
    pipeline: Pipeline, scores: Scores, row: int, observed: npt.NDArray[np.float64], top: int = 1000
) -> tuple[Contribution, ...]:
    """Return the sensors' parts in one row's score, largest first.

    Args:
        pipeline: What scored it.
        scores: Of several rows.
        row: Which of them.
        observed: Shape (S,), what was read then.
        top: At most this many.
    """
    parts = scores.contributions[row]
    total = float(parts.sum())
    shares = (parts / total if total > 0 else parts).round(_SIGNIFICANT)
    order = np.argsort(-parts, kind="stable")[:top]
    names = pipeline.machine_class.sensor_names
    columns = (shares[order], scores.expected[row][order], observed[order])
    # Lists at once: taking single numbers out of an array costs more than the score.
    told = zip(order.tolist(), *(column.tolist() for column in columns), strict=True)
    return tuple(
        Contribution(
            sensor=names[at], share=share, expected=_number(wanted), observed=_number(seen)
        )
        for at, share, wanted, seen in told
    )


def faults_of(names: Sequence[str], codes: npt.NDArray[np.uint8]) -> list[SensorFaultSeen]:
    """Return the sensors whose codes are a fault.

    Args:
        names: Of the sensors.
        codes: Shape (S,), `SensorFault`.
    """
    return [
        SensorFaultSeen(sensor=names[at], kind=SensorFault(codes[at]).name.lower())
        for at in np.flatnonzero(codes).tolist()
    ]


def _quality(
    pipeline: Pipeline, scores: Scores, newest: Matrix, before: int, told: Sequence[str]
) -> DataQuality:
    names = pipeline.machine_class.sensor_names
    ready = bool(scores.ready[-1])
    if not ready and not told[0]:
        lacking = f"{len(scores)} of {pipeline.warmup_rows} readings that this model looks back on"
        if len(scores) >= pipeline.warmup_rows:
            lacking = "it has a hole, or the level is still being learnt"
        filling = f"the window is not filled yet: {lacking}; the score is provisional"
        told = (filling, *told)
    return DataQuality(
        ready=ready,
        rows=len(scores) - before,
        context_rows=before,
        missing=[names[at] for at in np.flatnonzero(np.isnan(newest)).tolist()],
        faults=faults_of(names, scores.sensor_faults[-1]),
        note="; ".join(filter(None, told)),
    )


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
