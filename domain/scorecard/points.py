"""Scores that look at each reading by itself, and at each event as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

type Flags = npt.NDArray[np.bool_]
type Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Readings by truth and verdict.

    Attributes:
        tp: Anomalous and told so.
        fp: Healthy and told anomalous.
        fn: Anomalous and missed.
        tn: Healthy and left alone.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @classmethod
    def of(cls, truth: Flags, told: Flags) -> Self:
        """Count two series of verdicts of shape (n,)."""
        return cls(
            tp=int(np.sum(truth & told)),
            fp=int(np.sum(~truth & told)),
            fn=int(np.sum(truth & ~told)),
            tn=int(np.sum(~truth & ~told)),
        )

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(
            tp=self.tp + other.tp,
            fp=self.fp + other.fp,
            fn=self.fn + other.fn,
            tn=self.tn + other.tn,
        )

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when nothing was found."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def far(self) -> float:
        """False-alarm rate, percent of the healthy readings."""
        return 100 * _share(self.fp, self.fp + self.tn)

    @property
    def mar(self) -> float:
        """Missed-alarm rate, percent of the anomalous readings."""
        return 100 * _share(self.fn, self.fn + self.tp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A run of anomalous readings, both ends included.

    Attributes:
        first: Index of its first reading.
        last: Index of its last reading.
    """

    first: int
    last: int


def events(truth: Flags) -> tuple[Event, ...]:
    """Return the runs of true values, in order."""
    edges = np.diff(np.concatenate([[0], truth.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return tuple(Event(first=int(a), last=int(b) - 1) for a, b in zip(starts, ends, strict=True))


def delays(found: Sequence[Event], told: Flags) -> tuple[int | None, ...]:
    """Return for each event how many readings passed until it was told; None if it never was."""
    out: list[int | None] = []
    for event in found:
        hits = np.flatnonzero(told[event.first : event.last + 1])
        out.append(int(hits[0]) if len(hits) else None)
    return tuple(out)


def roc_auc(truth: Flags, score: Numbers) -> float:
    """Return the area under the ROC curve, ties counted half; NaN when one class is absent.

    The Mann-Whitney statistic, Hanley & McNeil 1982.
    """
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks = float(middle[inverse][truth].sum())
    return (ranks - positive * (positive + 1) / 2) / (positive * negative)


def vus_pr(truth: Flags, score: Numbers, *, largest_buffer: int, thresholds: int = 250) -> float:
    """Return the volume under the precision-recall surface over buffer lengths 0..largest.

    Range-aware precision and recall with labels that fade out around each event as
    sqrt(1 - i / (2 l)), and an existence factor for events that were not met at all: Paparrizos et
    al., "Volume Under the Surface", PVLDB 15(11), 2022.

    Args:
        truth: Shape (n,).
        score: Shape (n,), larger is more anomalous.
        largest_buffer: Readings; usually the length of a period of the signal.
        thresholds: Points of each curve.

    Returns:
        Between 0 and 1; NaN without an event.
    """
    found = events(truth)
    if not found:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    cuts = np.unique(np.linspace(1, len(score), min(thresholds, len(score))).astype(int))
    lengths = np.unique(np.linspace(0, largest_buffer, 10).astype(int))
    areas = [_range_pr(found, order, cuts, int(length)) for length in lengths]
    return float(np.mean(areas))


def _range_pr(
    found: tuple[Event, ...], order: npt.NDArray[np.intp], cuts: npt.NDArray[np.int_], length: int
) -> float:
    soft = _soft_labels(found, len(order), length)
    hard = sum(event.last - event.first + 1 for event in found)
    positives = (hard + soft.sum()) / 2
    # Rank at which each event is first met: an event counts as existing from that cut on.
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    met = np.array([rank[max(0, e.first - length) : e.last + length + 1].min() for e in found])
    hits = np.cumsum(soft[order])[cuts - 1]
    exists = np.searchsorted(np.sort(met), cuts, side="right") / len(found)
    recall = np.minimum(hits / positives, 1) * exists
    precision = hits / cuts
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float(np.sum(np.maximum(steps, 0) * precision))


def _soft_labels(found: tuple[Event, ...], n: int, length: int) -> Numbers:
    soft = np.zeros(n)
    fade = np.sqrt(1 - np.arange(1, length // 2 + 1) / (length + 1e-12)) if length else np.zeros(0)
    for event in found:
        soft[event.first : event.last + 1] = 1
        for step, value in enumerate(fade, start=1):
            for at in (event.first - step, event.last + step):
                if 0 <= at < n:
                    soft[at] = max(soft[at], value)
    return soft


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
