"""Told changes as stories: when a machine moved, which sensor moved most, and from where to where.

A movement begins and ends with the two changes that `domain.changes` tells. All is pure and in the
time of readings, and any split into calls tells the same: what is known of a movement that still
goes on is all there is to remember.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from domain.changes import ChangeModel, turns
from domain.features.kinds import LEVEL, PARTS
from domain.pipeline import Pipeline
from domain.readings import Instants, Vector
from domain.scores import Scores
from domain.told import SHOWN, Moved, Movement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """Readings of one machine as far as movement goes.

    Attributes:
        instants_us: Shape (n,), oldest first.
        moves: Shape (n,), `movement_scores` of them.
        scores: What the pipeline said of them; only `measured`, `expected`, `regimes` are read.
        first: Row of `scores` that the first of them is.
    """

    instants_us: Instants
    moves: Vector
    scores: Scores
    first: int

    def after(self, instant_us: int) -> "Motion":
        """Return what is later than an instant."""
        rows = int(np.searchsorted(self.instants_us, instant_us, side="right"))
        return replace(
            self,
            instants_us=self.instants_us[rows:],
            moves=self.moves[rows:],
            first=self.first + rows,
        )


def movement_scores(changes: ChangeModel, scores: Scores) -> Vector:
    """Return how much a machine moves at each of n readings, shape (n,); > 1 is a movement.

    While its window fills a machine counts as standing still.
    """
    return np.where(scores.ready, changes.score(scores.measured), 0.0)


def followed(pipeline: Pipeline, before: Movement | None, motion: Motion) -> list[Movement]:
    """Return the movements that began, went on to a new peak or were over, oldest first.

    Args:
        pipeline: What scored; it tells changes.
        before: What went on at the reading before; None where the machine stood still.
        motion: The readings since. One that is still moving at their end is the last returned,
            if anything about it is new.
    """
    told, moving = turns(motion.moves, moving=before is not None)
    edges = [*np.flatnonzero(told).tolist(), len(motion.moves)]
    current = before and _grown(pipeline, before, motion, slice(0, edges[0]))
    done = []
    for row, end in pairwise(edges):
        if current is None:
            current = _grown(pipeline, _begun(pipeline, motion, row), motion, slice(row, end))
        else:
            done.append(_settled(pipeline, current, motion, row))
            current = None
    if moving and current is not None and current is not before:
        done.append(current)
    return done


def _begun(pipeline: Pipeline, motion: Motion, row: int) -> Movement:
    levels = _levels(pipeline, motion, row, LEVEL)
    sensors = tuple(
        Moved(sensor=name, share=0.0, before=level, after=None) for name, level in levels
    )
    return Movement(began_us=int(motion.instants_us[row]), peak_score=0.0, sensors=sensors)


def _grown(pipeline: Pipeline, one: Movement, motion: Motion, rows: slice) -> Movement:
    """Return a movement after some of its readings; the very same where none moves more."""
    moves = motion.moves[rows]
    if not len(moves) or moves.max() <= one.peak_score or pipeline.changes is None:
        return one
    row = rows.start + int(moves.argmax())
    at = motion.first + row
    shares = pipeline.changes.shares(motion.scores.measured[at : at + 1])[0]
    # A sensor that the class gained amid a movement has no level before it.
    before = {each.sensor: each.before for each in one.sensors}
    names = pipeline.machine_class.sensor_names
    sensors = [
        Moved(
            sensor=names[column],
            share=round(float(shares[column]), 6),
            before=before.get(names[column]),
            after=None,
        )
        for column in np.argsort(-shares, kind="stable").tolist()
    ]
    return replace(one, peak_score=float(moves.max()), sensors=tuple(sensors))


def _settled(pipeline: Pipeline, one: Movement, motion: Motion, row: int) -> Movement:
    kinds = pipeline.front.plan.kinds.tolist()
    newest = max(kinds, key=lambda kind: PARTS.get(kind, 0))
    after = dict(_levels(pipeline, motion, row, newest))
    return replace(
        one,
        settled_us=int(motion.instants_us[row]),
        sensors=tuple(replace(each, after=after.get(each.sensor)) for each in one.sensors[:SHOWN]),
    )


def _levels(
    pipeline: Pipeline, motion: Motion, row: int, kind: int
) -> Iterator[tuple[str, float | None]]:
    """Return the mean of a part of the window of each sensor, in its unit."""
    plan, at = pipeline.front.plan, motion.first + row
    place = int(np.flatnonzero(plan.kinds == kind)[0])
    measured = motion.scores.measured[at].reshape(len(plan.kinds), -1)[place]
    scale = plan.scale[int(motion.scores.regimes[at])]
    levels = motion.scores.expected[at] + measured * scale
    for name, level in zip(pipeline.machine_class.sensor_names, levels.tolist(), strict=True):
        yield name, level if np.isfinite(level) else None
