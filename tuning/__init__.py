"""Search space, objective, sweep, registry and promotion."""
