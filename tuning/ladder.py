"""The order of a sweep's trials: many on little data, then the best of them again on more."""

from collections.abc import Callable
from typing import Any, Final

from ray.tune.search import Searcher

from tuning.objective import FAILED, Stage

_NEITHER: Final = (FAILED, FAILED)


class Ladder(Searcher):
    """Asks Optuna for configurations, then gives the best of them a second trial on more data.

    Successive halving in two rungs. While the last trials of the first rung are under way, only a
    configuration that will be among the finalists however they end is given out, so that neither
    actors idle nor the finalists hang on the order in which trials end. With two objectives the
    best are those that fewest others beat in both. What the others have to beat is a finalist in
    any case, where there is room for another one.

    Args:
        inner: Draws configurations.
        trials: Of the first rung.
        finalists: Of the second.
        beaten: Told a drawn configuration, whether it is the one to beat.
    """

    def __init__(
        self,
        inner: Searcher,
        trials: int,
        finalists: int,
        beaten: Callable[[dict[str, Any]], bool] = lambda _: False,
    ) -> None:
        super().__init__(metric="objective", mode="max")
        self._inner, self._trials, self._finalists = inner, trials, finalists
        self._beaten = beaten
        self._drawn: dict[str, dict[str, Any]] = {}
        self._objectives: dict[str, tuple[float, float]] = {}
        self._second: list[str] = []
        self._asked = 0

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration; None while it is not decided."""
        if len(self._drawn) < self._trials:
            self._drawn[trial_id] = self._inner.suggest(trial_id) or {}
            return self._config("screen", self._drawn[trial_id])
        under_way = self._trials - len(self._objectives)
        if len(self._second) == self._finalists or not (left := self._ranked()):
            return None if under_way else Searcher.FINISHED
        sure = len(self._second) + 1 + under_way <= self._finalists
        if not sure and not self._is_to_beat(left[0]):
            return None
        self._second.append(left[0])
        return self._config("confirm", self._drawn[left[0]])

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 - Tune's signature
    ) -> None:
        """Tell Optuna how a first trial ended."""
        # A process that dies after its result is told a second time: the result stands.
        if trial_id in self._drawn and trial_id not in self._objectives:
            told = result or {}
            self._objectives[trial_id] = (
                told.get("objective", FAILED),
                told.get("label_objective", FAILED),
            )
            self._inner.on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a sweep that dies begins anew, it takes a minute."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore; see `save`."""

    def _config(self, stage: Stage, drawn: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        return {"number": self._asked - 1, "stage": stage, "spec": drawn}

    def _ranked(self) -> list[str]:
        """Return trials that worked and have no second one yet, the best first."""
        worked = [
            one
            for one in self._drawn
            if self._objectives.get(one, _NEITHER)[0] > FAILED and one not in self._second
        ]
        # Without labels the second objective is the same for all, and the first one alone decides.
        return sorted(
            worked,
            key=lambda one: (
                not self._is_to_beat(one),
                self._beaten_by(one),
                -self._objectives[one][0],
            ),
        )

    def _is_to_beat(self, trial_id: str) -> bool:
        return self._finalists > 1 and self._beaten(self._drawn[trial_id])

    def _beaten_by(self, trial_id: str) -> int:
        """Return how many trials are at least as good in both objectives and better in one."""
        mine = self._objectives[trial_id]
        return sum(
            other != mine and other[0] >= mine[0] and other[1] >= mine[1]
            for other in self._objectives.values()
        )
