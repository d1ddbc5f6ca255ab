"""Learning what healthy machines of a class look like, before any detector."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from domain.features.front import FeatureModel
from domain.features.kernel import regime_rows
from domain.features.kinds import FEATURE_SETS, LEVEL, PARTS, is_gated, is_whitened
from domain.features.operating import LAGS_S, OperatingPoints, find_regimes, fit_response
from domain.features.robust import deviation, floored, without_void
from domain.features.state import Plan, Shape, fresh_memory
from domain.features.trust import freedom_of
from domain.features.whitening import whitening_of
from domain.readings import History, Matrix

THIN: Final = 4
"""Every so many readings are used to compare numbers of regimes."""

WORTH: Final = 0.02
"""A regime more must lower the sensors' unexplained deviation by 2 % on average."""

LEAK: Final = 0.02
"""A frozen baseline follows at this share of its rate: nothing stays an alarm for weeks."""

PASTS: Final = 0.99
"""Share of pasts after which the wait of a machine without a known past is long enough."""

LONGEST: Final = 4.0
"""Longest such wait, in the longest lag."""

WILD: Final = 6.0
"""A new machine may differ from its class by that many deviations and still teach a baseline."""


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
    def horizon_s(self) -> float:
        """Seconds after the training period that whitening looks ahead."""
        ...

    @property
    def regimes(self) -> int:
        """At most this many regimes."""
        ...

    def window_rows(self, period_s: float) -> int:
        """Readings that a window holds; >= 1."""
        ...


def fit_features(
    spec: FrontSpec, histories: Sequence[History], *, period_s: float, seed: int
) -> FeatureModel:
    """Learn regimes, responses, scales and healthy feature statistics.

    Args:
        spec: The hyperparameters.
        histories: Mostly healthy; at least one with two readings.
        period_s: Nominal seconds between readings.
        seed: Of the clustering of regimes.
    """
    found = find_regimes([one.values for one in histories], most=spec.regimes, seed=seed)
    window_rows = spec.window_rows(period_s)
    blank = _best_plan([_blank_plan(spec, one, period_s) for one in found], histories)
    plan, bases, freedom = _fit_residuals(blank, histories, window_rows)
    plan = _with_past(plan, histories, period_s)
    features = len(plan.kinds) * len(plan.prior)
    model = FeatureModel(
        plan=plan,
        window_rows=window_rows,
        centre=np.zeros(features),
        spread=np.ones((2, features)),
        freedom=np.tile(freedom, len(plan.kinds)),
        bases=bases,
    )
    model = _standardised(model, spec, histories)
    if not is_whitened(spec.features):
        return model
    rows = [
        model.transform(model.new_memory(one.machine), one.instants_us, one.values).features
        for one in histories
    ]
    settled = [one[model.skipped_rows(len(one)) :] for one in rows]
    return replace(model, whitening=whitening_of(settled, horizon_rows=spec.horizon_s / period_s))


def _standardised(
    model: FeatureModel, spec: FrontSpec, histories: Sequence[History]
) -> FeatureModel:
    """Measure healthy features; first without a gate, whose width is one of them."""
    gate = deviation(_pool(model, histories, (LEVEL,)))
    gated = replace(model, plan=model.plan._replace(gate=spec.gate_sd * gate))
    pooled = _pool(gated, histories, tuple(model.plan.kinds))
    centre, full = np.nanmedian(pooled, axis=0), deviation(pooled)
    full[full < 1e-9] = 1.0  # what never moved is measured in its floor
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
        past=np.full(regimes * (len(LAGS_S) if regimes > 1 else 1), np.nan),
        unit=np.ones(sensors),
        scale=np.ones((regimes, sensors)),
        prior=np.ones(sensors),
        wild=np.full(sensors, np.inf),
        cold=2.0 * spec.window_rows(period_s),
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
        residuals = without_void(one - past @ response.T)
        left.append(np.nanvar(residuals, axis=0))
    return float(0.5 * np.log(np.mean(left, axis=0) + 1e-12).mean())


def _fit_residuals(
    plan: Plan, histories: Sequence[History], window_rows: int
) -> tuple[Plan, dict[str, Matrix], Matrix]:
    """Learn response, scales, machines' levels and how well the scales are known."""
    settled = [_settled(plan, one) for one in histories]
    lagged = [_lagged(plan, one)[rows:] for one, rows in zip(histories, settled, strict=True)]
    values = [one.values[rows:] for one, rows in zip(histories, settled, strict=True)]
    plan = plan._replace(response=fit_response(lagged, values))
    residuals = [one - past @ plan.response.T for past, one in zip(lagged, values, strict=True)]
    offsets = [np.nan_to_num(np.nanmedian(without_void(one), axis=0)) for one in residuals]
    around = [one - at for one, at in zip(residuals, offsets, strict=True)]
    centred = np.concatenate(around)
    regime = np.concatenate([past[:, : len(plan.centres)].argmax(axis=1) for past in lagged])
    overall = floored(deviation(centred), np.concatenate(values))
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
    return plan, bases, freedom_of(around, window_rows)


def _settled(plan: Plan, history: History) -> int:
    """Return from which reading on the lags' unknown past hardly matters, if that leaves enough."""
    return len(history) // 4 if len(plan.lags_s) > 1 else 0


def _with_past(plan: Plan, histories: Sequence[History], period_s: float) -> Plan:
    """Learn the regimes' usual past, and how long a machine that begins with it is not judged.

    A machine that is met in the middle of its work has a past that nobody saw. Begun with the usual
    one, a sensor is wrong by the response to the difference, which dies away with each lag. The
    wait is over when in `PASTS` of all pasts less than a deviation is left of it.
    """
    lagged = [_lagged(plan, one)[_settled(plan, one) :: THIN] for one in histories]
    pasts = np.concatenate(lagged)
    usual = pasts.mean(axis=0)
    lags = np.repeat(plan.lags_s, len(plan.centres))
    wait_s, step_s = 0.0, max(float(plan.lags_s.max()) / 8, period_s)
    while wait_s < LONGEST * plan.lags_s.max():
        left = np.exp(-wait_s / np.maximum(lags, 1e-9)) * (pasts - usual)
        wrong = np.abs(left @ plan.response.T) / plan.unit
        if np.quantile(wrong, PASTS, axis=0).max() < 1:
            break
        wait_s += step_s
    return plan._replace(past=usual, cold=max(plan.cold, float(np.ceil(wait_s / period_s))))


def _lagged(plan: Plan, history: History) -> Matrix:
    sensors, lagged = plan.response.shape
    shape = Shape(window_rows=1, sensors=sensors, lagged=lagged, waves=0)
    memory = fresh_memory(shape, base=np.zeros(sensors))
    values = np.ascontiguousarray(history.values, dtype=np.float64)
    return regime_rows(plan, memory, history.instants_us, values)


def _regime_scale(residuals: Matrix, overall: Matrix) -> Matrix:
    """Return the regime's own deviation where it has the rows to tell; never far below all's."""
    if len(residuals) < 100:
        return overall
    scale: Matrix = np.maximum(np.nan_to_num(deviation(residuals)), 0.2 * overall)
    return scale


def _pool(model: FeatureModel, histories: Sequence[History], kinds: Sequence[int]) -> Matrix:
    """Return the raw features of all histories but their warm-up."""
    asked = replace(model, plan=model.plan._replace(kinds=np.array(kinds, dtype=np.int64)))
    pooled = []
    for one in histories:
        rows = asked.raw(asked.new_memory(one.machine), one.instants_us, one.values)
        pooled.append(rows.features[model.skipped_rows(len(one)) :])
    return without_void(np.concatenate(pooled))


def _single_spread(model: FeatureModel, histories: Sequence[History], full: Matrix) -> Matrix:
    """Return the deviation of features of a window of one reading; only means have one."""
    kinds = np.array([int(kind) in PARTS for kind in model.plan.kinds])
    level = np.repeat(kinds, len(model.plan.prior))
    short = replace(model, window_rows=1)
    pooled = deviation(_pool(short, histories, tuple(model.plan.kinds)))
    spread: Matrix = np.where(level, np.maximum(pooled, full), full)
    return spread


def _last_base(model: FeatureModel, history: History) -> Matrix:
    memory = model.new_memory(history.machine)
    model.raw(memory, history.instants_us, history.values)
    return memory.base
