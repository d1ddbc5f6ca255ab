"""The steps of learning a pipeline, apart from what is learnt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Final

import numpy as np

from domain.detectors import DETECTORS, Detector
from domain.errors import BadInputError
from domain.features.front import FeatureModel, FeatureRows
from domain.features.state import Counts
from domain.lasting import Lasting, settling
from domain.machines import MachineClass
from domain.newest import held_out_scores
from domain.pipeline_spec import PipelineSpec
from domain.readings import Flags, History, Matrix, Vector
from domain.sensor_health import SensorWatch
from domain.thresholds import folds, in_blocks, return_level, threshold_of, trimmed

MIN_ROWS: Final = 50
"""Fewest readings to learn from, all machines together."""

GOLDEN_ROWS: Final = 64
"""Readings whose scores a package carries, so that who loads it can compare."""

MOST_CHANGED: Final = 0.5
"""Share of readings right after a change of regime beyond which those are how the machine runs."""


def usable_histories(
    histories: Sequence[History], machine_class: MachineClass
) -> tuple[History, ...]:
    """Return the histories one can learn from.

    Raises:
        BadInputError: The columns are not the class's, or there are too few readings.
    """
    sensors = len(machine_class.sensors)
    for one in histories:
        if one.values.shape != (len(one), sensors):
            raise BadInputError(
                f"{one.machine}'s history has shape {one.values.shape}, not (n, {sensors})",
                f"class {machine_class.name}",
            )
    usable = tuple(one for one in histories if len(one) >= 2)
    rows = sum(len(one) for one in usable)
    if rows < MIN_ROWS:
        raise BadInputError(
            f"{rows} readings of history; learning needs at least {MIN_ROWS}",
            f"class {machine_class.name}",
            "Let the machines run longer, or bring a history with `millwright replay FILE`",
        )
    return usable


def without_faults(watch: SensorWatch, history: History) -> History:
    """Return the history with what ill sensors said taken out."""
    faults = watch.check(watch.new_memory(), history.values)
    return replace(history, values=np.where(faults, np.nan, history.values))


def training_rows(front: FeatureModel, history: History) -> FeatureRows:
    """Return a machine's features but those of its warm-up."""
    memory = front.new_memory(history.machine)
    rows = front.transform(memory, history.instants_us, history.values)
    return rows.since(front.skipped_rows(len(history)))


def detector_fit(spec: PipelineSpec, seed: int) -> Callable[[Matrix], Detector]:
    """Return what fits the detector to pooled features (n, F), the least healthy left out."""
    kind = DETECTORS[spec.detector]
    return lambda features: trimmed(
        features, lambda rows: kind.fit(rows, spec, seed=seed), share=spec.trim
    )


def fit_detector(
    spec: PipelineSpec,
    machines: Sequence[Matrix],
    regimes: Sequence[Counts],
    seed: int,
    *,
    period_s: float,
) -> tuple[Detector, float, Lasting]:
    """Fit the detector and find where health ends.

    Args:
        spec: The hyperparameters.
        machines: Per machine its features, shape (n, F).
        regimes: Per machine the regime of each row, shape (n,).
        seed: Of the detector.
        period_s: Seconds between readings.

    Returns:
        Detector, the distance at which health ends, and what that is after a change of regime and
        for excursions that last.
    """
    fit, window_rows = detector_fit(spec, seed), spec.window_rows(period_s)
    held_out = folds(machines, fit, blocks=spec.blocks)
    changed = [settling(one, _settling_rows(window_rows)) for one in regimes]
    if np.concatenate(changed).mean() > MOST_CHANGED:
        changed = [np.zeros_like(one) for one in changed]
    changed = in_blocks(changed, blocks=spec.blocks)
    scores = [detector.score(rows) for detector, rows in held_out]
    threshold, lasting = _limits(spec, scores, changed, period_s=period_s)
    if third := held_out_scores(held_out, spec.features):
        # Its threshold is as far above what health reached as that of the whole window is.
        reached = _reached(spec, _between(third, changed))
        lasting = replace(lasting, third=reached / (lasting.limit * threshold))
    return fit(np.concatenate(machines)), threshold, lasting


def _limits(
    spec: PipelineSpec, scores: Sequence[Vector], changed: Sequence[Flags], *, period_s: float
) -> tuple[float, Lasting]:
    """Find where health ends, by out-of-fold scores and whether a regime had just changed."""
    window_rows = spec.window_rows(period_s)
    calm = _between(scores, changed)
    restless = np.concatenate(scores)[np.concatenate(changed)]
    reached = _reached(spec, calm)
    settled = 1.0
    if len(restless):
        settled = reached / threshold_of(restless, quantile=spec.quantile, margin=1.0)
    if spec.threshold == "evt":
        threshold = return_level(calm, return_rows=spec.return_s / period_s, apart_rows=window_rows)
    else:
        threshold = threshold_of(np.concatenate(calm), quantile=spec.quantile, margin=spec.margin)
    return threshold, Lasting(
        # What a window no longer shows, and calm would have to last as long to be believed.
        rows=max(window_rows, round(spec.recover_s / period_s)),
        limit=min(reached / threshold, 1.0),
        settling_rows=_settling_rows(window_rows),
        settling=min(settled, 1.0),
    )


def _between(scores: Sequence[Vector], changed: Sequence[Flags]) -> list[Vector]:
    """Return the scores of the hours between changes of regime."""
    return [one[~after] for one, after in zip(scores, changed, strict=True)]


def _reached(spec: PipelineSpec, calm: Sequence[Vector]) -> float:
    """Return how far health goes by its scores in the hours between, without a margin."""
    return threshold_of(np.concatenate(calm), quantile=spec.quantile, margin=1.0)


def _settling_rows(window_rows: int) -> int:
    """Return how long a change of regime may leave a sensor behind what is expected of it."""
    return max(3, window_rows // 4)


def golden_batch(histories: Sequence[History]) -> History:
    """Return the stretch of readings that a package is verified with."""
    longest = max(histories, key=len)
    start = max(0, len(longest) // 2 - GOLDEN_ROWS // 2)
    return longest.take(slice(start, start + GOLDEN_ROWS))


def facts(histories: Sequence[History], seed: int) -> Mapping[str, object]:
    """Return what people ask of a model: of what and with what it was learnt."""
    return {
        "machines": sorted(one.machine for one in histories),
        "rows": sum(len(one) for one in histories),
        "from_us": min(int(one.instants_us[0]) for one in histories),
        "to_us": max(int(one.instants_us[-1]) for one in histories),
        "since_us": {one.machine: int(one.instants_us[0]) for one in histories},
        "seed": seed,
        "libraries": {name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
    }
