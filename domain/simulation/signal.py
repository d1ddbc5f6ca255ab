"""The healthy signal of one machine, in blocks.

All that depends on the past is computed in blocks of fixed length that begin at fixed steps. So it
does not matter in which portions a machine is asked to advance: the numbers are the same bits.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.class_spec import ClassSpec, SensorSpec
from domain.jit import njit
from domain.readings import Instants, Matrix
from domain.simulation.regimes import RegimeTimeline

type Row = npt.NDArray[np.float64]
"""Shape (sensors,)."""

BLOCK = 128
"""Steps of a block: long enough to spread numpy's cost per call, short enough for large fleets."""

_DRIFT_S = 6 * 3600.0
"""Time constant of healthy drift: a level wanders over a shift, not over a minute."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignalPlan:
    """What all machines of a class share, as arrays in the order of its sensors.

    Attributes:
        spec: The class.
        period_us: Microseconds between readings.
        factors: Shape (regimes, sensors), on the level.
        regime_noise: Shape (regimes,).
        effort: Shape (regimes,).
        mixing: Shape (sensors, sensors); turns independent into correlated innovations.
        memory: Shape (sensors,), autocorrelation of the noise from one reading to the next.
        lag: Shape (sensors,), share of the old level that is left after one period.
        sd: Shape (sensors,).
        white: Shape (sensors,), square root of the white share of the variance.
        drift: Shape (sensors,), in the sensor's unit.
    """

    spec: ClassSpec
    period_us: int
    factors: Matrix
    regime_noise: Row
    effort: Row
    mixing: Matrix
    memory: Row
    lag: Row
    sd: Row
    white: Row
    drift: Row

    @classmethod
    def of(cls, spec: ClassSpec, period_us: int) -> "SignalPlan":
        """Lay out a class for readings this far apart."""
        period_s = period_us / 1e6
        sensors, regimes = spec.sensors, spec.regimes
        return cls(
            spec=spec,
            period_us=period_us,
            factors=np.array([[s.regimes.get(name, 1.0) for s in sensors] for name in regimes]),
            regime_noise=np.array([regime.noise for regime in regimes.values()]),
            effort=np.array([regime.effort for regime in regimes.values()]),
            mixing=_mixing(spec),
            memory=np.array([_kept(period_s, s.memory_s) for s in sensors]),
            lag=np.array([_kept(period_s, s.lag_s) for s in sensors]),
            sd=np.array([s.sd for s in sensors]),
            white=np.sqrt(np.array([s.white for s in sensors])),
            drift=np.array([s.drift * s.sd for s in sensors]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Healthy readings of BLOCK successive steps.

    Attributes:
        instants_us: Shape (BLOCK,).
        mean: Shape (BLOCK, sensors); level, regime and drift.
        noise: Shape (BLOCK, sensors).
        effort: Shape (BLOCK,); how strongly a machine failure would show.
    """

    instants_us: Instants
    mean: Matrix
    noise: Matrix
    effort: Row


class HealthySignal:
    """One machine's healthy signal; every call of `block` goes on where the last ended.

    Attributes:
        level: Shape (sensors,), this machine's own mean under load.
    """

    def __init__(self, plan: SignalPlan, seed: np.random.SeedSequence, start_us: int) -> None:
        noise, regimes, birth = (np.random.default_rng(child) for child in seed.spawn(3))
        self._plan, self._rng, self._next_us = plan, noise, start_us
        self._timeline = RegimeTimeline(plan.spec, regimes, start_us)
        count = len(plan.sd)
        spread = np.array([s.spread * s.sd for s in plan.spec.sensors])
        self.level = _levels(plan.spec.sensors) + spread * birth.standard_normal(count)
        self._followed = self.level * plan.factors[0]
        self._noise = plan.mixing @ birth.standard_normal(count)
        self._drift = np.zeros(count)

    def block(self) -> Block:
        """Return the next BLOCK steps."""
        plan, count = self._plan, len(self.level)
        instants = self._next_us + plan.period_us * np.arange(BLOCK, dtype=np.int64)
        self._next_us += plan.period_us * BLOCK
        regimes = self._timeline.at(instants)
        # Three draws a step and sensor: noise with memory, white noise, drift.
        drawn = self._rng.standard_normal((BLOCK, 3, count))
        kept = np.full(count, _kept(plan.period_us / 1e6, _DRIFT_S))
        level = follow(self.level * plan.factors[regimes], plan.lag, 1 - plan.lag, self._followed)
        slow = follow(
            drawn[:, 0] @ plan.mixing.T, plan.memory, np.sqrt(1 - plan.memory**2), self._noise
        )
        drift = follow(drawn[:, 2], kept, np.sqrt(1 - kept**2), self._drift)
        noise = np.sqrt(1 - plan.white**2) * slow + plan.white * drawn[:, 1]
        return Block(
            instants_us=instants,
            mean=level + plan.drift * drift,
            noise=plan.sd * plan.regime_noise[regimes][:, None] * noise,
            effort=plan.effort[regimes],
        )


@njit
def follow(inputs: Matrix, kept: Row, gain: Row, state: Row) -> Matrix:
    """First-order recurrence down each column: state = kept * state + gain * input.

    Args:
        inputs: Shape (n, sensors).
        kept: Shape (sensors,).
        gain: Shape (sensors,).
        state: Shape (sensors,); carried on in place.

    Returns:
        Shape (n, sensors), the state after each row.
    """
    out = np.empty_like(inputs)
    for row in range(inputs.shape[0]):
        for column in range(inputs.shape[1]):
            state[column] = kept[column] * state[column] + gain[column] * inputs[row, column]
            out[row, column] = state[column]
    return out


def _kept(period_s: float, time_constant_s: float) -> float:
    return float(np.exp(-period_s / time_constant_s)) if time_constant_s else 0.0


def _levels(sensors: tuple[SensorSpec, ...]) -> Row:
    return np.array([sensor.level for sensor in sensors])


def _mixing(spec: ClassSpec) -> Matrix:
    wanted = np.eye(len(spec.sensors))
    for pair in spec.correlations:
        one, other = (spec.column(name) for name in pair.between)
        wanted[one, other] = wanted[other, one] = pair.r
    # Pairs are stated one by one and may contradict each other: take the nearest that can be.
    eigenvalues, vectors = np.linalg.eigh(wanted)
    possible = (vectors * np.maximum(eigenvalues, 1e-6)) @ vectors.T
    scale = 1 / np.sqrt(np.diag(possible))
    return np.asarray(np.linalg.cholesky(possible * scale * scale[:, None]))
