"""At the end of maintenance somebody may say that the level of a machine is to be learnt anew."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "maintenance",
        sa.Column("learn_anew", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.create_check_constraint(
        op.f("ck_maintenance_learn_anew"), "maintenance", "NOT learn_anew OR ends IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_maintenance_learn_anew"), "maintenance", type_="check")
    op.drop_column("maintenance", "learn_anew")
