"""What is wrong with sensors now, apart from what is wrong with machines."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Default privileges cover tables that the migrating role makes; this also covers a role that came
# to a database which was migrated by another one.
_GRANTS = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sensor_states TO %I', one);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_reader') THEN
        GRANT SELECT ON sensor_states TO millwright_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "sensor_states",
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("sensor", sa.Text(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("last_seen >= since", name=op.f("ck_sensor_states_order")),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_sensor_states_machine_key")
        ),
        sa.PrimaryKeyConstraint(
            "machine_key", "sensor", "condition", name=op.f("pk_sensor_states")
        ),
    )
    op.execute(_GRANTS)


def downgrade() -> None:
    op.drop_table("sensor_states")
