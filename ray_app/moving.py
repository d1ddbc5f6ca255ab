"""Which machines move, on the stream: what is told of a batch, and what goes on after it. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from domain.features.state import Counts
from domain.movements import Motion, followed, movement_scores
from domain.pipeline import Pipeline
from domain.readings import Instants
from domain.scores import Scores
from domain.told import Movement
from ray_app.known import Champion
from storage.movements import Told


class MoveWatch:
    """Follows the movements of machines; for one thread.

    Whoever stands still costs nothing by itself: one look at a whole batch finds those that move.

    Args:
        going_on: Machine key → the movement that went on when the last verdict was written.
    """

    def __init__(self, going_on: Mapping[int, Movement]) -> None:
        self._going_on = dict(going_on)

    def look(
        self,
        pipeline: Pipeline,
        keys: Sequence[int],
        ends: Counts,
        instants_us: Instants,
        scores: Scores,
    ) -> dict[int, Motion]:
        """Return machine key → its readings, of those machines that may have something to tell.

        Args:
            pipeline: What scored.
            keys: Of m machines.
            ends: Shape (m,), row after the last one of each machine; ascending to n.
            instants_us: Shape (n,), one machine's after the other's.
            scores: Of the n readings.
        """
        if pipeline.changes is None:
            return {}
        moves = movement_scores(pipeline.changes, scores)
        places = set(np.searchsorted(ends, np.flatnonzero(moves > 1), side="right").tolist())
        if self._going_on:
            places |= {place for place, key in enumerate(keys) if key in self._going_on}
        found = {}
        for place in sorted(places):
            first, end = int(ends[place - 1]) if place else 0, int(ends[place])
            found[keys[place]] = Motion(
                instants_us=instants_us[first:end],
                moves=moves[first:end],
                scores=scores,
                first=first,
            )
        return found

    def follow(self, champion: Champion, key: int, motion: Motion) -> list[Told]:
        """Return what a machine's readings, each judged for the first time, tell of it."""
        told = followed(champion.pipeline, self._going_on.get(key), motion)
        if told:
            self._going_on.pop(key, None)
            if told[-1].settled_us is None:
                self._going_on[key] = told[-1]
        return [Told(machine_key=key, model_version=champion.version, movement=one) for one in told]
