"""When what a label calls a fault can first be seen, with hindsight.

Labels begin with what was done to a machine: a valve begins to turn, and the flow leaves its level
a minute later. No detector can tell what no sensor shows, so the delay of an alarm is also counted
from there.
"""

import numpy as np

from domain.readings import Matrix
from domain.scorecard.points import Event


def visible_from(values: Matrix, event: Event, *, look_rows: int) -> int:
    """Return the first reading of an event at which its effect can be seen.

    It is where the sensor that shows a step best steps: the split of the readings around the
    event's beginning that leaves least of that sensor's variance, as in binary segmentation (Scott
    and Knott 1974). No verdict and no threshold has a say in it.

    Args:
        values: Shape (n, S); NaN is missing.
        event: In it.
        look_rows: So many readings before the event and from its first on are looked at; >= 1.

    Returns:
        An index from `event.first` to `event.last`; the first where no sensor moves.
    """
    begin = max(event.first - look_rows, 0)
    around = values[begin : min(event.first + look_rows, event.last + 1)]
    centred = _without_gaps(around)
    rows = len(centred)
    splits = np.arange(max(event.first - begin, 1), rows)
    if not len(splits):
        return event.first
    sums = np.cumsum(centred, axis=0)[splits - 1]
    between = sums**2 * (rows / (splits * (rows - splits)))[:, None]
    total = (centred**2).sum(axis=0)
    explained = np.divide(between, total, out=np.zeros_like(between), where=total > 0)
    best = int(explained.max(axis=1).argmax())
    return begin + int(splits[best]) if explained.any() else event.first


def _without_gaps(values: Matrix) -> Matrix:
    """Return distances from each sensor's mean, 0 where nothing is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = total / np.maximum(known.sum(axis=0), 1)
    out: Matrix = np.where(known, values - mean, 0.0)
    return out
