"""Postgres: schema, migrations, reads and writes. Nothing else imports psycopg2."""
