"""Series that Ray Serve itself exports and the dashboard shows: what the autoscaler goes by.

They are Ray's: nothing of ours sets them, so they are in no catalogue of ours. A test looks them up
in the installed Ray, for another release may call them otherwise.
"""

from typing import Final

from observability.metric import Kind, Metric

_BY = ("deployment", "application")

TOTAL_ONGOING = Metric(
    name="serve_autoscaling_total_requests",
    kind=Kind.GAUGE,
    unit="requests",
    labels=_BY,
    help="Requests that replicas have begun, as Serve counts them",
)
TARGET_ONGOING = Metric(
    name="serve_autoscaling_target_ongoing_requests",
    kind=Kind.GAUGE,
    unit="requests",
    labels=_BY,
    help="Requests under way per replica that the policy aims at",
)
DESIRED_REPLICAS = Metric(
    name="serve_autoscaling_desired_replicas",
    kind=Kind.GAUGE,
    labels=_BY,
    help="Replicas the policy would have, before bounds and delays",
)
TARGET_REPLICAS = Metric(
    name="serve_autoscaling_target_replicas",
    kind=Kind.GAUGE,
    labels=_BY,
    help="Replicas it decided on, within bounds and after the delays",
)
HEALTHY_REPLICAS = Metric(
    name="serve_deployment_replica_healthy",
    kind=Kind.GAUGE,
    labels=_BY,
    help="Whether each replica passes its health check; their sum is what can answer",
)

RAY_SERIES: Final[tuple[Metric, ...]] = (
    TOTAL_ONGOING,
    TARGET_ONGOING,
    DESIRED_REPLICAS,
    TARGET_REPLICAS,
    HEALTHY_REPLICAS,
)
