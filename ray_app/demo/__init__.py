"""The demonstration: a fleet that fails, and a platform that notices."""
