"""Machines of the exam that stay elsewhere, where somebody says at the repair that they do."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from domain.incidents import IncidentRules
from domain.pipeline import Pipeline
from domain.scorecard.card import RunScores
from domain.scorecard.protocol import score_rest
from domain.scorecard.runs import Run
from domain.scorecard.tally import Tally


def judge_repaired(pipeline: Pipeline, run: Run) -> Tally:
    """Judge a machine again, with the word at its repair that its level is to be learnt anew.

    Args:
        pipeline: What judges it.
        run: Labelled; it is well after its last failure.
    """
    last = int(np.flatnonzero(run.truth)[-1])
    word = int(run.test.instants_us[last + 1])
    told = replace(run, name=f"{run.name}, told", words=(word,))
    return Tally.of(told, score_rest(pipeline, told, rules=IncidentRules()))


def repaired_scores(sat: Sequence[Sequence[Tally | None]]) -> list[RunScores]:
    """Return machines under all seeds, as `runs_card` takes them; they stand beside the exam's.

    Args:
        sat: Per seed the machines of one class, in the same order; None for those that went back.
    """
    each = [[one for one in of if one is not None] for of in zip(*sat, strict=True)]
    return [RunScores(ours=tuple(one), baselines={}) for one in each if one]
