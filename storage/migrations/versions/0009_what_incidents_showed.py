"""Incidents keep when they were at their peak and which failure mode they were most like."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incidents", sa.Column("peaked", sa.DateTime(timezone=True), nullable=True))
    op.add_column("incidents", sa.Column("failure_mode", JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("incidents", "failure_mode")
    op.drop_column("incidents", "peaked")
