"""When machines moved, what sensors did in their incidents, and incidents by their end."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# As for `sensor_states` in 0004: for roles that came to a database which another one migrated.
_GRANTS = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON movements TO %I', one);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_reader') THEN
        GRANT SELECT ON movements TO millwright_reader;
    END IF;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "movements",
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("began", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled", sa.DateTime(timezone=True), nullable=True),
        sa.Column("peak_score", sa.Float(53), nullable=False),
        sa.Column("sensors", JSONB(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("settled > began", name=op.f("ck_movements_order")),
        sa.ForeignKeyConstraint(
            ["machine_key"], ["machines.key"], name=op.f("fk_movements_machine_key")
        ),
        sa.PrimaryKeyConstraint("machine_key", "began", name=op.f("pk_movements")),
    )
    op.create_index(
        "ix_movements_going_on",
        "movements",
        ["machine_key"],
        unique=False,
        postgresql_where=sa.text("settled IS NULL"),
    )
    op.execute(_GRANTS)
    op.add_column("incidents", sa.Column("faults", JSONB(), nullable=False, server_default="[]"))
    op.create_index("ix_incidents_closed", "incidents", ["closed"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_incidents_closed", table_name="incidents")
    op.drop_column("incidents", "faults")
    op.drop_table("movements")
