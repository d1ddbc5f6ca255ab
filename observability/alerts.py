"""Alert rules as code; each says what to do."""

from dataclasses import dataclass

from observability import catalogue as c
from observability.metric import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule.

    Attributes:
        name: In CamelCase, as Prometheus' own.
        metric: What it watches.
        expression: PromQL that has a value while something is wrong.
        hold: How long it must be wrong.
        severity: page or ticket.
        summary: What is wrong.
        action: What to do next.
    """

    name: str
    metric: Metric
    expression: str
    hold: str
    severity: str
    summary: str
    action: str


ALERTS: tuple[Alert, ...] = (
    Alert(
        name="IngestionFallsBehind",
        metric=c.LAG,
        expression=f"sum by (group) (ray_{c.LAG.series}) > 100000",
        hold="5m",
        severity="page",
        summary="{{ $labels.group }} has {{ $value }} messages to catch up with",
        action="See `millwright doctor`; add consumers with MILLWRIGHT_CONSUMERS.",
    ),
    Alert(
        name="ReadingsAreQuarantined",
        metric=c.QUARANTINED,
        expression=f"sum by (reason) (rate(ray_{c.QUARANTINED.series}[5m])) > 1",
        hold="5m",
        severity="ticket",
        summary="{{ $value }} messages per second are no readings: {{ $labels.reason }}",
        action="See `millwright quarantine list`; mend the sensor's encoder, then redrive.",
    ),
    Alert(
        name="ServiceIsAway",
        metric=c.INFRASTRUCTURE_FAULTS,
        expression=f"sum by (service) (rate(ray_{c.INFRASTRUCTURE_FAULTS.series}[5m])) > 0.02",
        hold="2m",
        severity="page",
        summary="{{ $labels.service }} goes away again and again",
        action="See its log; nothing is lost meanwhile, Kafka keeps what is not stored.",
    ),
    Alert(
        name="ActorKeepsFailing",
        metric=c.ACTOR_RESTARTS,
        expression=f"sum by (actor) (rate(ray_{c.ACTOR_RESTARTS.series}[10m])) > 0.01",
        hold="5m",
        severity="page",
        summary="A {{ $labels.actor }} had to be started again several times",
        action="Open the actor in Ray's dashboard and read its log.",
    ),
    Alert(
        name="ModelWasRefused",
        metric=c.MODEL_REFUSED,
        expression=f"sum by (consumer) (increase(ray_{c.MODEL_REFUSED.series}[15m])) > 0",
        hold="0m",
        severity="ticket",
        summary="{{ $labels.consumer }} refused a promoted model and serves the old one",
        action="See `millwright model history`; roll back or sweep again.",
    ),
    Alert(
        name="PredictFails",
        metric=c.PREDICT_REQUESTS,
        expression=(
            f'sum (rate(ray_{c.PREDICT_REQUESTS.series}{{status="5xx"}}[5m])) '
            f"/ sum (rate(ray_{c.PREDICT_REQUESTS.series}[5m])) > 0.01"
        ),
        hold="5m",
        severity="page",
        summary="{{ $value | humanizePercentage }} of predict requests fail",
        action="GET /readyz says which dependency is not ready.",
    ),
    Alert(
        name="VerdictsComeLate",
        metric=c.SCORE_DELAY,
        expression=(
            "histogram_quantile(0.99, sum by (le) "
            f"(rate(ray_{c.SCORE_DELAY.name}_bucket[5m]))) > 10"
        ),
        hold="10m",
        severity="ticket",
        summary="One verdict in a hundred comes {{ $value | humanizeDuration }} after its reading",
        action="See the scorer's lag; machines' clocks may be behind as well.",
    ),
)


def rules() -> str:
    """Return the rules as Prometheus reads them."""
    lines = [
        "# Written by `python -m observability` from observability/alerts.py.",
        "groups:",
        "  - name: millwright",
        "    rules:",
    ]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {_quoted(alert.expression)}",
            f"        for: {alert.hold}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {_quoted(alert.summary)}",
            f"          action: {_quoted(alert.action)}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
