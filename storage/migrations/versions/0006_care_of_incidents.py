"""Severity, maintenance, limits of feedback, webhooks with their outbox, challengers in shadow."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = (
    "maintenance",
    "sensor_limits",
    "webhooks",
    "webhook_deliveries",
    "shadow_periods",
    "shadow_challengers",
)

# Webhooks hold secrets, and what is sent to them: as with keys, a reader has no business there.
_GRANTS = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance, sensor_limits, '
            'webhooks, webhook_deliveries, shadow_periods, shadow_challengers TO %I', one);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_reader') THEN
        GRANT SELECT ON maintenance, sensor_limits, shadow_periods, shadow_challengers
            TO millwright_reader;
        REVOKE ALL ON webhooks, webhook_deliveries FROM millwright_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    for column in (
        sa.Column("feedback_by", sa.Text(), nullable=True),
        sa.Column("feedback_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False, server_default="minor"),
        sa.Column("close_reason", sa.Text(), nullable=True),
    ):
        op.add_column("incidents", column)
    _create_care()
    _create_webhooks()
    _create_shadow()
    op.execute(_GRANTS)


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
    for column in ("close_reason", "severity", "feedback_at", "feedback_by"):
        op.drop_column("incidents", column)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=False,
        server_default=sa.text("clock_timestamp()"),
    )


def _create_care() -> None:
    op.create_table(
        "maintenance",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("machine_key", sa.Integer(), nullable=True),
        sa.Column("machine_class", sa.Text(), nullable=True),
        sa.Column("starts", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_by", sa.Text(), nullable=False),
        _now("created_at"),
        sa.CheckConstraint(
            "(machine_key IS NULL) <> (machine_class IS NULL)",
            name=op.f("ck_maintenance_target"),
        ),
        sa.CheckConstraint("ends IS NULL OR ends >= starts", name=op.f("ck_maintenance_order")),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_maintenance_machine_key")
        ),
        sa.ForeignKeyConstraint(
            ["machine_class"],
            ["machine_classes.name"],
            name=op.f("fk_maintenance_machine_class"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_maintenance")),
    )
    op.create_index("ix_maintenance_starts", "maintenance", ["starts"])
    op.create_table(
        "sensor_limits",
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("factor", sa.Float(53), nullable=False),
        _now("changed_at"),
        sa.CheckConstraint("factor BETWEEN 0.5 AND 2", name=op.f("ck_sensor_limits_bounds")),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_sensor_limits_machine_key")
        ),
        sa.PrimaryKeyConstraint("machine_key", "sensor", name=op.f("pk_sensor_limits")),
    )


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_by", sa.Text(), nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("url", "format", name=op.f("uq_webhooks_url_format")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("webhook_id", sa.Integer(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("event", JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, server_default="waiting"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        _now("due_at"),
        sa.Column("last_error", sa.Text(), nullable=False, server_default=""),
        _now("created_at"),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"],
            ["webhooks.id"],
            name=op.f("fk_webhook_deliveries_webhook_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_waiting",
        "webhook_deliveries",
        ["webhook_id", "incident_id", "id"],
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_webhook_deliveries_settled_at", "webhook_deliveries", ["settled_at"])


def _create_shadow() -> None:
    counts = (
        "champion_alerts",
        "challenger_alerts",
        "both_alerts",
        "champion_incidents",
        "challenger_incidents",
    )
    sums = ("champion_sum", "challenger_sum", "square_sum")
    op.create_table(
        "shadow_periods",
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column("champion", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("challenger", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("period", sa.DateTime(timezone=True), nullable=False),
        sa.Column("readings", sa.BigInteger(), nullable=False),
        sa.Column("machine_s", sa.Float(53), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in counts),
        *(sa.Column(name, sa.Float(53), nullable=False) for name in sums),
        sa.ForeignKeyConstraint(
            ["machine_class"],
            ["machine_classes.name"],
            name=op.f("fk_shadow_periods_machine_class"),
        ),
        sa.PrimaryKeyConstraint(
            "machine_class", "champion", "challenger", "period", name=op.f("pk_shadow_periods")
        ),
    )
    op.create_table(
        "shadow_challengers",
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        _now("changed_at"),
        sa.ForeignKeyConstraint(
            ["machine_class"],
            ["machine_classes.name"],
            name=op.f("fk_shadow_challengers_machine_class"),
        ),
        sa.PrimaryKeyConstraint("machine_class", name=op.f("pk_shadow_challengers")),
    )
