"""From windows of numbers to predictions, by the same pipeline that scores the stream. Pure."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
import numpy.typing as npt

from domain.pipeline import Pipeline, Scores
from domain.readings import History, Matrix
from domain.risk.outlook import Failure
from domain.sensor_health import SensorFault
from domain.wire import format_instant
from ray_app.champions import Champion
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


def predict(
    champion: Champion,
    window: History,
    *,
    context: History | None = None,
    note: str = "",
    failure: Failure | None = None,
) -> Prediction:
    """Score one window.

    Args:
        champion: What scores it.
        window: At least one reading, columns in the order of the champion's sensors; a machine
            without a name is not registered and starts from the class's own level.
        context: Stored readings of the machine before the window, put in front of it.
        note: What limits the score, in words.
        failure: Risk of failure; None while the class has no risk model.
    """
    machine = window.machine or None
    instants, values = window.instants_us, window.values
    before = 0 if context is None else len(context)
    if context is not None and before:
        instants = np.concatenate([context.instants_us, instants])
        values = np.concatenate([widened(context.values, values.shape[1]), values])
    pipeline = champion.pipeline
    scores = pipeline.score(pipeline.new_state(machine), instants, values)
    last = float(scores.score[-1])
    return Prediction(
        machine_id=machine,
        machine_class=champion.machine_class,
        timestamp=format_instant(int(instants[-1])),
        score=last,
        threshold=THRESHOLD,
        is_anomaly=last > THRESHOLD,
        contributions=list(contributions(pipeline, scores, -1, values[-1])),
        failure=failure or Failure(),
        model=ModelUsed(name=champion.machine_class, version=champion.version),
        data_quality=_quality(pipeline, scores, values, before, note),
        scores=scores.score[before:].tolist(),
    )


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


def widened(values: Matrix, sensors: int) -> Matrix:
    """Return rows with exactly `sensors` columns: a class may have gained sensors since."""
    if values.shape[1] >= sensors:
        return values[:, :sensors]
    filler = np.full((len(values), sensors - values.shape[1]), np.nan)
    return np.concatenate([values, filler], axis=1)


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
    pipeline: Pipeline, scores: Scores, values: Matrix, before: int, note: str
) -> DataQuality:
    names = pipeline.machine_class.sensor_names
    ready = bool(scores.ready[-1])
    if not ready and not note:
        note = (
            f"the window is not filled yet: {len(values)} of {pipeline.warmup_rows} readings that "
            "this model looks back on; the score is provisional"
        )
    return DataQuality(
        ready=ready,
        rows=len(values) - before,
        context_rows=before,
        missing=[names[at] for at in np.flatnonzero(np.isnan(values[-1])).tolist()],
        faults=faults_of(names, scores.sensor_faults[-1]),
        note=note,
    )


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
