"""How good is a pipeline, when no failure was ever labelled?

*Replay* takes held-out healthy history, lays sustained subtle faults over it
(`domain.laid_faults`), scores it as the stream would, and asks how well faulty rows are told from
healthy ones at few false alarms. `docs/benchmarks.md` has its rank correlation with label F1,
beside that of the silhouette.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Final
from zlib import crc32

import numpy as np
from sklearn.metrics import davies_bouldin_score, roc_auc_score, silhouette_score

from domain.laid_faults import DEFAULT_RULES, MET_SHARE, MIN_HELD_OUT, ReplayRules, lay_fault
from domain.machines import MachineClass
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, Instants, Matrix, Vector
from domain.scores import PipelineState

_CLUSTER_SAMPLE: Final = 800
_NEWEST: Final = slice(-1, None)
"""Replay asks how anomalous readings are and not why, which would cost as much again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What replay says of a pipeline; all in [0, 1] but Davies-Bouldin and the curves.

    Attributes:
        objective: To maximise: partial AUC and detection, evenly, less what the false-alarm rate
            is above its cap.
        detection: Share of faulty rows that score above 1.
        false_alarm_rate: Share of healthy held-out rows that score above 1.
        auc: Area under the ROC curve up to `ReplayRules.fpr`, 1 is perfect, .5 is chance.
        episodes_detected: Share of faults with at least a tenth of their rows above 1.
        silhouette: Of the training features under the detector's centres; NaN with one centre.
        davies_bouldin: Likewise; smaller is better.
        healthy_scores: Scores of held-out healthy rows, for pictures; at most 2,000.
        faulty_scores: Scores of faulty rows; at most 2,000.
    """

    objective: float
    detection: float
    false_alarm_rate: float
    auc: float
    episodes_detected: float
    silhouette: float
    davies_bouldin: float
    healthy_scores: tuple[float, ...] = field(default=(), repr=False)
    faulty_scores: tuple[float, ...] = field(default=(), repr=False)

    def metrics(self) -> dict[str, float]:
        """Return the finite figures by name."""
        names = (
            "objective",
            "detection",
            "false_alarm_rate",
            "auc",
            "episodes_detected",
            "silhouette",
            "davies_bouldin",
        )
        figures = {name: float(getattr(self, name)) for name in names}
        return {name: value for name, value in figures.items() if isfinite(value)}


def evaluate(
    spec: PipelineSpec,
    histories: Sequence[History],
    machine_class: MachineClass,
    *,
    seed: int,
    rules: ReplayRules = DEFAULT_RULES,
) -> tuple[Pipeline, ReplayResult]:
    """Fit on the older part of the histories and replay faults over the rest.

    Raises:
        BadInputError: There is too little history to learn from.
    """
    older = [_cut(one, 0.0, rules.train_share) for one in histories]
    # Replay judges scores; what tells changes would be learnt for nobody.
    pipeline = Pipeline.fit(spec, older, machine_class, seed=seed, changes=False)
    return pipeline, replay_score(pipeline, histories, seed=seed, rules=rules)


def replay_score(
    pipeline: Pipeline,
    histories: Sequence[History],
    *,
    seed: int,
    rules: ReplayRules = DEFAULT_RULES,
) -> ReplayResult:
    """Score a fitted pipeline on the newer part of histories, healthy and with faults laid over.

    Champion and challenger are compared by calling this for both with the same histories and seed.

    Args:
        pipeline: Fitted on no more than the first `rules.train_share` of each history.
        histories: Healthy; the first part only fills windows and baselines.
        seed: Of the faults; equal seeds lay the same faults over a machine of the same name.
        rules: How faults are laid.
    """
    healthy, faulty, caught = [np.empty(0)], [np.empty(0)], []
    primes = (_prime(pipeline, one, rules.train_share) for one in histories)
    held_out = [(primed, rest) for primed, rest in primes if len(rest) >= MIN_HELD_OUT]
    each = rules.episodes_of(len(held_out))
    for primed, rest in held_out:
        healthy.append(_scored(pipeline, primed, rest.instants_us, rest.values))
        # Of each machine its own: otherwise all runs that are judged apart would meet one fault.
        rng = np.random.default_rng([seed, crc32(rest.machine.encode())])
        for _ in range(each):
            onset, values = lay_fault(rest.values, rng, rules)
            scores = _scored(pipeline, primed, rest.instants_us, values)[onset:]
            faulty.append(scores)
            caught.append(bool((scores > 1).mean() > MET_SHARE))
    clusters = _clusters(pipeline, histories[0], seed)
    return _result(np.concatenate(healthy), np.concatenate(faulty), caught, clusters, rules)


def partial_auc(healthy: Vector, faulty: Vector, *, fpr: float) -> float:
    """Return the area under the ROC curve up to `fpr`, standardised (McClish 1989).

    1 is perfect, .5 is chance, also when there is nothing to compare.
    """
    if not len(healthy) or not len(faulty):
        return 0.5
    truth = np.repeat((0, 1), (len(healthy), len(faulty)))
    return float(roc_auc_score(truth, np.concatenate((healthy, faulty)), max_fpr=fpr))


def _result(
    healthy: Vector,
    faulty: Vector,
    caught: list[bool],
    clusters: tuple[float, float],
    rules: ReplayRules,
) -> ReplayResult:
    detection = float((faulty > 1).mean()) if len(faulty) else 0.0
    alarms = float((healthy > 1).mean()) if len(healthy) else 0.0
    auc = partial_auc(healthy, faulty, fpr=rules.fpr)
    return ReplayResult(
        objective=(auc + detection) / 2 - max(0.0, alarms - rules.far_cap),
        detection=detection,
        false_alarm_rate=alarms,
        auc=auc,
        episodes_detected=float(np.mean(caught)) if caught else 0.0,
        silhouette=clusters[0],
        davies_bouldin=clusters[1],
        healthy_scores=_thin(healthy),
        faulty_scores=_thin(faulty),
    )


def _thin(scores: Vector) -> tuple[float, ...]:
    return tuple(scores[:: max(1, -(-len(scores) // 2000))].tolist())


def _cut(history: History, begin: float, end: float) -> History:
    return history.take(slice(round(begin * len(history)), round(end * len(history))))


def _prime(pipeline: Pipeline, history: History, share: float) -> tuple[PipelineState, History]:
    """Return the state at the end of the training part, and the rest."""
    state, older = pipeline.new_state(history.machine), _cut(history, 0.0, share)
    # What the detector would say of the older part nobody asks; only windows and baselines go on.
    faults = pipeline.watch.check(state.sensors, older.values)
    clean = np.where(faults, np.nan, older.values)
    pipeline.front.raw(state.features, older.instants_us, clean)
    return state, _cut(history, share, 1.0)


def _scored(
    pipeline: Pipeline, primed: PipelineState, instants_us: Instants, values: Matrix
) -> Vector:
    """Score readings after a state that stays as it is, shape (n,)."""
    told = pipeline.score(primed.copy(), instants_us, values, explained=_NEWEST)
    return told.score


def _clusters(pipeline: Pipeline, history: History, seed: int) -> tuple[float, float]:
    """Return silhouette and Davies-Bouldin of the detector's partition; NaN where it has none."""
    features = pipeline.features(history)
    rows = np.random.default_rng(seed).permutation(len(features))[:_CLUSTER_SAMPLE]
    sample = features[rows]
    labels = pipeline.detector.assign(sample)
    if not 2 <= len(np.unique(labels)) < len(sample):
        return nan, nan
    return float(silhouette_score(sample, labels)), float(davies_bouldin_score(sample, labels))
