"""What a metric is, and the one port through which the rooms give it numbers.

Who runs on Ray binds the port to `ray.util.metrics`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What the numbers of a metric mean."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of the catalogue.

    Attributes:
        name: Name in Prometheus without the suffix `_total` that a counter gains.
        kind: Counter, gauge or histogram.
        help: One sentence for the reader of a dashboard.
        unit: `readings`, `seconds`, …; empty for a plain number.
        labels: Names of its labels; every call gives all of them.
        buckets: Upper bounds of a histogram, in `unit`, ascending; empty for the others.
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> str:
        """Name as Prometheus stores it."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


class Metrics(Protocol):
    """Where numbers go. A label that the metric does not declare raises ValueError."""

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter; an amount of zero only makes the series known."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put one value into a histogram, in the metric's unit."""


class NoMetrics:
    """For tools and tests that nobody watches: accepts every call of `Metrics`, keeps nothing."""

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Check the labels and forget."""
        checked(metric, labels)
        if amount < 0:
            raise ValueError(f"{metric.name} is a counter and cannot shrink by {amount}")

    def set(self, metric: Metric, value: float, **labels: str) -> None:  # noqa: ARG002 - a sink
        """Check the labels and forget."""
        checked(metric, labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:  # noqa: ARG002 - a sink
        """Check the labels and forget."""
        checked(metric, labels)


def checked(metric: Metric, labels: dict[str, str]) -> dict[str, str]:
    """Return the labels when they are exactly those the metric declares.

    Raises:
        ValueError: A label is missing or unknown.
    """
    if set(labels) != set(metric.labels):
        raise ValueError(f"{metric.name} takes the labels {metric.labels}, got {tuple(labels)}")
    return labels
