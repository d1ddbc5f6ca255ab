"""Values of one machine and instant to one reading, whatever order they came in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from domain.mapping.translate import Translated
from domain.readings import Instants, Matrix
from domain.wire import Rejection, RejectReason, format_instant

NOBODY = -1
"""In `Gathered.origins`: no message gave this value."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gathered:
    """Readings, one per machine and instant.

    Attributes:
        machines: n names, of which equal ones stand together.
        instants_us: Shape (n,), ascending within a machine.
        values: Shape (n, sensors); NaN is missing.
        origins: Shape (n, sensors), the message each value came from; `NOBODY` where it is missing.
        rejections: Ascending by index: those of the messages, and messages that contradict an
            earlier one.
    """

    machines: list[str]
    instants_us: Instants
    values: Matrix
    origins: npt.NDArray[np.intp]
    rejections: tuple[Rejection, ...]


def gather(read: Translated, sensors: tuple[str, ...]) -> Gathered:
    """Put together what belongs together.

    The first value of a sensor at an instant stands. A later one that is equal says nothing new; a
    later one that differs cannot be stored beside it, so its message is rejected by that name.

    Args:
        read: Rows of a batch.
        sensors: Names of the columns, for messages to people.
    """
    if not len(read.rows):
        return Gathered(
            machines=[],
            instants_us=read.instants_us,
            values=read.values,
            origins=np.empty(read.values.shape, np.intp),
            rejections=read.rejections,
        )
    names, codes = np.unique(np.array(read.machines), return_inverse=True)
    order = np.lexsort((read.rows, read.instants_us, codes))
    codes, instants, values = codes[order], read.instants_us[order], read.values[order]
    news = (np.diff(codes) != 0) | (np.diff(instants) != 0)
    begins = np.concatenate([np.zeros(1, np.intp), np.flatnonzero(news) + 1])
    there = ~np.isnan(values)
    places = np.arange(len(order), dtype=np.intp)[:, None]
    first = np.minimum.reduceat(np.where(there, places, len(order)), begins, axis=0)
    missing = first == len(order)
    picked = np.where(missing, 0, first)
    columns = np.arange(values.shape[1])
    merged = np.where(missing, np.nan, values[picked, columns])
    group = np.concatenate([np.zeros(1, np.intp), np.cumsum(news)])
    odd = there & (values != merged[group])
    return Gathered(
        machines=names[codes[begins]].tolist(),
        instants_us=instants[begins],
        values=merged,
        origins=np.where(missing, NOBODY, read.rows[order][picked]),
        rejections=_with_clashes(read, order, odd, sensors),
    )


def clash(index: int, instant_us: int, sensors: list[str]) -> Rejection:
    """Return the rejection of a message whose value another one has taken.

    Args:
        index: Its row in the batch.
        instant_us: Of the reading, microseconds UTC.
        sensors: Whose values differ.
    """
    return Rejection(
        index=index,
        reason=RejectReason.CONFLICTING_VALUE,
        detail=(
            f"{', '.join(sensors)} had another value at {format_instant(instant_us)}; it stands. "
            "If both are measurements, make pivot.window_ms smaller"
        ),
    )


def _with_clashes(
    read: Translated,
    order: npt.NDArray[np.intp],
    odd: npt.NDArray[np.bool_],
    sensors: tuple[str, ...],
) -> tuple[Rejection, ...]:
    clashes = [
        clash(
            int(read.rows[order[at]]),
            int(read.instants_us[order[at]]),
            [sensors[column] for column in np.flatnonzero(odd[at])],
        )
        for at in np.flatnonzero(odd.any(axis=1)).tolist()
    ]
    return tuple(sorted([*read.rejections, *clashes], key=lambda one: one.index))
