"""How likely a machine is to fail within a horizon, and how long it has: learnt from past lives."""

from domain.risk.lives import Life
from domain.risk.model import Forecast, RiskModel

__all__ = ["Forecast", "Life", "RiskModel"]
