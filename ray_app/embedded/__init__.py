"""The embedded default: a real Kafka, PostgreSQL and MLflow, started from packages."""
