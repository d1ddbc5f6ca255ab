"""The tables, as SQLAlchemy metadata; `migrations/` brings a database to this state.

Readings are partitioned by time, one partition per UTC day; `storage.partitions` creates them
ahead. A reading's key is machine and instant: delivered twice, it is stored once.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Instant = DateTime(timezone=True)


def _now(name: str) -> Column[object]:
    return Column(name, _Instant, nullable=False, server_default=func.clock_timestamp())


machine_classes = Table(
    "machine_classes",
    metadata,
    Column("name", Text, primary_key=True),
    # [{name, unit, low, high}] in stored order: the columns of readings.values. Sensors are never
    # reordered or removed; a new sensor is appended, older rows are shorter and read as missing.
    Column("sensors", JSONB, nullable=False),
    Column("period_s", Float, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    _now("created_at"),
)

machines = Table(
    "machines",
    metadata,
    Column("key", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("machine_class", Text, ForeignKey("machine_classes.name"), nullable=False),
    _now("created_at"),
)

readings = Table(
    "readings",
    metadata,
    # No foreign key: it would cost a look-up per row; the roster admits only known machines.
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("instant", _Instant, primary_key=True),
    Column("values", ARRAY(Float(53)), nullable=False),
    postgresql_partition_by="RANGE (instant)",
)

readings_1m = Table(
    "readings_1m",
    metadata,
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("minute", _Instant, primary_key=True),
    Column("count", ARRAY(Integer), nullable=False),
    Column("mean", ARRAY(Float(53)), nullable=False),
    Column("min", ARRAY(Float(53)), nullable=False),
    Column("max", ARRAY(Float(53)), nullable=False),
    Column("last", ARRAY(Float(53)), nullable=False),
    Column("last_instant", ARRAY(_Instant), nullable=False),
)

# Minutes whose rollup is to be made anew; the same one may stand here often, see `rollups`.
readings_1m_dirty = Table(
    "readings_1m_dirty",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_key", Integer, nullable=False),
    Column("minute", _Instant, nullable=False),
)

consumer_offsets = Table(
    "consumer_offsets",
    metadata,
    Column("group_id", Text, primary_key=True),
    # Kafka's topic id (a UUID) and not only its name: a recreated topic starts at offset 0 again.
    Column("topic_id", Text, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
    _now("updated_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("topic_id", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),  # domain.wire.RejectReason
    Column("detail", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", JSONB, nullable=False, server_default="[]"),
    _now("quarantined_at"),
    Column("redriven_at", _Instant),
    UniqueConstraint("topic_id", "partition", "offset"),  # one row per message
)

failures = Table(
    "failures",
    metadata,
    # Labels, apart from the stream: the simulator's truth, an operator's report or a file.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_key", Integer, ForeignKey("machines.key"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("source", Text, nullable=False),  # simulator | operator | file | feedback
    Column("onset", _Instant, nullable=False),
    Column("ended", _Instant),
    Column("failed", _Instant),  # when it no longer did its work; with the onset where not known
    Column("severity", Float, nullable=False, server_default="1"),
    Column("sensors", ARRAY(Text), nullable=False, server_default="{}"),
    Column("note", Text, nullable=False, server_default=""),
    _now("recorded_at"),
    UniqueConstraint("machine_key", "source", "kind", "onset"),
    CheckConstraint("ended IS NULL OR ended >= onset", name="order"),
    CheckConstraint("failed >= onset", name="failed"),
)

anomalies = Table(
    "anomalies",
    metadata,
    # One row per anomalous reading and model version: scoring twice writes once.
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("instant", _Instant, primary_key=True),
    Column("model_version", Integer, primary_key=True, autoincrement=False),
    Column("score", Float(53), nullable=False),
    Column("kind", Text, nullable=False, server_default="machine"),  # machine | sensor
    Column(
        "contributions", JSONB, nullable=False
    ),  # [{sensor, share, expected, observed}], largest first
    Column("incident_id", BigInteger),
    _now("detected_at"),
    Index("ix_anomalies_instant", "instant"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_key", Integer, ForeignKey("machines.key"), nullable=False),
    Column("kind", Text, nullable=False),  # machine | sensor
    Column("state", Text, nullable=False, server_default="open"),  # open | acknowledged | closed
    Column("began", _Instant, nullable=False),  # instant of the first anomalous reading
    Column("opened", _Instant, nullable=False),  # instant of the reading that opened it
    Column("last_seen", _Instant, nullable=False),
    Column("closed", _Instant),
    Column("peak_score", Float(53), nullable=False),
    Column("anomalies", BigInteger, nullable=False, server_default="1"),
    Column("root_sensor", Text, nullable=False),
    Column("evidence", JSONB, nullable=False, server_default="[]"),
    Column("model_version", Integer, nullable=False),
    Column("acknowledged_by", Text),
    Column("feedback", Text),  # true | false | maintenance
    Column("feedback_by", Text),
    Column("feedback_at", _Instant),
    Column("severity", Text, nullable=False, server_default="minor"),  # domain.severity.Severity
    Column("close_reason", Text),  # quiet | silent | maintenance | person
    Column("note", Text, nullable=False, server_default=""),
    Column("peaked", _Instant),  # instant of the reading with peak_score, which evidence shows
    Column("failure_mode", JSONB),  # domain.risk.outlook.IncidentMode
    _now("recorded_at"),
    # At most one live incident of a kind per machine.
    Index(
        "uq_incidents_live",
        "machine_key",
        "kind",
        unique=True,
        postgresql_where=text("closed IS NULL"),
    ),
    Index("ix_incidents_opened", "opened"),
)

machine_states = Table(
    "machine_states",
    metadata,
    # What the scorer last knew of a machine; the console's health column.
    Column("machine_key", Integer, ForeignKey("machines.key"), primary_key=True),
    Column("instant", _Instant, nullable=False),
    Column("score", Float(53), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("quality", JSONB, nullable=False, server_default="{}"),
    Column("failure", JSONB),  # domain.risk.outlook.Failure, as the scorer last told it
    _now("updated_at"),
)

sensor_states = Table(
    "sensor_states",
    metadata,
    # What is wrong now, apart from anomalies; gone when it is over. The scorer writes changes only.
    Column("machine_key", Integer, ForeignKey("machines.key"), primary_key=True),
    Column("sensor", Text, primary_key=True),  # empty: the machine as a whole
    # stuck | dropout | out_of_range | unit_jump | gap | silent | clock_skew
    Column("condition", Text, primary_key=True),
    Column("since", _Instant, nullable=False),
    Column("last_seen", _Instant, nullable=False),
    CheckConstraint("last_seen >= since", name="order"),
)

models = Table(
    "models",
    metadata,
    # The package that replicas and scorers load; MLflow keeps the run that made it.
    Column("machine_class", Text, ForeignKey("machine_classes.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("package", LargeBinary, nullable=False),
    Column("metrics", JSONB, nullable=False, server_default="{}"),
    Column("params", JSONB, nullable=False, server_default="{}"),
    _now("created_at"),
)

risk_models = Table(
    "risk_models",
    metadata,
    # Beside the champion; the highest version of a class is in use.
    Column("machine_class", Text, ForeignKey("machine_classes.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("sha256", Text, nullable=False),
    Column("package", LargeBinary, nullable=False),
    Column("labels", Text, nullable=False),  # fingerprint of the labels it was learnt from
    Column("facts", JSONB, nullable=False, server_default="{}"),
    Column("modes", JSONB, nullable=False, server_default="[]"),
    _now("created_at"),
)

model_events = Table(
    "model_events",
    metadata,
    # Append-only. The champion of a class is its last promoted or rolled-back version.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_class", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("event", Text, nullable=False),  # trained | refused | promoted | rolled_back
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _now("at"),
    Index("ix_model_events_machine_class_id", "machine_class", "id"),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Text, primary_key=True),
    Column("machine_class", Text, nullable=False),
    Column("state", Text, nullable=False),  # queued | running | succeeded | failed | cancelled
    Column("trials", Integer, nullable=False, server_default="0"),
    Column("run_id", Text),
    Column("version", Integer),
    Column("outcome", Text, nullable=False, server_default=""),
    _now("started_at"),  # of one that waits: when it was asked for
    Column("ended_at", _Instant),
    Column("asked_by", Text),  # null for one that nobody asked for over HTTP
    Column("wishes", JSONB),  # {trials, seed, lookback_hours}, where they differ from the settings
)

pipeline_rates = Table(
    "pipeline_rates",
    metadata,
    # What the console shows of the pipeline; each worker refreshes its own row.
    Column("worker", Text, primary_key=True),
    Column("stage", Text, nullable=False),  # produce | consume | score
    Column("per_second", Float(53), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("lag", BigInteger),
    _now("updated_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),  # reader | operator | owner
    Column("revoked", Boolean, nullable=False, server_default="false"),
    _now("created_at"),
)

retention = Table(
    "retention",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False, server_default="1"),
    Column("days", Integer, nullable=False, server_default="365"),
    Column("archive", Text),  # folder for Parquet; then nothing is dropped that is not in it
    CheckConstraint("one = 1", name="one"),
    CheckConstraint("days >= 1", name="days"),
)

mappings = Table(
    "mappings",
    metadata,
    # How messages of a foreign topic become readings: for the redrive, which meets only the bytes.
    Column("topic", Text, primary_key=True),
    Column("text", Text, nullable=False),  # the mapping file
    _now("changed_at"),
)

to_score = Table(
    "to_score",
    metadata,
    # Readings that were stored without passing the scorer's topic: mapped and re-driven ones.
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("first", _Instant, nullable=False),
    Column("last", _Instant, nullable=False),
    Column("hold_s", Float, nullable=False),  # parts of a reading may come this much later
    _now("marked_at"),
)

answers = Table(
    "answers",
    metadata,
    # What was answered to a request with an Idempotency-Key; null while it is being worked on.
    Column("holder", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    Column("answer", Text),
    _now("begun_at"),
)
