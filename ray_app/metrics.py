"""Binds the catalogue to `ray.util.metrics`; exists once per process.

Quirks of Ray that are settled here: a Counter gains `_total` by itself and refuses an amount of
zero; a gauge vanishes 20 s after its last `set`, so every gauge is set anew every few seconds; a
Histogram's `_sum` is made of bucket midpoints, so dashboards use its quantiles only.
"""

import threading
from typing import Any

from observability.metric import Kind, Metric, Metrics, NoMetrics, checked

_REFRESH_S = 5.0


class RayMetrics:
    """The port `Metrics` over Ray's agent. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bound: dict[str, Any] = {}
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._refresher: threading.Thread | None = None

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        tags = checked(metric, labels)
        if amount:
            self._of(metric).inc(amount, tags=tags)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge and keep it alive until the process ends."""
        tags = checked(metric, labels)
        self._of(metric).set(value, tags=tags)
        with self._lock:
            self._gauges[metric.name, tuple(sorted(tags.items()))] = value
            if self._refresher is None:
                self._refresher = threading.Thread(target=self._refresh, name="gauges", daemon=True)
                self._refresher.start()

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        self._of(metric).observe(value, tags=checked(metric, labels))

    def _of(self, metric: Metric) -> Any:
        with self._lock:
            bound = self._bound.get(metric.name)
            if bound is None:
                bound = self._bound[metric.name] = _bind(metric)
            return bound

    def _refresh(self) -> None:
        pause = threading.Event()
        while not pause.wait(_REFRESH_S):
            with self._lock:
                now = [(self._bound[n], dict(tags), v) for (n, tags), v in self._gauges.items()]
            for gauge, tags, value in now:
                gauge.set(value, tags=tags)


def _bind(metric: Metric) -> Any:
    from ray.util import metrics as ray_metrics

    name, text, keys = metric.name, metric.help, metric.labels
    match metric.kind:
        case Kind.COUNTER:
            return ray_metrics.Counter(name, text, keys)
        case Kind.GAUGE:
            return ray_metrics.Gauge(name, text, keys)
        case Kind.HISTOGRAM:
            return ray_metrics.Histogram(name, text, list(metric.buckets), keys)


_SINGLE: list[Metrics] = []
_SINGLE_LOCK = threading.Lock()


def process_metrics() -> Metrics:
    """Return this process's metrics: Ray's inside a cluster, nobody's outside."""
    import ray

    if not ray.is_initialized():
        return NoMetrics()
    with _SINGLE_LOCK:
        if not _SINGLE:
            _SINGLE.append(RayMetrics())
        return _SINGLE[0]
