"""Roles by what they may do, and a function that makes partitions for a role that may not."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Attached instead of created as a partition: ATTACH takes a lock that lets readers and writers of
# the other days go on. SECURITY DEFINER, since only the owner of a table may add to it, and a
# consumer logs in as a writer.
_PARTITIONS = """
CREATE FUNCTION ensure_readings_partitions(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    one date;
    made integer := 0;
    part text;
BEGIN
    FOREACH one IN ARRAY days LOOP
        part := 'readings_' || to_char(one, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('readings partitions'));
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
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

# Roles belong to the whole server: they may be there from another database, and a role that may
# not create roles goes on without them.
_ROLES = """
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['millwright_owner', 'millwright_writer', 'millwright_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', one);
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
        END;
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO millwright_reader', current_schema());
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO millwright_reader',
            current_schema());
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES '
            'TO millwright_reader', current_schema());
        -- Who may read the fleet need not know who else may.
        REVOKE ALL ON api_keys FROM millwright_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_writer') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO millwright_writer', current_schema());
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I '
            'TO millwright_writer', current_schema());
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE '
            'ON TABLES TO millwright_writer', current_schema());
        -- What happened to a model is told once and never changed.
        REVOKE UPDATE, DELETE ON model_events FROM millwright_writer;
        REVOKE ALL ON api_keys FROM millwright_writer;
        GRANT SELECT ON api_keys TO millwright_writer;
        GRANT EXECUTE ON FUNCTION ensure_readings_partitions(date[]) TO millwright_writer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'millwright_owner') THEN
        EXECUTE format('GRANT ALL ON SCHEMA %I TO millwright_owner', current_schema());
        EXECUTE format('GRANT ALL ON ALL TABLES IN SCHEMA %I TO millwright_owner',
            current_schema());
        GRANT EXECUTE ON FUNCTION ensure_readings_partitions(date[]) TO millwright_owner;
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute(_PARTITIONS)
    # A function is open to everybody until that is taken back.
    op.execute("REVOKE ALL ON FUNCTION ensure_readings_partitions(date[]) FROM PUBLIC")
    op.execute(_ROLES)


def downgrade() -> None:
    # The roles stay: other databases of the server may use them.
    op.execute("DROP FUNCTION ensure_readings_partitions(date[])")
