"""How likely a machine is to fail within a horizon, and how long it has: learnt from past lives."""

from domain.risk.model import Forecast, Life, RiskModel

__all__ = ["Forecast", "Life", "RiskModel"]
