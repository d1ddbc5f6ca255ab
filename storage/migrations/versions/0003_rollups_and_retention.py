"""A queue of minutes whose rollup is to be made anew, and a function that applies retention."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# SECURITY DEFINER, since only the owner of a table may drop its partitions and a consumer logs in
# as a writer. It reads the period itself and never believes in a later time than the server's, so
# that nobody can drop by it what the owner wants to keep.
_RETAIN = """
CREATE FUNCTION apply_readings_retention(present timestamptz) RETURNS date[]
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
        -- Null where the owner has said nothing: then everything is kept.
        CONTINUE WHEN kept IS NULL OR day >= today - kept;
        EXECUTE format('DROP TABLE %I', part);
        dropped := dropped || day;
    END LOOP;
    RETURN dropped;
END $$
"""

# As before, but it looks into pg_class: `to_regclass` may answer from a cache that does not know
# yet what the former holder of the lock has made, and then the same partition is made twice.
_PARTITIONS = """
CREATE OR REPLACE FUNCTION ensure_readings_partitions(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    one date;
    made integer := 0;
    part text;
    place oid := (SELECT relnamespace FROM pg_class WHERE oid = 'readings'::regclass);
BEGIN
    FOREACH one IN ARRAY days LOOP
        part := 'readings_' || to_char(one, 'YYYYMMDD');
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = part AND relnamespace = place);
        PERFORM pg_advisory_xact_lock(hashtext('readings partitions'));
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = part AND relnamespace = place);
        EXECUTE format('CREATE TABLE %I (LIKE readings INCLUDING ALL)', part);
        EXECUTE format(
            'ALTER TABLE readings ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            part,
            one::timestamp AT TIME ZONE 'UTC',
            (one + 1)::timestamp AT TIME ZONE 'UTC'
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END $$
"""

_GRANTS = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_roles WHERE rolname = one);
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON readings_1m_dirty TO %I', one);
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION apply_readings_retention(timestamptz) TO %I', one);
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "readings_1m_dirty",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("machine_key", sa.Integer(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_readings_1m_dirty")),
    )
    # What was stored before there was a queue.
    op.execute(
        "INSERT INTO readings_1m_dirty (machine_key, minute) "
        "SELECT DISTINCT machine_key, date_trunc('minute', instant) FROM readings"
    )
    op.execute(_PARTITIONS)
    op.execute(_RETAIN)
    op.execute("REVOKE ALL ON FUNCTION apply_readings_retention(timestamptz) FROM PUBLIC")
    op.execute(_GRANTS)


def downgrade() -> None:
    # The mended function for partitions stays: it does what the former one promised.
    op.execute("DROP FUNCTION apply_readings_retention(timestamptz)")
    op.drop_table("readings_1m_dirty")
