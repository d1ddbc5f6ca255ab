"""Scores for detectors and forecasts, as published benchmarks define them."""
