"""The Grafana dashboard as code: rows of panels over the catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from observability import catalogue as c
from observability import ray_series as r
from observability.metric import Metric

_WIDTH, _HEIGHT = 8, 7
"""Of a panel, in Grafana's grid of 24 columns."""
_SOURCE = {"type": "prometheus", "uid": "prometheus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart.

    Attributes:
        title: Above the chart.
        queries: Legend → PromQL.
        unit: Grafana's name of the unit.
        metrics: What the queries read, so that a test can hold them against the catalogue.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str
    metrics: tuple[Metric, ...]


def rate(metric: Metric, by: str = "") -> str:
    """Return a counter's rate per second over all workers, also over those that died."""
    kept = f"sum by ({by})" if by else "sum"
    return f"{kept} (rate({_ray(metric)}[$__rate_interval]))"


def quantile(metric: Metric, share: float, by: str = "") -> str:
    """Return a quantile; Ray's `_sum` is made of bucket midpoints, so there is no mean."""
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate(ray_{metric.name}_bucket[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


def latest(metric: Metric, how: str = "max", by: str = "") -> str:
    """Return a gauge over all workers."""
    return f"{how} by ({by}) ({_ray(metric)})" if by else f"{how} ({_ray(metric)})"


def _ray(metric: Metric) -> str:
    # Ray puts its own prefix before the name of every metric.
    return f"ray_{metric.series}"


def _panel(title: str, unit: str, metrics: tuple[Metric, ...], **queries: str) -> Panel:
    return Panel(title=title, unit=unit, metrics=metrics, queries=tuple(queries.items()))


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "The way of the data",
        (
            _panel(
                "Readings per second",
                "ops",
                (c.PRODUCED, c.CONSUMED, c.STORED, c.SCORED),
                produced=rate(c.PRODUCED),
                consumed=rate(c.CONSUMED),
                stored=rate(c.STORED),
                scored=rate(c.SCORED),
            ),
            _panel(
                "Not taken yet", "short", (c.LAG,), **{"{{group}}": latest(c.LAG, "sum", "group")}
            ),
            _panel(
                "Consumers",
                "short",
                (c.CONSUMERS,),
                **{"{{count}}": latest(c.CONSUMERS, "max", "count")},
            ),
            _panel(
                "Kept out",
                "ops",
                (c.DUPLICATES, c.QUARANTINED, c.PRODUCE_ERRORS),
                **{
                    "duplicates": rate(c.DUPLICATES),
                    "quarantined: {{reason}}": rate(c.QUARANTINED, "reason"),
                    "not delivered": rate(c.PRODUCE_ERRORS),
                },
            ),
            _panel(
                "Time of a batch, 95 %",
                "s",
                (c.BATCH_LATENCY,),
                **{"{{stage}}": quantile(c.BATCH_LATENCY, 0.95, "stage")},
            ),
            _panel(
                "Readings committed together, median",
                "short",
                (c.BATCH_SIZE,),
                median=quantile(c.BATCH_SIZE, 0.5),
            ),
            _panel(
                "Faults of services, restarts of actors",
                "ops",
                (c.INFRASTRUCTURE_FAULTS, c.TAKEN_BACK, c.ACTOR_RESTARTS),
                **{
                    "{{service}} away": rate(c.INFRASTRUCTURE_FAULTS, "service"),
                    "transactions repeated": rate(c.TAKEN_BACK),
                    "{{actor}} restarted": rate(c.ACTOR_RESTARTS, "actor"),
                },
            ),
        ),
    ),
    (
        "Machines",
        (
            _panel("Open incidents", "short", (c.INCIDENTS_OPEN,), open=latest(c.INCIDENTS_OPEN)),
            _panel(
                "Anomalous readings and incidents",
                "ops",
                (c.ANOMALIES, c.INCIDENTS_OPENED),
                **{
                    "anomalies: {{kind}}": rate(c.ANOMALIES, "kind"),
                    "incidents: {{kind}}": rate(c.INCIDENTS_OPENED, "kind"),
                },
            ),
            _panel(
                "Webhooks and challengers",
                "ops",
                (c.WEBHOOKS, c.SHADOW_SCORED),
                **{
                    "webhooks {{outcome}}": rate(c.WEBHOOKS, "outcome"),
                    "in shadow {{outcome}}": rate(c.SHADOW_SCORED, "outcome"),
                },
            ),
            _panel(
                "From a reading to its verdict",
                "s",
                (c.SCORE_DELAY,),
                median=quantile(c.SCORE_DELAY, 0.5),
                p99=quantile(c.SCORE_DELAY, 0.99),
            ),
        ),
    ),
    (
        "Models and predictions",
        (
            _panel(
                "Champion in use",
                "short",
                (c.MODEL_VERSION,),
                **{"{{consumer}}": latest(c.MODEL_VERSION, "max", "consumer")},
            ),
            _panel("Drift against training", "short", (c.DRIFT,), drift=latest(c.DRIFT)),
            _panel(
                "Sweeps: trials, and models refused",
                "ops",
                (c.SWEEP_TRIALS, c.MODEL_REFUSED),
                **{
                    "trials {{outcome}}": rate(c.SWEEP_TRIALS, "outcome"),
                    "refused by {{consumer}}": rate(c.MODEL_REFUSED, "consumer"),
                },
            ),
            _panel(
                "Duration of a sweep, median",
                "s",
                (c.SWEEP_SECONDS,),
                median=quantile(c.SWEEP_SECONDS, 0.5),
            ),
            _panel(
                "Predict requests per second",
                "reqps",
                (c.PREDICT_REQUESTS,),
                **{"{{status}}": rate(c.PREDICT_REQUESTS, "status")},
            ),
            _panel(
                "Predict, time in the replica",
                "s",
                (c.PREDICT_LATENCY,),
                median=quantile(c.PREDICT_LATENCY, 0.5),
                p99=quantile(c.PREDICT_LATENCY, 0.99),
            ),
        ),
    ),
    (
        "Autoscaling of the serving side",
        (
            _panel(
                "Requests under way, and what a replica is to have of them",
                "short",
                (c.REQUESTS_UNDER_WAY, r.TOTAL_ONGOING, r.TARGET_ONGOING),
                **{
                    "{{deployment}}": latest(c.REQUESTS_UNDER_WAY, "max", "deployment"),
                    "seen by Serve, {{deployment}}": latest(r.TOTAL_ONGOING, "max", "deployment"),
                    "target of {{deployment}}": latest(r.TARGET_ONGOING, "max", "deployment"),
                },
            ),
            _panel(
                "Replicas: wished for and decided on",
                "short",
                (r.DESIRED_REPLICAS, r.TARGET_REPLICAS),
                **{
                    "wished for, {{deployment}}": latest(r.DESIRED_REPLICAS, "max", "deployment"),
                    "decided on, {{deployment}}": latest(r.TARGET_REPLICAS, "max", "deployment"),
                },
            ),
            _panel(
                "Replicas that are healthy",
                "short",
                (r.HEALTHY_REPLICAS,),
                **{"{{deployment}}": latest(r.HEALTHY_REPLICAS, "sum", "deployment")},
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model."""
    return {
        "uid": "millwright",
        "title": "Millwright",
        "tags": ["millwright"],
        "timezone": "utc",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "panels": list(_placed()),
    }


def _placed() -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for title, panels in ROWS:
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": place, "panels": []}
        number, top = number + 1, top + 1
        for at, panel in enumerate(panels):
            x, y = at % 3 * _WIDTH, top + at // 3 * _HEIGHT
            yield _chart(panel, number, {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT})
            number += 1
        top += -(-len(panels) // 3) * _HEIGHT


def _chart(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": " ".join(f"{metric.help}." for metric in panel.metrics),
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": {"fillOpacity": 10, "showPoints": "never"},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(65 + at), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
            for at, (legend, query) in enumerate(panel.queries)
        ],
    }
