"""Machines in motion: healthy signals, regimes, failures, and the truth about them."""

from domain.class_spec import ClassSpec, FailureMode
from domain.simulation.failures import Failure
from domain.simulation.fleet import Chunk, Fleet

__all__ = ["Chunk", "ClassSpec", "Failure", "FailureMode", "Fleet"]
