"""Every metric of the platform, declared once: name, kind, unit, labels, buckets, meaning.

Labels are closed sets (topics, reasons, routes), so that the number of series is known in
advance. What grows with the fleet, such as a value per machine, lives in Postgres instead.
"""

from observability.metric import Kind, Metric

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

PRODUCED = Metric(
    name="millwright_readings_produced",
    kind=Kind.COUNTER,
    unit="readings",
    help="Readings that Kafka acknowledged",
)
PRODUCE_ERRORS = Metric(
    name="millwright_produce_errors",
    kind=Kind.COUNTER,
    unit="readings",
    help="Readings whose delivery report was an error",
)
CONSUMED = Metric(
    name="millwright_messages_consumed",
    kind=Kind.COUNTER,
    unit="messages",
    help="Messages read from Kafka by the ingestion",
)
STORED = Metric(
    name="millwright_readings_stored",
    kind=Kind.COUNTER,
    unit="readings",
    help="Readings that were new and are committed",
)
DUPLICATES = Metric(
    name="millwright_readings_duplicate",
    kind=Kind.COUNTER,
    unit="readings",
    help="Readings that were stored already and were left out",
)
QUARANTINED = Metric(
    name="millwright_messages_quarantined",
    kind=Kind.COUNTER,
    unit="messages",
    labels=("reason",),
    help="Messages kept in quarantine, by the rule they broke",
)
LAG = Metric(
    name="millwright_consumer_lag",
    kind=Kind.GAUGE,
    unit="messages",
    labels=("group",),
    help="Messages in Kafka that a group (ingest, scorer) has not taken yet",
)
CONSUMERS = Metric(
    name="millwright_consumers",
    kind=Kind.GAUGE,
    labels=("count",),
    help="Consumer actors: wanted by lag and partitions, present without those on their way out",
)
BATCH_LATENCY = Metric(
    name="millwright_batch_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    labels=("stage",),
    buckets=_LATENCY_S,
    help="Time one batch spends in a stage: consume, decode, store, score",
)
BATCH_SIZE = Metric(
    name="millwright_batch_readings",
    kind=Kind.HISTOGRAM,
    unit="readings",
    buckets=(1, 10, 50, 100, 500, 1000, 2500, 5000, 10_000, 20_000),
    help="Readings committed together",
)
INFRASTRUCTURE_FAULTS = Metric(
    name="millwright_infrastructure_faults",
    kind=Kind.COUNTER,
    labels=("service",),
    help="Times a service (kafka, postgres, mlflow) was away and was tried again",
)
TAKEN_BACK = Metric(
    name="millwright_transactions_taken_back",
    kind=Kind.COUNTER,
    help="Batches that PostgreSQL rolled back, as in a deadlock, and that were tried again",
)
SCORED = Metric(
    name="millwright_readings_scored",
    kind=Kind.COUNTER,
    unit="readings",
    help="Readings the champion scored on the stream",
)
SCORE_DELAY = Metric(
    name="millwright_score_delay_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    buckets=(*_LATENCY_S, 30.0, 60.0),
    help="Time from a reading's own instant to its verdict in Postgres",
)
ANOMALIES = Metric(
    name="millwright_anomalies",
    kind=Kind.COUNTER,
    unit="readings",
    labels=("kind",),
    help="Anomalous readings, of a machine or of a sensor",
)
INCIDENTS_OPENED = Metric(
    name="millwright_incidents_opened",
    kind=Kind.COUNTER,
    labels=("kind",),
    help="Incidents opened, of a machine or of a sensor",
)
INCIDENTS_OPEN = Metric(
    name="millwright_incidents_open",
    kind=Kind.GAUGE,
    help="Incidents open now",
)
WEBHOOKS = Metric(
    name="millwright_webhook_attempts",
    kind=Kind.COUNTER,
    labels=("outcome",),
    help="Attempts to tell a webhook of an incident: delivered, failed or dead",
)
SHADOW_SCORED = Metric(
    name="millwright_shadow_readings",
    kind=Kind.COUNTER,
    unit="readings",
    labels=("outcome",),
    help="Readings for a challenger in shadow: scored, or left out for want of time",
)
SWEEP_TRIALS = Metric(
    name="millwright_sweep_trials",
    kind=Kind.COUNTER,
    labels=("outcome",),
    help="Trials of sweeps: finished or failed",
)
SWEEP_SECONDS = Metric(
    name="millwright_sweep_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    buckets=(5, 10, 20, 40, 60, 120, 300, 600, 1800),
    help="Duration of a sweep",
)
MODEL_VERSION = Metric(
    name="millwright_model_version",
    kind=Kind.GAUGE,
    labels=("consumer",),
    help="Highest champion version in use by the scorer or a predictor",
)
MODEL_REFUSED = Metric(
    name="millwright_models_refused",
    kind=Kind.COUNTER,
    labels=("consumer",),
    help="Promoted packages that failed verification; the old model served on",
)
DRIFT = Metric(
    name="millwright_drift",
    kind=Kind.GAUGE,
    help="Largest drift of live features against training over the machine classes",
)
PREDICT_REQUESTS = Metric(
    name="millwright_predict_requests",
    kind=Kind.COUNTER,
    unit="requests",
    labels=("status",),
    help="Requests to predict, by class of status: 2xx, 4xx, 5xx",
)
PREDICT_LATENCY = Metric(
    name="millwright_predict_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    buckets=_LATENCY_S,
    help="Time a predict request spends in the replica",
)
REQUESTS_UNDER_WAY = Metric(
    name="millwright_requests_under_way",
    kind=Kind.GAUGE,
    unit="requests",
    labels=("deployment",),
    help="Requests that HAProxy has not answered yet, on average: what the autoscaling goes by",
)
ACTOR_RESTARTS = Metric(
    name="millwright_actor_restarts",
    kind=Kind.COUNTER,
    labels=("actor",),
    help="Times a producer, consumer, scorer or retrainer had to be started again",
)

CATALOGUE: tuple[Metric, ...] = (
    PRODUCED,
    PRODUCE_ERRORS,
    CONSUMED,
    STORED,
    DUPLICATES,
    QUARANTINED,
    LAG,
    CONSUMERS,
    BATCH_LATENCY,
    BATCH_SIZE,
    INFRASTRUCTURE_FAULTS,
    TAKEN_BACK,
    SCORED,
    SCORE_DELAY,
    ANOMALIES,
    INCIDENTS_OPENED,
    INCIDENTS_OPEN,
    WEBHOOKS,
    SHADOW_SCORED,
    SWEEP_TRIALS,
    SWEEP_SECONDS,
    MODEL_VERSION,
    MODEL_REFUSED,
    DRIFT,
    PREDICT_REQUESTS,
    PREDICT_LATENCY,
    REQUESTS_UNDER_WAY,
    ACTOR_RESTARTS,
)
