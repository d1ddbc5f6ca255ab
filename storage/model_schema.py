"""The tables of models, of their history and of the sweeps that make them; beside `schema`."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.schema_base import Moment, metadata, now

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
    now("created_at"),
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
    now("created_at"),
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
    now("at"),
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
    now("started_at"),  # of one that waits: when it was asked for
    Column("ended_at", Moment),
    Column("asked_by", Text),  # null for one that nobody asked for over HTTP
    Column("wishes", JSONB),  # {trials, seed, lookback_hours}, where they differ from the settings
)
