"""Mappings of foreign topics, what waits for the scorer, answers to repeat, and an archive."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_DUE = """
CREATE FUNCTION readings_days_past_retention(present timestamptz) RETURNS SETOF date
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
    FROM retention, pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
    WHERE inhparent = 'readings'::regclass AND c.relname ~ '^readings_[0-9]{8}$'
    AND to_date(right(c.relname, 8), 'YYYYMMDD')
        < (least(present, clock_timestamp()) AT TIME ZONE 'UTC')::date - retention.days
    ORDER BY 1
$$
"""

# As before, but where there is an archive nothing is dropped by its age alone.
_RETAIN = """
CREATE OR REPLACE FUNCTION apply_readings_retention(present timestamptz) RETURNS date[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    day date;
    dropped date[] := '{}';
BEGIN
    IF EXISTS (SELECT FROM retention WHERE archive IS NOT NULL) THEN
        RETURN dropped;
    END IF;
    FOR day IN SELECT * FROM readings_days_past_retention(present) LOOP
        EXECUTE format('DROP TABLE %I', 'readings_' || to_char(day, 'YYYYMMDD'));
        dropped := dropped || day;
    END LOOP;
    RETURN dropped;
END $$
"""

# What migration 0003 made, for the way back.
_RETAIN_BEFORE = """
CREATE OR REPLACE FUNCTION apply_readings_retention(present timestamptz) RETURNS date[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    kept integer := (SELECT days FROM retention);
    today date := (least(present, clock_timestamp()) AT TIME ZONE 'UTC')::date;
    part text;
    day date;
    dropped date[] := '{}';
BEGIN
    FOR part IN
        SELECT c.relname FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
        WHERE inhparent = 'readings'::regclass AND c.relname ~ '^readings_[0-9]{8}$' ORDER BY 1
    LOOP
        day := to_date(right(part, 8), 'YYYYMMDD');
        CONTINUE WHEN kept IS NULL OR day >= today - kept;
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped || day;
    END LOOP;
    RETURN dropped;
END $$
"""

# Readers go on, writers of that day wait until the transaction ends: what was copied is then what
# is dropped. SECURITY DEFINER as above: a consumer may neither lock nor drop a partition itself.
_HOLD = """
CREATE FUNCTION hold_readings_day(held date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', 'readings_' || to_char(held, 'YYYYMMDD'));
END $$
"""

_DROP = """
CREATE FUNCTION drop_archived_readings_day(old date, archived bigint, present timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    part text := 'readings_' || to_char(old, 'YYYYMMDD');
    there bigint;
BEGIN
    IF old NOT IN (SELECT * FROM readings_days_past_retention(present)) THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', part);
    EXECUTE format('SELECT count(*) FROM %I', part) INTO there;
    IF there <> archived THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', part);
    RETURN true;
END $$
"""

_FUNCTIONS = (
    "readings_days_past_retention(timestamptz)",
    "hold_readings_day(date)",
    "drop_archived_readings_day(date, bigint, timestamptz)",
)

_GRANTS = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON mappings, to_score, answers '
            'TO %I', one);
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION readings_days_past_retention(timestamptz), '
            'hold_readings_day(date), drop_archived_readings_day(date, bigint, timestamptz) '
            'TO %I', one);
    END LOOP;
END $$
"""


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name,
        sa.DateTime(timezone=True),
        nullable=False,
        server_default=sa.text("clock_timestamp()"),
    )


def upgrade() -> None:
    op.create_table(
        "mappings",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        _now("changed_at"),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_mappings")),
    )
    op.create_table(
        "to_score",
        sa.Column("machine_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hold_s", sa.Float(), nullable=False),
        _now("marked_at"),
        sa.PrimaryKeyConstraint("machine_key", name=op.f("pk_to_score")),
    )
    op.create_table(
        "answers",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        _now("begun_at"),
        sa.PrimaryKeyConstraint("holder", "key", name=op.f("pk_answers")),
    )
    op.add_column("retention", sa.Column("archive", sa.Text(), nullable=True))
    for text in (_DUE, _RETAIN, _HOLD, _DROP):
        op.execute(text)
    for function in _FUNCTIONS:
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    op.execute(_GRANTS)


def downgrade() -> None:
    op.execute(_RETAIN_BEFORE)
    for function in reversed(_FUNCTIONS):
        op.execute(f"DROP FUNCTION {function}")
    op.drop_column("retention", "archive")
    for table in ("answers", "to_score", "mappings"):
        op.drop_table(table)
