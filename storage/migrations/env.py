"""What Alembic runs: migrations on the connection that `storage.migrate` hands over."""

from alembic import context

from storage.schema_base import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # One transaction for all: an upgrade that fails leaves the database as it was.
    transaction_per_migration=False,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
