"""The two rungs of a sweep, without a cluster."""

from typing import Any

import pytest
from ray.tune.search import Searcher

from domain.pipeline_spec import PipelineSpec
from tuning.challenger import best
from tuning.ladder import Ladder
from tuning.objective import FAILED, Outcome, TrialRecord


class Numbers(Searcher):
    """Hands out numbers instead of configurations, and remembers what it is told."""

    def __init__(self) -> None:
        super().__init__(metric="objective", mode="max")
        self.given = 0
        self.told: list[str] = []

    def suggest(self, trial_id: str) -> dict[str, Any]:  # noqa: ARG002 - Tune's signature
        """Return the next number."""
        self.given += 1
        return {"margin": float(self.given)}

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002 - Tune's signature
        error: bool = False,  # noqa: ARG002, FBT001, FBT002 - Tune's signature
    ) -> None:
        """Remember."""
        self.told.append(trial_id)


@pytest.fixture
def inner() -> Numbers:
    """Return what the ladder asks."""
    return Numbers()


def begin(ladder: Ladder, count: int) -> None:
    """Ask for the first rung."""
    for number in range(count):
        assert ladder.suggest(f"t{number}")["stage"] == "screen"


def end(ladder: Ladder, number: int, objective: float | None) -> None:
    """End a trial of the first rung; None is one whose process died."""
    result = None if objective is None else {"objective": objective}
    ladder.on_trial_complete(f"t{number}", result, error=objective is None)


def margins(ladder: Ladder, count: int) -> list[float]:
    """Ask for finalists and return which configurations they have."""
    asked = [ladder.suggest(f"f{number}") for number in range(count)]
    assert {one["stage"] for one in asked} <= {"confirm"}
    return [one["spec"]["margin"] for one in asked]


def test_the_best_are_tried_again(inner: Numbers) -> None:
    """In order of their objective; then there is nothing left, and Optuna knew only the first."""
    ladder = Ladder(inner, 4, 2)
    begin(ladder, 4)
    for number, objective in enumerate((0.1, 0.4, 0.2, 0.3)):
        end(ladder, number, objective)

    assert margins(ladder, 2) == [2.0, 4.0]
    assert ladder.suggest("f2") == Searcher.FINISHED
    ladder.on_trial_complete("f0", {"objective": 0.9})
    assert inner.told == ["t0", "t1", "t2", "t3"]


def test_only_a_sure_finalist_is_given_out_early(inner: Numbers) -> None:
    """With one trial under way the best so far is among two finalists however it ends."""
    ladder = Ladder(inner, 3, 2)
    begin(ladder, 3)
    assert ladder.suggest("f0") is None
    end(ladder, 0, 0.1)
    assert ladder.suggest("f0") is None
    end(ladder, 1, 0.2)
    assert ladder.suggest("f0")["spec"] == {"margin": 2.0}
    assert ladder.suggest("f1") is None
    end(ladder, 2, 0.3)
    assert ladder.suggest("f1")["spec"] == {"margin": 3.0}
    assert ladder.suggest("f2") == Searcher.FINISHED


def test_what_failed_is_no_finalist(inner: Numbers) -> None:
    """A configuration that could not be judged, or whose process died, is not tried again."""
    ladder = Ladder(inner, 3, 3)
    begin(ladder, 3)
    end(ladder, 0, FAILED)
    end(ladder, 1, None)
    end(ladder, 2, 0.0)

    assert margins(ladder, 1) == [3.0]
    assert ladder.suggest("f1") == Searcher.FINISHED


def test_what_is_to_beat_is_a_finalist_in_any_case(inner: Numbers) -> None:
    """As soon as it is known, and in the place of the last one; alone it would have won unseen."""
    ladder = Ladder(inner, 4, 2, lambda drawn: drawn["margin"] == 1.0)
    begin(ladder, 4)
    assert ladder.suggest("f0") is None
    end(ladder, 0, 0.1)
    assert ladder.suggest("f0")["spec"] == {"margin": 1.0}
    for number, objective in enumerate((0.4, 0.2, 0.3), 1):
        assert ladder.suggest("f1") is None
        end(ladder, number, objective)
    assert ladder.suggest("f1")["spec"] == {"margin": 2.0}
    assert ladder.suggest("f2") == Searcher.FINISHED

    lone = Ladder(Numbers(), 2, 1, lambda drawn: drawn["margin"] == 1.0)
    begin(lone, 2)
    end(lone, 0, 0.1)
    end(lone, 1, 0.2)
    assert margins(lone, 1) == [2.0]


def test_what_is_to_beat_and_failed_is_no_finalist(inner: Numbers) -> None:
    """Then the others have all places."""
    ladder = Ladder(inner, 3, 2, lambda drawn: drawn["margin"] == 1.0)
    begin(ladder, 3)
    for number, objective in enumerate((FAILED, 0.4, 0.2)):
        end(ladder, number, objective)

    assert margins(ladder, 2) == [2.0, 3.0]


def test_numbers_follow_the_order_of_asking(inner: Numbers) -> None:
    """A trial's number is its own over both rungs."""
    ladder = Ladder(inner, 2, 1)
    numbers = [ladder.suggest(f"t{number}")["number"] for number in range(2)]
    end(ladder, 0, 0.5)
    end(ladder, 1, 0.4)

    assert [*numbers, ladder.suggest("f0")["number"]] == [0, 1, 2]


def test_finalists_are_best_in_both_objectives(inner: Numbers) -> None:
    """The best by labels is tried again beside the best by replay; who loses in both is not."""
    ladder = Ladder(inner, 3, 2)
    begin(ladder, 3)
    for number, (objective, by_labels) in enumerate(((0.6, 0.1), (0.5, 0.05), (0.3, 0.9))):
        told = {"objective": objective, "label_objective": by_labels}
        ladder.on_trial_complete(f"t{number}", told)

    assert margins(ladder, 2) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("by_labels", "chosen"), [((0.2, 0.9, 1.0), 1), ((None, None, None), 0), ((0.5, 0.5, 1.0), 0)]
)
def test_labels_choose_among_what_replay_cannot_tell_apart(
    by_labels: tuple[float | None, ...], chosen: int
) -> None:
    """The third finalist is best by labels and too far behind in replay."""
    trials = [
        TrialRecord(
            number=number,
            stage="confirm",
            spec=PipelineSpec(),
            outcome=Outcome(
                metrics={"objective": objective}
                | ({} if label is None else {"label_objective": label}),
                seconds=1.0,
            ),
        )
        for number, (objective, label) in enumerate(zip((0.7, 0.67, 0.5), by_labels, strict=True))
    ]

    assert best(trials).number == chosen
