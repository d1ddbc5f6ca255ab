"""The tables of machines, readings and the platform itself, as SQLAlchemy metadata.

Those of verdicts, models and care are beside it; `migrations/` brings a database to this state.

Readings are partitioned by time, one partition per UTC day; `storage.partitions` creates them
ahead. A reading's key is machine and instant: delivered twice, it is stored once.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.schema_base import Moment, metadata, now

machine_classes = Table(
    "machine_classes",
    metadata,
    Column("name", Text, primary_key=True),
    # [{name, unit, low, high}] in stored order: the columns of readings.values. Sensors are never
    # reordered or removed; a new sensor is appended, older rows are shorter and read as missing.
    Column("sensors", JSONB, nullable=False),
    Column("period_s", Float, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    now("created_at"),
)

machines = Table(
    "machines",
    metadata,
    Column("key", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("machine_class", Text, ForeignKey("machine_classes.name"), nullable=False),
    now("created_at"),
)

readings = Table(
    "readings",
    metadata,
    # No foreign key: it would cost a look-up per row; the roster admits only known machines.
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("instant", Moment, primary_key=True),
    Column("values", ARRAY(Float(53)), nullable=False),
    postgresql_partition_by="RANGE (instant)",
)

readings_1m = Table(
    "readings_1m",
    metadata,
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("minute", Moment, primary_key=True),
    Column("count", ARRAY(Integer), nullable=False),
    Column("mean", ARRAY(Float(53)), nullable=False),
    Column("min", ARRAY(Float(53)), nullable=False),
    Column("max", ARRAY(Float(53)), nullable=False),
    Column("last", ARRAY(Float(53)), nullable=False),
    Column("last_instant", ARRAY(Moment), nullable=False),
)

# Minutes whose rollup is to be made anew; the same one may stand here often, see `rollups`.
readings_1m_dirty = Table(
    "readings_1m_dirty",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_key", Integer, nullable=False),
    Column("minute", Moment, nullable=False),
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
    now("updated_at"),
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
    now("quarantined_at"),
    Column("redriven_at", Moment),
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
    Column("onset", Moment, nullable=False),
    Column("ended", Moment),
    Column("failed", Moment),  # when it no longer did its work; with the onset where not known
    Column("severity", Float, nullable=False, server_default="1"),
    Column("sensors", ARRAY(Text), nullable=False, server_default="{}"),
    Column("note", Text, nullable=False, server_default=""),
    now("recorded_at"),
    UniqueConstraint("machine_key", "source", "kind", "onset"),
    CheckConstraint("ended IS NULL OR ended >= onset", name="order"),
    CheckConstraint("failed >= onset", name="failed"),
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
    now("updated_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),  # reader | operator | owner
    Column("revoked", Boolean, nullable=False, server_default="false"),
    now("created_at"),
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
    now("changed_at"),
)

to_score = Table(
    "to_score",
    metadata,
    # Readings that were stored without passing the scorer's topic: mapped and re-driven ones.
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("first", Moment, nullable=False),
    Column("last", Moment, nullable=False),
    Column("hold_s", Float, nullable=False),  # parts of a reading may come this much later
    now("marked_at"),
)

answers = Table(
    "answers",
    metadata,
    # What was answered to a request with an Idempotency-Key; null while it is being worked on.
    Column("holder", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    Column("answer", Text),
    now("begun_at"),
)
