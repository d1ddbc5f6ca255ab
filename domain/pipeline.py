"""From readings to verdicts: features, detector, threshold and sensor watch as one value.

The sweep, the stream, the backtest and the HTTP API call `Pipeline.score`; equal input gives
equal scores, whatever the split into calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from domain.changes import ChangeModel
from domain.detectors import Detector
from domain.detectors.contract import shares_of
from domain.features.front import FeatureModel
from domain.features.learning import fit_features
from domain.features.state import Counts
from domain.lasting import NEVER, Lasting
from domain.machines import MachineClass
from domain.newest import third_scores
from domain.pipeline_package import packed, unpacked
from domain.pipeline_spec import PipelineSpec
from domain.pipeline_training import (
    facts,
    fit_detector,
    golden_batch,
    training_rows,
    usable_histories,
    without_faults,
)
from domain.readings import Flags, History, Instants, Matrix
from domain.scores import PipelineState, Scores
from domain.sensor_health import SensorWatch

_EVERY_ROW: Final = slice(None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pipeline:
    """A fitted model of a machine class.

    Attributes:
        spec: Its hyperparameters.
        machine_class: What the columns are.
        front: The features.
        detector: The distance from health.
        threshold: The distance at which health ends.
        lasting: What that is, as a score, for excursions that begin, last or are over, and after a
            change of regime.
        watch: The sensor watch.
        golden: Readings whose scores travel with the model.
        changes: How much healthy machines move; None where the features do not tell.
        about: Facts for people: data period, machines, rows, seed.
    """

    spec: PipelineSpec
    machine_class: MachineClass
    front: FeatureModel
    detector: Detector
    threshold: float
    watch: SensorWatch
    golden: History
    lasting: Lasting = NEVER
    changes: ChangeModel | None = None
    about: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        spec: PipelineSpec,
        histories: Sequence[History],
        machine_class: MachineClass,
        *,
        seed: int,
        changes: bool = True,
    ) -> Self:
        """Learn health from the history of one or more machines of a class.

        Args:
            spec: The hyperparameters.
            histories: Mostly healthy; contamination up to `spec.trim` of the rows is left out.
            machine_class: The class of all of them.
            seed: Equal seeds give equal pipelines.
            changes: Learn also what tells changes; the scores are the same without.

        Raises:
            BadInputError: There is too little history, or its columns are not the class's.
        """
        histories = usable_histories(histories, machine_class)
        watch = SensorWatch.fit(histories, machine_class)
        clean = [without_faults(watch, one) for one in histories]
        # One thread: pools of spinning threads are slower than none on cores that others use too.
        with threadpool_limits(1):
            front = fit_features(spec, clean, period_s=machine_class.period_s, seed=seed)
            rows = [training_rows(front, one) for one in clean]
            detector, threshold, lasting = fit_detector(
                spec,
                [one.features for one in rows],
                [one.regimes for one in rows],
                seed,
                period_s=machine_class.period_s,
            )
            model = (
                ChangeModel.fit(
                    spec,
                    [one.measured for one in rows],
                    kinds=front.plan.kinds,
                    freedom=front.freedom[: len(machine_class.sensors)],
                )
                if changes
                else None
            )
        return cls(
            spec=spec,
            machine_class=machine_class,
            front=front,
            detector=detector,
            threshold=threshold,
            watch=watch,
            golden=golden_batch(histories),
            lasting=lasting,
            changes=model,
            about=facts(histories, seed),
        )

    @property
    def warmup_rows(self) -> int:
        """Readings after which scores are `ready`; replay so many before a stream is judged."""
        return self.front.cold_rows

    def new_state(
        self, machine: str | None = None, *, level: Matrix | None = None
    ) -> PipelineState:
        """Return the state of a machine before its first reading.

        Args:
            machine: Its name; a machine that was trained on starts from its own healthy level.
            level: Shape (S,), `PipelineState.level` to start from instead.
        """
        return PipelineState(
            features=self.front.new_memory(machine, level=level), sensors=self.watch.new_memory()
        )

    def score(
        self,
        state: PipelineState,
        instants_us: Instants,
        values: Matrix,
        *,
        explained: slice = _EVERY_ROW,
        anew: Flags | None = None,
    ) -> Scores:
        """Score readings and advance the state.

        Args:
            state: Of the machine; changed in place.
            instants_us: Shape (n,), oldest first.
            values: Shape (n, S); NaN is missing.
            explained: Rows whose contributions are wanted; they cost as much as the scores.
            anew: Shape (n,), readings from which on the level is learnt anew, see `domain.anew`.

        Raises:
            ValueError: The shapes do not fit the machine class.
        """
        ends = np.array([len(values)], dtype=np.int64)
        return self._advance([state], ends, instants_us, values, anew, explained)

    def score_each(
        self,
        states: Sequence[PipelineState],
        instants_us: Instants,
        values: Matrix,
        *,
        lengths: Counts | None = None,
        anew: Flags | None = None,
    ) -> Scores:
        """Score readings of each of m machines and advance their states.

        The same numbers as `score` for one machine after the other, in a fraction of the time
        where each has few readings: what is asked once per call is asked once for all of them.

        Args:
            states: Of m machines; changed in place.
            instants_us: Shape (n,), one machine's after the other's, each oldest first.
            values: Shape (n, S); NaN is missing.
            lengths: Shape (m,), readings of each machine, n in all; one of each where not given.
            anew: As for `score`.

        Raises:
            ValueError: The shapes do not fit the machine class or each other.
        """
        each = np.ones(len(states), dtype=np.int64) if lengths is None else lengths
        if len(each) != len(states) or each.min(initial=0) < 0 or each.sum() != len(values):
            raise ValueError(f"{len(states)} states for {len(values)} readings")
        return self._advance(states, np.cumsum(each), instants_us, values, anew)

    def _advance(  # noqa: PLR0913, PLR0917 - what both of the above are asked
        self,
        states: Sequence[PipelineState],
        ends: Counts,
        instants_us: Instants,
        values: Matrix,
        anew: Flags | None,
        explained: slice = _EVERY_ROW,
    ) -> Scores:
        """Score; `ends`, shape (m,), are the rows after the last one of each of m machines."""
        wanted = (len(instants_us), len(self.machine_class.sensors))
        if values.shape != wanted:
            raise ValueError(f"values have shape {values.shape} instead of {wanted}")
        faults = self.watch.check_each([one.sensors for one in states], ends, values)
        healthy = np.where(faults, np.nan, values)
        memories = [one.features for one in states]
        rows = self.front.transform_each(memories, ends, instants_us, healthy, anew)
        distance = self.detector.score(rows.features) / self.threshold
        ready = (rows.seen >= self.warmup_rows) & (2 * rows.filled >= self.front.window_rows)
        excursions = [one.excursion for one in states]
        third = third_scores(
            self.detector,
            self.spec.features,
            self.threshold,
            self.lasting,
            rows.features,
            distance,
        )
        score = self.lasting.judged(excursions, ends, distance, ready, rows.regimes, third)
        return Scores(
            score=score,
            contributions=self._contributions(rows.features[explained], score[explained]),
            expected=rows.expected,
            ready=ready,
            sensor_faults=faults,
            measured=rows.measured,
            regimes=rows.regimes,
        )

    def features(self, history: History) -> Matrix:
        """Return the standardised features of a whole history, shape (n, F), for diagnostics."""
        state = self.new_state(history.machine)
        faults = self.watch.check(state.sensors, history.values)
        values = np.where(faults, np.nan, history.values)
        return self.front.transform(state.features, history.instants_us, values).features

    def to_package(self) -> bytes:
        """Return the model as one blob without pickles; see `domain.pipeline_package`."""
        return packed(self)

    @classmethod
    def from_package(cls, blob: bytes, name: str = "package") -> Self:
        """Restore and verify what `to_package` gave.

        Args:
            blob: The package.
            name: Registered model and version, for the error.

        Raises:
            ModelRejectedError: Checksum, schema or golden batch do not hold.
        """
        return unpacked(cls, blob, name)

    def golden_scores(self) -> npt.NDArray[np.float64]:
        """Return the scores of the golden batch, shape (n,)."""
        state = self.new_state(self.golden.machine)
        return self.score(state, self.golden.instants_us, self.golden.values).score

    def _contributions(self, features: Matrix, distance: npt.NDArray[np.float64]) -> Matrix:
        sensors = len(self.machine_class.sensors)
        out: Matrix = shares_of(self.detector.attribute(features), sensors) * distance[:, None]
        return out
