"""Composition root: settings, CLI, cluster, actors, Serve applications and console."""
