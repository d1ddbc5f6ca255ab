"""How a pipeline does where people said what was what: failures to meet, alarms not to raise.

The second objective of a sweep, beside replay (`domain.replay`), wherever there are labels or
feedback. Labels are few and of the failures that somebody noticed, so they choose among
configurations that replay cannot tell apart and never instead of it (`docs/decisions/0027`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
import numpy.typing as npt

from domain.anew import begins
from domain.laid_faults import MET_SHARE
from domain.pipeline import Pipeline
from domain.readings import History


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A stretch of one machine's history around a period that a person judged.

    Attributes:
        history: Its readings; the first ones only fill windows and baselines.
        inside: Shape (n,), the readings of the period.
        healthy: Shape (n,), readings known to be healthy; all of `inside` if it was a false alarm.
        failure: The period is a failure; else an alarm that a person called false.
        words: From when on the level is learnt anew: of a machine that was repaired since, whose
            level of then no later model knows, from the first reading on.
    """

    history: History
    inside: npt.NDArray[np.bool_]
    healthy: npt.NDArray[np.bool_]
    failure: bool
    words: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult:
    """What the judged periods say of one pipeline.

    Attributes:
        right: Per piece: a failure was met, a false alarm was not raised again.
        failures: Per piece: it is a failure.
        false_alarm_rate: Share of the healthy readings that score above 1; 0 to 1, NaN without any.
    """

    right: tuple[bool, ...]
    failures: tuple[bool, ...]
    false_alarm_rate: float

    @property
    def recall(self) -> float:
        """Share of the failures that were met; NaN without any."""
        met = [right for right, failed in zip(self.right, self.failures, strict=True) if failed]
        return sum(met) / len(met) if met else nan

    @property
    def objective(self) -> float:
        """Youden's index, recall less false-alarm rate; -1 to 1, 0 is what chance gives.

        Without failures recall counts as 1, without healthy readings the rate as 0.
        W. J. Youden, "Index for rating diagnostic tests", Cancer 3 (1950).
        """
        recall, far = self.recall, self.false_alarm_rate
        return (recall if isfinite(recall) else 1.0) - (far if isfinite(far) else 0.0)

    def metrics(self) -> dict[str, float]:
        """Return the finite figures by name."""
        figures = {
            "label_objective": self.objective,
            "label_recall": self.recall,
            "label_false_alarm_rate": self.false_alarm_rate,
            "label_periods": float(len(self.right)),
        }
        return {name: value for name, value in figures.items() if isfinite(value)}

    def sentence(self) -> str:
        """Return the counts for people."""
        pairs = list(zip(self.right, self.failures, strict=True))
        met, failed = sum(r for r, f in pairs if f), sum(self.failures)
        quiet, false = sum(r for r, f in pairs if not f), len(pairs) - failed
        parts = [f"meets {met} of {failed} labelled failures"] if failed else []
        parts += [f"keeps quiet at {quiet} of {false} alarms called false"] if false else []
        return " and ".join(parts)


def judge_labelled(pipeline: Pipeline, pieces: Sequence[Piece]) -> LabelResult:
    """Score the pieces as the stream would have.

    Args:
        pipeline: Fitted.
        pieces: At least one, of machines with the pipeline's sensors.
    """
    right, alarms, healthy = [], 0, 0
    for one in pieces:
        state = pipeline.new_state(one.history.machine)
        at = one.history.instants_us
        scores = pipeline.score(state, at, one.history.values, anew=begins(at, one.words))
        told = (scores.score > 1) & scores.ready
        met = bool(told[one.inside].mean() >= MET_SHARE)
        right.append(met is one.failure)
        alarms += int(told[one.healthy].sum())
        healthy += int(one.healthy.sum())
    return LabelResult(
        right=tuple(right),
        failures=tuple(one.failure for one in pieces),
        false_alarm_rate=alarms / healthy if healthy else nan,
    )
