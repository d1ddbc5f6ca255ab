"""Sweeps that were asked for wait in their table until the retrainer takes them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("asked_by", sa.Text(), nullable=True))
    op.add_column("sweeps", sa.Column("wishes", JSONB(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM sweeps WHERE state IN ('queued', 'cancelled')")
    op.drop_column("sweeps", "wishes")
    op.drop_column("sweeps", "asked_by")
