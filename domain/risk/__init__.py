"""How likely a machine is to fail within a horizon, and how long it has: learnt from past lives."""

from domain.risk.lives import Life
from domain.risk.model import Forecast, RiskModel
from domain.risk.outlook import Failure

__all__ = ["Failure", "Forecast", "Life", "RiskModel"]
