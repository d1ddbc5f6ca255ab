"""A machine was repaired, and somebody says so: its level is learnt anew. Pure.

1. A word names an instant. It takes effect at the first reading at or after it: the baselines are
   learnt from there on, the window begins empty and nothing is told until they are known
   (`kernel.RENEWAL` windows). What the machine's class is like, and the past of its regimes, stay.
2. A word may come late. Verdicts that were given stay as they are; whatever is judged after it was
   heard is judged as if it had been known in time. So a restart, a replay and a question over HTTP
   find the same level, and the machine need not be left unjudged a second time.
3. A model that learnt nothing of the machine from before the word knows the new level already.
4. A level that was learnt is kept with the first readings after the word: who begins later goes on
   from what those said, and not from what the machine shows now, which may be its next failure.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from domain.features.kernel import RENEWAL
from domain.pipeline import Pipeline
from domain.readings import Flags, History, Instants


def learning_s(pipeline: Pipeline) -> float:
    """Return how long after a word's first reading nothing is told, seconds."""
    return RENEWAL * pipeline.front.window_rows * pipeline.machine_class.period_s


def acting(pipeline: Pipeline, machine: str | None, words: Sequence[int]) -> tuple[int, ...]:
    """Return the words on a machine that its model does not know of, ascending.

    Args:
        pipeline: The model.
        machine: Name of the machine; None where it is not registered.
        words: Instants, microseconds UTC.
    """
    if not words:
        return ()
    known = pipeline.about.get("since_us")
    first = known.get(machine) if isinstance(known, Mapping) else None
    return tuple(sorted(one for one in words if first is None or one > first))


def in_effect(words: Sequence[int], last_us: int) -> int | None:
    """Return the newest of ascending words up to an instant; None where there is none."""
    return max((one for one in words if one <= last_us), default=None)


def begins(instants_us: Instants, words: Sequence[int]) -> Flags:
    """Return at which readings a word takes effect, shape (n,).

    >>> begins(np.array([10, 20, 30]), [11, 12, 31]).tolist()
    [False, True, False]
    """
    out = np.zeros(len(instants_us) + 1, dtype=np.bool_)
    if words:
        out[np.searchsorted(instants_us, np.array(words, dtype=np.int64))] = True
    return out[:-1]


def unheard(
    instants_us: Instants, words: Sequence[int], known_us: int | None
) -> tuple[Flags, int | None]:
    """Return at which readings a word takes effect that a state does not know, and the newest then.

    Args:
        instants_us: Shape (n,), ascending; what is scored next.
        words: Ascending.
        known_us: The word that the state knows of; None where it knows of none.

    Returns:
        Shape (n,), and the word that the state knows of after them.
    """
    flags = begins(instants_us, [one for one in words if known_us is None or one > known_us])
    return flags, in_effect(words, int(instants_us[-1])) if len(instants_us) else known_us


def since_last(history: History, words: Sequence[int], *, settled_s: float = 0.0) -> History:
    """Return a machine's readings since the newest word; all of them without one.

    Args:
        history: Of one machine.
        words: Instants, microseconds UTC.
        settled_s: None are returned where they last less long.
    """
    if not len(history) or not words:
        return history
    at = history.instants_us
    first = int(np.searchsorted(at, max(words)))
    if 0 < first < len(at) and at[-1] - at[first] < settled_s * 1e6:
        first = len(at)
    return history.take(slice(first, None))
