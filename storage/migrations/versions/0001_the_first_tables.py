"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "anomalies",
        sa.Column("machine_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("score", sa.Float(precision=53), nullable=False),
        sa.Column("kind", sa.Text(), server_default="machine", nullable=False),
        sa.Column("contributions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "detected_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint(
            "machine_key", "instant", "model_version", name=op.f("pk_anomalies")
        ),
    )
    op.create_index("ix_anomalies_instant", "anomalies", ["instant"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("revoked", sa.Boolean(), server_default="false", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    op.create_table(
        "consumer_offsets",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("topic_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint(
            "group_id", "topic_id", "partition", name=op.f("pk_consumer_offsets")
        ),
    )
    op.create_table(
        "machine_classes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sensors", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("period_s", sa.Float(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_machine_classes")),
    )
    op.create_table(
        "model_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_events")),
    )
    op.create_index(
        "ix_model_events_machine_class_id", "model_events", ["machine_class", "id"], unique=False
    )
    op.create_table(
        "pipeline_rates",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("per_second", sa.Float(precision=53), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_pipeline_rates")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic_id", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column(
            "headers", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False
        ),
        sa.Column(
            "quarantined_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("redriven_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "topic_id", "partition", "offset", name=op.f("uq_quarantine_topic_id_partition_offset")
        ),
    )
    op.create_table(
        "readings",
        sa.Column("machine_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        sa.Column("values", sa.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.PrimaryKeyConstraint("machine_key", "instant", name=op.f("pk_readings")),
        postgresql_partition_by="RANGE (instant)",
    )
    op.create_table(
        "readings_1m",
        sa.Column("machine_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("mean", sa.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("min", sa.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("max", sa.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("last", sa.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("last_instant", sa.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        sa.PrimaryKeyConstraint("machine_key", "minute", name=op.f("pk_readings_1m")),
    )
    op.create_table(
        "retention",
        sa.Column(
            "one", sa.SmallInteger(), server_default="1", autoincrement=False, nullable=False
        ),
        sa.Column("days", sa.Integer(), server_default="365", nullable=False),
        sa.CheckConstraint("days >= 1", name=op.f("ck_retention_days")),
        sa.CheckConstraint("one = 1", name=op.f("ck_retention_one")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_retention")),
    )
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("trials", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.create_table(
        "machines",
        sa.Column("key", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["machine_class"], ["machine_classes.name"], name=op.f("fk_machines_machine_class")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_machines")),
        sa.UniqueConstraint("name", name=op.f("uq_machines_name")),
    )
    op.create_table(
        "models",
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("package", sa.LargeBinary(), nullable=False),
        sa.Column(
            "metrics", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "params", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["machine_class"], ["machine_classes.name"], name=op.f("fk_models_machine_class")
        ),
        sa.PrimaryKeyConstraint("machine_class", "version", name=op.f("pk_models")),
    )
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("onset", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended", sa.DateTime(timezone=True), nullable=True),
        sa.Column("severity", sa.Float(), server_default="1", nullable=False),
        sa.Column("sensors", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("ended IS NULL OR ended >= onset", name=op.f("ck_failures_order")),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_failures_machine_key")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failures")),
        sa.UniqueConstraint(
            "machine_key",
            "source",
            "kind",
            "onset",
            name=op.f("uq_failures_machine_key_source_kind_onset"),
        ),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("peak_score", sa.Float(precision=53), nullable=False),
        sa.Column("anomalies", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("root_sensor", sa.Text(), nullable=False),
        sa.Column(
            "evidence", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False
        ),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("feedback", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_incidents_machine_key")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index("ix_incidents_opened", "incidents", ["opened"], unique=False)
    op.create_index(
        "uq_incidents_live",
        "incidents",
        ["machine_key", "kind"],
        unique=True,
        postgresql_where=sa.text("closed IS NULL"),
    )
    op.create_table(
        "machine_states",
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        sa.Column("score", sa.Float(precision=53), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column(
            "quality", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_machine_states_machine_key")
        ),
        sa.PrimaryKeyConstraint("machine_key", name=op.f("pk_machine_states")),
    )


def downgrade() -> None:
    op.drop_table("machine_states")
    op.drop_index(
        "uq_incidents_live", table_name="incidents", postgresql_where=sa.text("closed IS NULL")
    )
    op.drop_index("ix_incidents_opened", table_name="incidents")
    op.drop_table("incidents")
    op.drop_table("failures")
    op.drop_table("models")
    op.drop_table("machines")
    op.drop_table("sweeps")
    op.drop_table("retention")
    op.drop_table("readings_1m")
    op.drop_table("readings")
    op.drop_table("quarantine")
    op.drop_table("pipeline_rates")
    op.drop_index("ix_model_events_machine_class_id", table_name="model_events")
    op.drop_table("model_events")
    op.drop_table("machine_classes")
    op.drop_table("consumer_offsets")
    op.drop_table("api_keys")
    op.drop_index("ix_anomalies_instant", table_name="anomalies")
    op.drop_table("anomalies")
