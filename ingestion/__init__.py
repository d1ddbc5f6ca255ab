"""Kafka to Postgres and back: publish and consume loops over small protocols."""
