"""Risk of failure: when a machine no longer did its work, risk models, and what was last told."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_GRANTS = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON risk_models TO %I', one);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_reader') THEN
        GRANT SELECT ON risk_models TO millwright_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    op.add_column("failures", sa.Column("failed", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_failures_failed"), "failures", "failed >= onset")
    op.add_column("machine_states", sa.Column("failure", JSONB(), nullable=True))
    op.create_table(
        "risk_models",
        sa.Column("machine_class", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("package", sa.LargeBinary(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("facts", JSONB(), server_default="{}", nullable=False),
        sa.Column("modes", JSONB(), server_default="[]", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("clock_timestamp()"),
        ),
        sa.ForeignKeyConstraint(
            ["machine_class"], ["machine_classes.name"], name=op.f("fk_risk_models_machine_class")
        ),
        sa.PrimaryKeyConstraint("machine_class", "version", name=op.f("pk_risk_models")),
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    op.drop_table("risk_models")
    op.drop_column("machine_states", "failure")
    op.drop_constraint(op.f("ck_failures_failed"), "failures")
    op.drop_column("failures", "failed")
