"""How a run is scored: as the stream would have, reading by reading, and without its labels.

1. The pipeline learns from the run's first rows; nobody looks at their labels, nor at any other.
2. The rest is scored in windows as they would arrive; a verdict uses no later reading.
3. The threshold is the pipeline's own, found on the rows it learnt from; nothing is chosen by what
   it scores here. Times in the specification count readings of `REFERENCE_PERIOD_S`, so that data
   of another rate is treated alike without being looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.anew import acting, begins
from domain.changes import turns
from domain.clean_training import clean
from domain.gain import REPLAYS, gain_of
from domain.incident_tracker import IncidentTracker
from domain.incidents import SENSOR_RULES, Incident, IncidentRules, sensor_rows
from domain.movements import movement_scores
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, Instants, Matrix
from domain.replay import evaluate
from domain.scorecard.points import Flags, Numbers
from domain.scorecard.runs import Run

REFERENCE_PERIOD_S: Final = 1.0
"""The defaults of specification and incident rules are meant for machines read once a second."""

CHUNK_ROWS: Final = 60
"""Readings that arrive together; any other number gives the same verdicts."""

CANDIDATES: Final = (
    PipelineSpec(),
    PipelineSpec(detector="ensemble"),
    PipelineSpec(features="gated", detector="gmm", window_s=30.0),
    PipelineSpec(features="gated", detector="mahalanobis", window_s=30.0),
    PipelineSpec(features="gated", detector="kmeans", clusters=8, window_s=30.0),
    PipelineSpec(features="gated-trend", detector="pca", window_s=30.0),
    PipelineSpec(features="gated-spread", detector="pca", window_s=30.0),
)
"""What replay chooses from: the default, and one of each family and feature set."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdicts:
    """What was told of the scored part of a run.

    Attributes:
        score: Shape (n,), >= 0; larger is more anomalous.
        told: Shape (n,), anomalous by the method's own threshold.
        opened: Rows at which an incident was opened, ascending.
        contributions: Shape (n, S); None for methods that give none.
        incidents: Opened, as they were in the end.
        sensor_opened: Rows at which an incident of a sensor was opened, ascending; None for methods
            that do not tell sensors' faults from machines'.
        changes: Shape (n,), a change of the machine is told: it begins to move, or has settled;
            None for methods that tell none.
    """

    score: Numbers
    told: Flags
    opened: npt.NDArray[np.intp]
    contributions: Matrix | None = None
    incidents: tuple[Incident, ...] = ()
    sensor_opened: npt.NDArray[np.intp] | None = None
    changes: Flags | None = None


def at_period(spec: PipelineSpec, period_s: float) -> PipelineSpec:
    """Return the specification with its times stretched to another rate of readings."""
    return spec.stretched(period_s / REFERENCE_PERIOD_S)


def choose(run: Run, learnt: Sequence[History], *, seed: int) -> PipelineSpec:
    """Return what a sweep would: the best by replay if it is clearly better than the default."""
    specs = [at_period(spec, run.period_s) for spec in CANDIDATES]
    objectives = [
        [
            evaluate(spec, learnt, run.machine_class, seed=one)[1].objective
            for one in range(seed, seed + REPLAYS)
        ]
        for spec in specs
    ]
    best = int(np.argmax([fmean(one) for one in objectives]))
    return specs[best if gain_of(objectives[best], objectives[0]).clear else 0]


def judge(run: Run, *, seed: int, by_replay: bool = False) -> Verdicts:
    """Learn from the first part of a run and score the rest as it would have arrived.

    Args:
        run: Labelled or not; labels are not read.
        seed: Of the detector, and of replay.
        by_replay: Choose among `CANDIDATES` by replay instead of taking the defaults.

    Raises:
        BadInputError: The first part holds too little to learn from.
    """
    learnt = clean([run.train], run.machine_class, seed=seed).histories
    default = at_period(PipelineSpec(), run.period_s)
    spec = choose(run, learnt, seed=seed) if by_replay else default
    pipeline = Pipeline.fit(spec, learnt, run.machine_class, seed=seed)
    return score_rest(pipeline, run)


def score_rest(
    pipeline: Pipeline,
    run: Run,
    *,
    chunk_rows: int = CHUNK_ROWS,
    rules: IncidentRules | None = None,
) -> Verdicts:
    """Score what comes after the first part, chunk by chunk.

    Args:
        pipeline: Fitted before the part that is scored.
        run: The run.
        chunk_rows: Readings that arrive together.
        rules: When an incident opens and closes; by default those of the stream, their time
            stretched to the run's rate of readings.
    """
    anew = begins(run.instants_us, acting(pipeline, run.train.machine, run.words))
    state, learnt = pipeline.new_state(run.train.machine, level=run.level), len(run.train)
    pipeline.score(state, run.train.instants_us, run.train.values, anew=anew[:learnt])
    anew = anew[learnt:]
    test, score, parts = run.test, [np.empty(0)], [np.empty((0, len(run.sensors)))]
    faults = [np.empty((0, len(run.sensors)), dtype=np.uint8)]
    moved = [np.empty(0)]
    for first in range(0, len(test), chunk_rows):
        rows = slice(first, first + chunk_rows)
        scores = pipeline.score(state, test.instants_us[rows], test.values[rows], anew=anew[rows])
        score.append(np.where(scores.ready, scores.score, np.minimum(scores.score, 1.0)))
        parts.append(scores.contributions)
        faults.append(scores.sensor_faults)
        if pipeline.changes is not None:
            moved.append(movement_scores(pipeline.changes, scores))
    told = verdicts(
        np.concatenate(score),
        test.instants_us,
        run.period_s,
        np.concatenate(parts),
        rules=rules,
        repaired=anew,
    )
    ill, of = sensor_rows(np.concatenate(faults))
    found = _opened(test.instants_us, ill, of, SENSOR_RULES, anew)
    told = replace(told, sensor_opened=np.searchsorted(test.instants_us, _begins(found)))
    if pipeline.changes is None:
        return told
    return replace(told, changes=turns(np.concatenate(moved))[0])


def verdicts(  # noqa: PLR0913 - columns of the same readings, and how they are judged
    score: Numbers,
    instants_us: Instants,
    period_s: float,
    contributions: Matrix | None = None,
    *,
    rules: IncidentRules | None = None,
    repaired: Flags | None = None,
) -> Verdicts:
    """Turn scores, of which > 1 is anomalous, into verdicts and incidents."""
    usual = IncidentRules()
    stretched = replace(usual, quiet_s=usual.quiet_s * period_s / REFERENCE_PERIOD_S)
    parts = np.zeros((len(score), 1)) if contributions is None else contributions
    found = _opened(instants_us, score, parts, rules or stretched, repaired)
    return Verdicts(
        score=score,
        told=score > 1,
        opened=np.searchsorted(instants_us, _begins(found)),
        contributions=contributions,
        incidents=found,
    )


def _opened(
    instants_us: Instants,
    score: Numbers,
    parts: Matrix,
    rules: IncidentRules,
    repaired: Flags | None = None,
) -> tuple[Incident, ...]:
    """Return the incidents that a machine's scores open, as they are at the end."""
    newest: dict[int, Incident] = {}
    for event in IncidentTracker(rules).advance(instants_us, score, parts, repaired=repaired):
        newest[event.incident.opened_us] = event.incident
    return tuple(newest[at] for at in sorted(newest))


def _begins(incidents: Sequence[Incident]) -> list[int]:
    return [one.opened_us for one in incidents]
