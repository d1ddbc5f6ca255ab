"""From readings to standardised features: one model per class, one memory per machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from domain.features.kernel import (
    REGIME,
    Counts,
    Memory,
    Plan,
    feature_rows,
    regime_rows,
)
from domain.features.kinds import FEATURE_SETS, LEVEL, is_gated
from domain.features.operating import LAGS_S, OperatingPoints, find_regimes, fit_response
from domain.readings import History, Instants, Matrix

THIN: Final = 4
"""Every so many readings are used to compare numbers of regimes."""

WORTH: Final = 0.02
"""A regime more must lower the sensors' unexplained deviation by 2 % on average."""

LEAK: Final = 0.02
"""A frozen baseline follows at this share of its rate: nothing stays an alarm for weeks."""

WILD: Final = 6.0
"""A new machine may differ from its class by that many deviations and still teach a baseline."""


KNOWN: Final = 1e9
"""Readings that the baseline of a machine stands for that was trained on."""

NEVER_S: Final = 1e15
"""Time constant of a baseline that does not follow."""


class FrontSpec(Protocol):
    """The hyperparameters that features need; `PipelineSpec` has them."""

    @property
    def features(self) -> str:
        """Name of the feature set."""
        ...

    @property
    def window_s(self) -> float:
        """Seconds of the rolling window."""
        ...

    @property
    def baseline_s(self) -> float:
        """Time constant of the baseline, seconds."""
        ...

    @property
    def gate_sd(self) -> float:
        """Deviations that freeze a baseline."""
        ...

    @property
    def recover_s(self) -> float:
        """Seconds of calm that move a frozen baseline."""
        ...

    @property
    def regimes(self) -> int:
        """At most this many regimes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureRows:
    """Features of n readings.

    Attributes:
        features: Shape (n, K * S), healthy standard deviations from the healthy mean; 0 where a
            sensor was missing for too long.
        expected: Shape (n, S), in the sensor's unit.
        filled: Shape (n,), rows in the window.
    """

    features: Matrix
    expected: Matrix
    filled: Counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureModel:
    """What was learnt about the healthy machines of a class.

    Attributes:
        plan: The kernel's constants.
        window_rows: Readings in a full window.
        centre: Shape (F,), healthy mean of each feature.
        spread: Shape (2, F), healthy standard deviation of each feature in a full window, and of
            a window that holds one reading.
        bases: Machine → the baseline at the end of its training, shape (S,).
    """

    plan: Plan
    window_rows: int
    centre: Matrix
    spread: Matrix
    bases: Mapping[str, Matrix] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, spec: FrontSpec, histories: Sequence[History], *, period_s: float, seed: int
    ) -> Self:
        """Learn regimes, responses, scales and healthy feature statistics.

        Args:
            spec: The hyperparameters.
            histories: Mostly healthy; at least one with two readings.
            period_s: Nominal seconds between readings.
            seed: Of the clustering of regimes.
        """
        found = find_regimes([one.values for one in histories], most=spec.regimes, seed=seed)
        rows = max(1, round(spec.window_s / period_s))
        blank = _best_plan([_blank_plan(spec, one, period_s) for one in found], histories)
        plan, bases = _fit_residuals(blank, histories)
        plan = plan._replace(cold=_cold_rows(plan, period_s))
        model = cls(
            plan=plan,
            window_rows=rows,
            centre=np.zeros(len(plan.kinds) * len(plan.prior)),
            spread=np.ones((2, len(plan.kinds) * len(plan.prior))),
            bases=bases,
        )
        return model._standardise(spec, histories)

    def new_memory(self, machine: str | None = None) -> Memory:
        """Return the memory of a machine that was not seen yet.

        Args:
            machine: Name; one that was trained on starts from its own level.
        """
        sensors, lagged = len(self.plan.prior), len(self.plan.response[0])
        base = self.bases.get(machine or "")
        known = base is not None
        memory = Memory(
            clock=np.zeros(5, dtype=np.int64),
            ring=np.zeros((self.window_rows, sensors)),
            sums=np.zeros((2, sensors)),
            have=np.zeros(sensors, dtype=np.int64),
            lagged=np.zeros(lagged),
            unseen_s=np.zeros(sensors),
            base=base.copy() if base is not None else np.zeros(sensors),
            weight=np.full(sensors, KNOWN if known else 0.0),
            settle=np.zeros((3, sensors)),
        )
        memory.clock[REGIME] = -1
        return memory

    @property
    def cold_rows(self) -> int:
        """Readings after which a machine without a past can be judged."""
        return int(self.plan.cold)

    def skipped_rows(self, rows: int) -> int:
        """Return how many of a training history's first rows teach nothing but its past."""
        return min(self.cold_rows, rows // 3)

    def transform(self, memory: Memory, instants_us: Instants, values: Matrix) -> FeatureRows:
        """Compute features and advance the memory.

        Args:
            memory: Of the machine; changed in place.
            instants_us: Shape (n,); a reading that is not later than the last counts as 0 s later.
            values: Shape (n, S); NaN is missing.
        """
        raw = self.raw(memory, instants_us, values)
        features = np.where(np.isnan(raw.features), self.centre, raw.features) - self.centre
        share = (self.window_rows / np.maximum(raw.filled, 1) - 1) / max(self.window_rows - 1, 1)
        full, single = self.spread**2
        features /= np.sqrt(full + share[:, None] * np.maximum(single - full, 0.0))
        return replace(raw, features=features)

    def raw(self, memory: Memory, instants_us: Instants, values: Matrix) -> FeatureRows:
        """Compute features before they are standardised; NaN where a sensor says nothing."""
        rows, sensors = values.shape
        out = FeatureRows(
            features=np.empty((rows, len(self.plan.kinds) * sensors)),
            expected=np.empty((rows, sensors)),
            filled=np.empty(rows, dtype=np.int64),
        )
        feature_rows(
            self.plan,
            memory,
            np.ascontiguousarray(instants_us, dtype=np.int64),
            np.ascontiguousarray(values, dtype=np.float64),
            out.features,
            out.expected,
            out.filled,
        )
        return out

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays; machines' baselines in the order of their names."""
        plan = {f"plan_{name}": np.array(one) for name, one in self.plan._asdict().items()}
        bases = [self.bases[name] for name in sorted(self.bases)]
        shape = (len(bases), len(self.plan.prior))
        return {
            **plan,
            "centre": self.centre.copy(),
            "spread": self.spread.copy(),
            "bases": np.array(bases, dtype=np.float64).reshape(shape),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], window_rows: int, machines: Sequence[str]
    ) -> Self:
        """Restore what `to_arrays` gave."""
        parts: list[Any] = [arrays[f"plan_{name}"] for name in Plan._fields]
        fields: list[Any] = [one if one.ndim else float(one) for one in parts]
        return cls(
            plan=Plan(*fields),
            window_rows=window_rows,
            centre=arrays["centre"],
            spread=arrays["spread"],
            bases=dict(zip(machines, arrays["bases"], strict=True)),
        )

    def _standardise(self, spec: FrontSpec, histories: Sequence[History]) -> Self:
        """Measure healthy features; first without a gate, whose width is one of them."""
        gate = _deviation(_pool(self, histories, (LEVEL,)))
        gated = replace(self, plan=self.plan._replace(gate=spec.gate_sd * gate))
        pooled = _pool(gated, histories, tuple(self.plan.kinds))
        centre, full = np.nanmedian(pooled, axis=0), _deviation(pooled)
        single = _single_spread(gated, histories, full)
        bases = {one.machine: _last_base(gated, one) for one in histories}
        return replace(gated, centre=centre, spread=np.stack((full, single)), bases=bases)


def _blank_plan(spec: FrontSpec, points: OperatingPoints, period_s: float) -> Plan:
    regimes, sensors = points.centres.shape
    return Plan(
        kinds=np.array(FEATURE_SETS[spec.features], dtype=np.int64),
        centres=points.centres,
        operating=points.weights,
        lags_s=np.array(LAGS_S if regimes > 1 else LAGS_S[:1]),
        response=np.zeros((sensors, regimes * (len(LAGS_S) if regimes > 1 else 1))),
        unit=np.ones(sensors),
        scale=np.ones((regimes, sensors)),
        prior=np.ones(sensors),
        wild=np.full(sensors, np.inf),
        cold=2.0 * max(1, round(spec.window_s / period_s)),
        gate=np.full(sensors, np.inf),
        rate_s=float(spec.baseline_s) if is_gated(spec.features) else NEVER_S,
        recover_s=float(spec.recover_s) if is_gated(spec.features) else NEVER_S,
        gap_s=max(float(spec.window_s), 10 * period_s),
        carry_s=max(float(spec.window_s) / 4, 3 * period_s),
        leak=LEAK,
    )


def _best_plan(plans: Sequence[Plan], histories: Sequence[History]) -> Plan:
    """Return the plan with the fewest regimes beyond which another one explains little."""
    best, least = plans[0], _unexplained(plans[0], histories) if len(plans) > 1 else 0.0
    for plan in plans[1:]:
        left = _unexplained(plan, histories)
        if left < least - WORTH:
            best, least = plan, left
    return best


def _unexplained(plan: Plan, histories: Sequence[History]) -> float:
    """Return the mean logarithm of what a plan leaves of the sensors' deviations."""
    lagged = [_lagged(plan, one)[::THIN] for one in histories]
    values = [one.values[::THIN] for one in histories]
    response = fit_response(lagged, values)
    left = []
    for past, one in zip(lagged, values, strict=True):
        residuals = _some(one - past @ response.T)
        left.append(np.nanvar(residuals, axis=0))
    return float(0.5 * np.log(np.mean(left, axis=0) + 1e-12).mean())


def _fit_residuals(plan: Plan, histories: Sequence[History]) -> tuple[Plan, dict[str, Matrix]]:
    """Learn response, scales and machines' levels."""
    settled = [_settled(plan, one) for one in histories]
    lagged = [_lagged(plan, one)[rows:] for one, rows in zip(histories, settled, strict=True)]
    values = [one.values[rows:] for one, rows in zip(histories, settled, strict=True)]
    plan = plan._replace(response=fit_response(lagged, values))
    residuals = [one - past @ plan.response.T for past, one in zip(lagged, values, strict=True)]
    offsets = [np.nan_to_num(np.nanmedian(_some(one), axis=0)) for one in residuals]
    centred = np.concatenate([one - at for one, at in zip(residuals, offsets, strict=True)])
    regime = np.concatenate([past[:, : len(plan.centres)].argmax(axis=1) for past in lagged])
    overall = _floor(_deviation(centred), np.concatenate(values))
    scale = np.stack(
        [_regime_scale(centred[regime == one], overall) for one in range(len(plan.centres))]
    )
    # A new machine's level: its class's, weighed by how alike the class's machines are.
    between = np.std(offsets, axis=0) / overall if len(offsets) > 1 else np.ones(len(overall))
    plan = plan._replace(
        unit=overall,
        scale=scale,
        prior=np.clip(1 / np.maximum(between, 0.1) ** 2, 0.01, 100.0),
        wild=WILD * np.sqrt(1 + 2 * between**2),
    )
    bases = {one.machine: at / overall for one, at in zip(histories, offsets, strict=True)}
    return plan, bases


def _settled(plan: Plan, history: History) -> int:
    """Return from which reading on the lags' unknown past hardly matters, if that leaves enough."""
    return len(history) // 4 if len(plan.lags_s) > 1 else 0


def _cold_rows(plan: Plan, period_s: float) -> float:
    """Return after how many readings no lag's unknown past moves a sensor by a deviation."""
    sensors, regimes = len(plan.unit), len(plan.centres)
    moved = np.ptp(plan.response.reshape(sensors, -1, regimes), axis=2) / plan.unit[:, None]
    wait_s = plan.lags_s * np.log(np.maximum(moved.max(axis=0), 1.0))
    longest_s = min(float(wait_s.max()), 2.0 * float(plan.lags_s.max()))
    return max(plan.cold, float(np.ceil(longest_s / period_s)))


def _lagged(plan: Plan, history: History) -> Matrix:
    blank = FeatureModel(plan=plan, window_rows=1, centre=np.zeros(1), spread=np.ones((2, 1)))
    values = np.ascontiguousarray(history.values, dtype=np.float64)
    return regime_rows(plan, blank.new_memory(), history.instants_us, values)


def _regime_scale(residuals: Matrix, overall: Matrix) -> Matrix:
    """Return the regime's own deviation where it has the rows to tell; never far below all's."""
    if len(residuals) < 100:
        return overall
    return np.maximum(np.nan_to_num(_deviation(residuals)), 0.2 * overall)


def _some(values: Matrix) -> Matrix:
    """Give sensors without any value one zero, so that medians have something to stand on."""
    empty = np.isnan(values).all(axis=0)
    return np.where(empty, 0.0, values) if empty.any() else values


def _deviation(values: Matrix) -> Matrix:
    """Return a standard deviation that outliers do not move but quantised sensors do not break."""
    values = _some(values)
    low, high = np.nanpercentile(values, (15.87, 84.13), axis=0)
    deviation: Matrix = np.maximum((high - low) / 2, 0.3 * np.nanstd(values, axis=0))
    return deviation


def _floor(deviation: Matrix, values: Matrix) -> Matrix:
    """Keep the deviation of a sensor that hardly moved away from 0."""
    level = np.nanmedian(np.abs(_some(values)), axis=0)
    return np.maximum(deviation, 1e-3 * level + 1e-9)


def _pool(model: FeatureModel, histories: Sequence[History], kinds: Sequence[int]) -> Matrix:
    """Return the raw features of all histories but their warm-up."""
    asked = replace(model, plan=model.plan._replace(kinds=np.array(kinds, dtype=np.int64)))
    pooled = []
    for one in histories:
        rows = asked.raw(asked.new_memory(one.machine), one.instants_us, one.values)
        pooled.append(rows.features[model.skipped_rows(len(one)) :])
    return _some(np.concatenate(pooled))


def _single_spread(model: FeatureModel, histories: Sequence[History], full: Matrix) -> Matrix:
    """Return the deviation of features of a window of one reading; only levels have one."""
    kinds = np.array([kind == LEVEL for kind in model.plan.kinds])
    level = np.repeat(kinds, len(model.plan.prior))
    short = replace(model, window_rows=1)
    pooled = _deviation(_pool(short, histories, tuple(model.plan.kinds)))
    return np.where(level, np.maximum(pooled, full), full)


def _last_base(model: FeatureModel, history: History) -> Matrix:
    memory = model.new_memory(history.machine)
    model.raw(memory, history.instants_us, history.values)
    return memory.base
