"""What one trial does: fit a configuration to older history, replay faults over the newer.

Where people judged periods of the class, a trial has a second objective from them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from domain.labelled import Piece, judge_labelled
from domain.pipeline_spec import PipelineSpec
from domain.replay import ReplayResult, evaluate
from tuning.data import Dataset

type Stage = Literal["screen", "confirm"]

FAILED: Final = -1.0
"""Objective of a trial that failed: below all that a working one can reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a configuration did.

    Attributes:
        metrics: Finite figures by name, `objective` always among them.
        seconds: It took.
        failure: Why it could not be judged; empty if it was.
        healthy_scores: Scores of held-out healthy rows, for pictures.
        faulty_scores: Scores of rows with a fault laid over.
        package: The pipeline fitted to the older part, if it was to be kept; else empty.
    """

    metrics: dict[str, float]
    seconds: float
    failure: str = ""
    healthy_scores: tuple[float, ...] = field(default=(), repr=False)
    faulty_scores: tuple[float, ...] = field(default=(), repr=False)
    package: bytes = field(default=b"", repr=False)

    @property
    def objective(self) -> float:
        """To maximise."""
        return self.metrics["objective"]

    @property
    def label_objective(self) -> float:
        """To maximise beside it; `FAILED` where nothing was labelled or the trial failed."""
        return self.metrics.get("label_objective", FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial that ended.

    Attributes:
        number: In the order in which trials were begun, from 0.
        stage: On little data (screen), or one of the best again on more (confirm).
        spec: What was tried; None if the sampler drew nothing that can be.
        outcome: How it did.
    """

    number: int
    stage: Stage
    spec: PipelineSpec | None
    outcome: Outcome


def try_spec(
    spec: PipelineSpec,
    dataset: Dataset,
    *,
    seed: int,
    keep: bool = False,
    pieces: Sequence[Piece] = (),
) -> Outcome:
    """Fit and replay; a configuration that cannot be fitted is an outcome, not an error.

    Args:
        spec: The configuration.
        dataset: Healthy history; its older part is learnt from.
        seed: Of the detector and of the faults: equal for all trials of a sweep.
        keep: Return the fitted pipeline too.
        pieces: Periods that people judged; none leaves the second objective out.
    """
    began = time.monotonic()
    try:
        pipeline, result = evaluate(spec, dataset.histories, dataset.machine_class, seed=seed)
        labelled = judge_labelled(pipeline, pieces).metrics() if pieces else {}
    except Exception as error:  # noqa: BLE001 - one configuration's defect is told, the sweep goes on
        why = f"{type(error).__name__}: {error}"
        return Outcome(
            metrics={"objective": FAILED}, seconds=time.monotonic() - began, failure=why[:500]
        )
    package = pipeline.to_package() if keep else b""
    return _outcome(result, labelled, package, time.monotonic() - began)


def _outcome(
    result: ReplayResult, labelled: dict[str, float], package: bytes, seconds: float
) -> Outcome:
    metrics = {"objective": FAILED, **result.metrics(), **labelled, "seconds": seconds}
    return Outcome(
        metrics=metrics,
        seconds=seconds,
        failure="" if "objective" in result.metrics() else "its objective is not finite",
        healthy_scores=result.healthy_scores,
        faulty_scores=result.faulty_scores,
        package=package,
    )
