"""What of a training period is left out before anything is learnt from it.

Failures that somebody knew of are left out by their record (`storage.suspicion`). Here are those
that nobody told of: stretches whose scores stand far out (`domain.odd_blocks`). One judge, the
default pipeline, decides for all configurations, so that they are compared on the same readings and
a sweep asks once. `docs/decisions/0029` has the figures. Of one or two machines nobody can say
which is the odd one; only how they came to run is left out (`domain.start_up`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from domain.features.front import FeatureModel
from domain.features.learning import fit_features
from domain.features.state import Counts
from domain.machines import MachineClass
from domain.odd_blocks import FEWEST_MACHINES, Blocks, odd_blocks
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.pipeline_training import (
    MIN_ROWS,
    detector_fit,
    training_rows,
    usable_histories,
    without_faults,
)
from domain.readings import Flags, History, Spans, within
from domain.sensor_health import SensorWatch
from domain.start_up import start_up
from domain.wire import format_instant

type Vouched = Mapping[str, Spans]
"""Machine → periods of it that a person called healthy."""

WINDOWS: Final = 3
"""Lengths of window in a block: shorter ones scatter as windows do, longer ones hide a failure."""

ROWS_PER_WINDOW: Final = 8
"""Rows of a window that are looked at; neighbours say almost the same."""

FEWEST_ROWS: Final = 60
"""Readings in the judge's window at least; machines that are read seldom get a longer one."""

ROUNDS: Final = 3
"""Features are learnt anew without what was left out, at most so often."""

MOST_MACHINES: Final = 0.5
"""What more machines than this share do now and then is a way to work, not a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """A stretch of one machine that is not learnt from, though nobody suspected a failure.

    Attributes:
        machine: Name of the machine.
        from_us: First instant, microseconds UTC.
        to_us: Last instant.
        rows: Readings.
    """

    machine: str
    from_us: int
    to_us: int
    rows: int

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.machine} {format_instant(self.from_us)} to {format_instant(self.to_us)}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cleaned:
    """What is learnt from and what is not.

    Attributes:
        histories: In the order given, those with too little in them not among them.
        unusual: Stretches that are left out, by machine and time.
    """

    histories: tuple[History, ...]
    unusual: tuple[Unusual, ...] = ()


def clean(
    histories: Sequence[History],
    machine_class: MachineClass,
    *,
    seed: int,
    vouched: Vouched | None = None,
) -> Cleaned:
    """Leave out what stands far out against the class, or how one of very few machines began.

    Args:
        histories: Of machines of a class; unlabelled.
        machine_class: The class of all of them.
        seed: Of the judge.
        vouched: What is learnt from however it looks.

    Raises:
        BadInputError: There is too little history, or its columns are not the class's.
    """
    usable = usable_histories(histories, machine_class)
    watch = SensorWatch.fit(usable, machine_class)
    told = [without_faults(watch, one) for one in usable]
    trusted = [within(one.instants_us, (vouched or {}).get(one.machine, ())) for one in usable]
    if len(usable) < FEWEST_MACHINES:
        begun = [start_up(one.values) & (len(one) >= 2 * MIN_ROWS) for one in told]
        return _without(usable, [rows & ~safe for rows, safe in zip(begun, trusted, strict=True)])
    odd = [np.zeros(len(one), dtype=np.bool_) for one in usable]
    with threadpool_limits(1):
        for _ in range(ROUNDS):
            before, found = odd, _odd_rows(told, odd, machine_class.period_s, seed)
            odd = [rows & ~safe for rows, safe in zip(found, trusted, strict=True)]
            if sum(rows.any() for rows in odd) > MOST_MACHINES * len(usable):
                return Cleaned(histories=usable)
            if all(map(np.array_equal, before, odd)):
                break
    return _without(usable, odd)


def learn(
    spec: PipelineSpec, histories: Sequence[History], machine_class: MachineClass, *, seed: int
) -> Pipeline:
    """Fit a pipeline to what `clean` leaves; its `about` says what that left out.

    Raises:
        BadInputError: There is too little history, or its columns are not the class's.
    """
    cleaned = clean(histories, machine_class, seed=seed)
    pipeline = Pipeline.fit(spec, cleaned.histories, machine_class, seed=seed)
    return replace(pipeline, about={**pipeline.about, "unusual": records(cleaned.unusual)})


def records(unusual: Sequence[Unusual]) -> list[dict[str, object]]:
    """Return what a package keeps of it, `Pipeline.about["unusual"]`."""
    return [asdict(one) for one in unusual]


def _judge(period_s: float) -> PipelineSpec:
    """Return the default pipeline, its times stretched for machines that are read seldom."""
    spec = PipelineSpec()
    return spec.stretched(max(1.0, FEWEST_ROWS * period_s / spec.window_s))


def _odd_rows(
    histories: Sequence[History], odd: Sequence[Flags], period_s: float, seed: int
) -> list[Flags]:
    """Judge all readings by features that were learnt without those that are odd so far."""
    spec = _judge(period_s)
    kept = [one.without(rows) for one, rows in zip(histories, odd, strict=True)]
    front = fit_features(spec, kept, period_s=period_s, seed=seed)
    cuts = [_cut(front, len(one)) for one in histories]
    blocks = _blocks(front, histories, cuts, folds=spec.blocks)
    told = odd_blocks(blocks, detector_fit(spec, seed))
    found, first = [], 0
    for one, cut in zip(histories, cuts, strict=True):
        rows = np.zeros(len(one), dtype=np.bool_)
        rows[cut[0] :] = np.repeat(told[first : first + len(cut) - 1], np.diff(cut))
        first += len(cut) - 1
        found.append(rows)
    return found


def _cut(front: FeatureModel, rows: int) -> Counts:
    """Return where the blocks of a history begin, and its end; its warm-up is in none."""
    warm = front.skipped_rows(rows)
    count = max(1, (rows - warm) // (WINDOWS * front.window_rows))
    return np.linspace(warm, rows, count + 1).round().astype(np.int64)


def _blocks(
    front: FeatureModel, histories: Sequence[History], cuts: Sequence[Counts], *, folds: int
) -> Blocks:
    """Return every so many rows of the blocks of all machines."""
    step = max(1, front.window_rows // ROWS_PER_WINDOW)
    features, block, fold, first = [], [], [], 0
    for place, (one, cut) in enumerate(zip(histories, cuts, strict=True)):
        rows, count = np.arange(cut[0], cut[-1], step), len(cut) - 1
        features.append(training_rows(front, one).features[::step])
        block.append(first + np.searchsorted(cut, rows, side="right") - 1)
        # Contiguous parts of a long history; short ones take turns.
        parts = np.arange(count) * folds // count if count >= folds else np.arange(count) + place
        fold.append(parts % folds)
        first += count
    return Blocks(
        features=np.concatenate(features),
        block=np.concatenate(block),
        machine=np.repeat(np.arange(len(cuts)), [len(cut) - 1 for cut in cuts]),
        fold=np.concatenate(fold),
    )


def _without(histories: Sequence[History], odd: Sequence[Flags]) -> Cleaned:
    return Cleaned(
        histories=tuple(one.without(rows) for one, rows in zip(histories, odd, strict=True)),
        unusual=tuple(
            part for one, rows in zip(histories, odd, strict=True) for part in _stretches(one, rows)
        ),
    )


def _stretches(history: History, odd: Flags) -> list[Unusual]:
    edges = np.flatnonzero(np.diff(odd, prepend=False, append=False)).reshape(-1, 2)
    return [
        Unusual(
            machine=history.machine,
            from_us=int(history.instants_us[first]),
            to_us=int(history.instants_us[end - 1]),
            rows=int(end - first),
        )
        for first, end in edges.tolist()
    ]
