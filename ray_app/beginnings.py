"""From which stored readings a machine's state begins again, alike for everybody who scores it."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.anew import begins, in_effect
from domain.pipeline import Pipeline, PipelineState
from domain.readings import History, Matrix, widened
from storage.connect import Connection
from storage.history import read_history

MOST_ROWS = 4000
"""Stored readings per machine that are looked back on."""

_BASELINES = 2.0
"""Time constants of the baseline after which the beginning no longer matters."""


class PastReadings(Protocol):
    """Where stored readings come from."""

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return at most `rows` newest readings of a machine before an instant."""

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return at most `rows` oldest readings of a machine from an instant up to another."""


class StoredReadings:
    """Readings as a session finds them.

    Args:
        on: The session.
    """

    def __init__(self, on: Connection) -> None:
        self._on = on

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return at most `rows` newest readings of a machine before an instant."""
        return read_history(self._on, [machine], 0, instant_us, last=rows)[0]

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return at most `rows` oldest readings of a machine from an instant up to another."""
        return read_history(self._on, [machine], from_us, before_us, first=rows)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beginning:
    """What a machine's state is made of before the readings that are asked about.

    Attributes:
        past: Readings to go through first.
        words: What takes effect from the first of them on.
        level: Shape (S,), see `Pipeline.new_state`; None where nothing was learnt anew before.
        word_us: By which the level after `past` is learnt anew; None where it is not.
    """

    past: History
    words: tuple[int, ...] = ()
    level: Matrix | None = None
    word_us: int | None = None


def look_back(pipeline: Pipeline) -> int:
    """Return how many stored readings restore a machine's windows, baselines and excursions."""
    baseline = _BASELINES * pipeline.spec.baseline_s / pipeline.machine_class.period_s
    known = pipeline.warmup_rows + pipeline.lasting.rows
    return min(max(known, round(baseline)), MOST_ROWS)


def beginning(  # noqa: PLR0913, PLR0917 - who, by what, from where and until when
    pipeline: Pipeline,
    past: PastReadings,
    machine: str,
    before_us: int,
    rows: int,
    words: Sequence[int] = (),
    levels: MutableMapping[int, Matrix] | None = None,
) -> Beginning:
    """Return what restores a machine's state before an instant.

    Soon after a word all readings since then are gone through, so that the scores are those of who
    was there; later the level that they made is taken, with the usual readings after it.

    Args:
        pipeline: Its model.
        past: Stored readings.
        machine: Its name.
        before_us: Instant of the first reading that is asked about.
        rows: Readings to look back on where nothing was learnt anew.
        words: `acting` ones.
        levels: Word → level, of this machine by this model, kept up for the next time.

    Raises:
        ServiceUnavailableError: The store is away.
    """
    word = in_effect(words, before_us - 1)
    if word is None:
        return Beginning(past=past.before(machine, before_us, rows), words=tuple(words))
    later, most = tuple(one for one in words if one > word), look_back(pipeline)
    level = None if levels is None else levels.get(word)
    if level is not None:
        recent = past.before(machine, before_us, rows)
        return Beginning(past=recent, words=later, level=level, word_us=word)
    first = past.since(machine, word, before_us, most)
    lead = past.before(machine, word, pipeline.warmup_rows)
    whole = first.after(lead)
    if len(first) < most:
        return Beginning(past=whole, words=(word, *later), word_us=word if len(first) else None)
    level = gone_through(pipeline, Beginning(past=whole, words=(word,))).level
    if levels is not None:
        levels[word] = level
    recent = past.before(machine, before_us, rows)
    return Beginning(past=recent, words=later, level=level, word_us=word)


def gone_through(pipeline: Pipeline, begun: Beginning) -> PipelineState:
    """Return a machine's state after its past."""
    past = begun.past
    state = pipeline.new_state(past.machine, level=begun.level)
    if len(past):
        values = widened(past.values, len(pipeline.machine_class.sensors))
        anew = begins(past.instants_us, begun.words)
        pipeline.score(state, past.instants_us, values, explained=slice(-1, None), anew=anew)
    return state
