"""Kafka to Postgres, side by side with what others would pick instead: `make bench-ingest`."""
