"""The periods of a class that people judged: labelled failures, and alarms they called false."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from domain.labelled import Piece
from domain.machines import MachineClass
from domain.scorecard.backtest import SENSOR_PREFIX
from storage import failures
from storage.care import words
from storage.connect import Connection, rows
from storage.history import microseconds, read_history
from storage.suspicion import suspected
from tuning.data import machines_of, unsuspected

_MOST: Final = 8
"""Newest periods of each kind: every trial scores them all, in a fraction of what replay takes."""

_CONTEXT_ROWS: Final = 900
_PERIOD_ROWS: Final = 900
"""Readings before a period, and of it. A fault that shows later than that counts as missed by all
configurations alike."""

_FEWEST_ROWS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Period:
    machine: str
    from_us: int
    to_us: int | None
    failure: bool


def read(on: Connection, known: MachineClass, margin_s: float) -> tuple[Piece, ...]:
    """Return the newest judged periods of a class with the readings before them, oldest first.

    What a simulator knows of its failures is left out as in training, and so are labels of
    sensors' faults.

    Args:
        on: A session.
        known: The class.
        margin_s: Seconds around suspected failures whose readings are not taken for healthy.
    """
    names = machines_of(on, known.name)
    found = [*islice(_failures(on, names), _MOST), *_false_alarms(on, known.name)]
    ordered = sorted(found, key=lambda one: (one.from_us, one.machine))
    said = words(on, names)
    pieces = (_piece(on, known, one, margin_s, said.get(one.machine, ())) for one in ordered)
    return tuple(one for one in pieces if one is not None)


def _failures(on: Connection, names: Sequence[str]) -> Iterator[_Period]:
    """Yield labelled failures, the newest first."""
    for one in reversed(failures.listed(on, machines=names)):
        if one.source != "simulator" and not one.kind.startswith(SENSOR_PREFIX):
            yield _Period(machine=one.machine, from_us=one.onset_us, to_us=one.end_us, failure=True)


def _false_alarms(on: Connection, machine_class: str) -> Iterator[_Period]:
    found = rows(
        on,
        "SELECT m.name, i.began, i.last_seen FROM incidents AS i "
        "JOIN machines AS m ON m.key = i.machine_key WHERE m.machine_class = %s "
        "AND i.kind = 'machine' AND i.feedback = 'false' ORDER BY i.began DESC, i.id LIMIT %s",
        (machine_class, _MOST),
    )
    for machine, began, last_seen in found:
        yield _Period(
            machine=machine,
            from_us=microseconds(began),
            to_us=microseconds(last_seen),
            failure=False,
        )


def _piece(
    on: Connection, known: MachineClass, one: _Period, margin_s: float, said: tuple[int, ...]
) -> Piece | None:
    """Return the readings of a period; None where too few are stored still."""
    step_us = known.period_s * 1e6
    start_us = one.from_us - round(_CONTEXT_ROWS * step_us)
    end_us = one.from_us + round(_PERIOD_ROWS * step_us)
    if one.to_us is not None:
        end_us = min(end_us, one.to_us + 1)
    (history,) = read_history(on, [one.machine], start_us, end_us)
    inside = history.instants_us >= one.from_us
    if inside.sum() < _FEWEST_ROWS:
        return None
    suspicions = suspected(on, [one.machine], start_us, end_us)
    calm = _settled(inside) if one.failure else _settled(inside) | inside
    return Piece(
        history=history,
        inside=inside,
        healthy=calm & unsuspected(history.instants_us, suspicions, margin_s),
        failure=one.failure,
        words=(start_us, *said) if said and said[-1] >= start_us else (),
    )


def _settled(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which readings are of the later half of those before the period: windows are full."""
    before = int((~inside).sum())
    return ~inside & (np.arange(len(inside)) >= before // 2)
