"""What is known of one machine beside its model, and what that makes of its scores. Pure.

Stream, HTTP and console call `adjusted` on what the pipeline gave, with the same `Care` from
Postgres, so that equal input gives equal scores here as well:

1. limits that feedback moved: a factor on each sensor's part, see `domain.limits`;
2. cold start: a machine that the model was not trained on is judged with widened limits until its
   own history is long enough to carry it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.anew import acting, in_effect, learning_s
from domain.limits import vector
from domain.pipeline import Pipeline, Scores
from domain.readings import Instants
from domain.wire import format_instant

WIDEST: Final = 2.0
"""A score of a machine without any history is divided by this."""

_BASELINES: Final = 2.0
_WARMUPS: Final = 2.0
"""A history carries a machine when it is longer than so many time constants of the baseline, and
than so many warm-ups of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A period of maintenance, in the time of readings.

    Attributes:
        starts_us: First instant, microseconds UTC.
        ends_us: Last instant; None until somebody ends it.
    """

    starts_us: int
    ends_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """One machine's own.

    Attributes:
        factors: Sensor name → factor on its part in a score; 1 where there is none.
        windows: Periods of maintenance, of the machine or of its class.
        anew_us: From when on its level is to be learnt anew, for it was repaired; ascending
            microseconds UTC, see `domain.anew`.
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    anew_us: tuple[int, ...] = ()

    def under_maintenance(
        self, instants_us: Instants, *, settle_us: int = 0
    ) -> npt.NDArray[np.bool_]:
        """Return which readings lie within a window, shape (n,).

        Args:
            instants_us: Shape (n,).
            settle_us: How long after a window the model still looks back on it.
        """
        inside = np.zeros(len(instants_us), dtype=np.bool_)
        for one in self.windows:
            late = one.ends_us is not None and instants_us > one.ends_us + settle_us
            inside |= (instants_us >= one.starts_us) & ~np.asarray(late)
        return inside


NO_CARE: Final = Care()


def is_cold(pipeline: Pipeline, machine: str | None) -> bool:
    """Say whether a machine is registered and the model was not trained on it."""
    return machine is not None and machine not in pipeline.front.bases


def own_history_s(pipeline: Pipeline) -> float:
    """Return how long a machine's own history must be to carry it, seconds."""
    warmup_s = pipeline.warmup_rows * pipeline.machine_class.period_s
    return max(_BASELINES * pipeline.spec.baseline_s, _WARMUPS * warmup_s)


def widening(pipeline: Pipeline, instants_us: Instants, first_us: int) -> npt.NDArray[np.float64]:
    """Return what a new machine's scores are divided by: `WIDEST` at first, then down to 1.

    Args:
        pipeline: The class's model.
        instants_us: Shape (n,).
        first_us: Instant of the machine's first reading.
    """
    age_s = (instants_us - first_us) / 1e6
    carried = np.clip(age_s / own_history_s(pipeline), 0.0, 1.0)
    out: npt.NDArray[np.float64] = WIDEST - (WIDEST - 1) * carried
    return out


def adjusted(
    pipeline: Pipeline,
    scores: Scores,
    instants_us: Instants,
    care: Care = NO_CARE,
    *,
    first_us: int | None = None,
) -> Scores:
    """Return scores as this machine's limits see them; the very same where it has none of its own.

    Args:
        pipeline: What scored.
        scores: Of n readings; where only the last of them are explained there must be no factors.
        instants_us: Shape (n,).
        care: The machine's own.
        first_us: Instant of the machine's first reading where it is cold; None where it is not.
    """
    if not care.factors and first_us is None:
        return scores
    parts, score = scores.contributions, scores.score
    if care.factors:
        parts = parts * vector(care.factors, pipeline.machine_class.sensor_names)
        score = parts.sum(axis=1)
    if first_us is not None:
        wide = widening(pipeline, instants_us, first_us)
        parts, score = parts / wide[len(wide) - len(parts) :, None], score / wide
    return replace(scores, score=score, contributions=parts)


def notes(
    pipeline: Pipeline,
    care: Care,
    instant_us: int,
    first_us: int | None,
    *,
    machine: str | None = None,
) -> tuple[str, ...]:
    """Return in words what limits or changes the score of a reading, for people."""
    told = []
    word = in_effect(acting(pipeline, machine, care.anew_us), instant_us)
    if word is not None:
        told.append(
            f"repaired: the level is learnt anew since {format_instant(word)}, from the first "
            f"{learning_s(pipeline):.0f} s of readings"
        )
    if first_us is not None:
        wide = float(widening(pipeline, np.array([instant_us], dtype=np.int64), first_us)[0])
        if wide > 1:
            told.append(
                f"cold start: a new machine with {max(0.0, (instant_us - first_us) / 1e6):.0f} s "
                f"of its own history, {own_history_s(pipeline):.0f} s carry it; it is judged with "
                f"its class's model and limits {wide:.2f} times as wide"
            )
    if care.factors:
        moved = ", ".join(f"{name} ×{factor:.2f}" for name, factor in sorted(care.factors.items()))
        told.append(f"limits moved by feedback: {moved}")
    if care.under_maintenance(np.array([instant_us], dtype=np.int64))[0]:
        told.append("under maintenance: nothing is opened")
    return tuple(told)
