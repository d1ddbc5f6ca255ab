"""How likely a machine is to fail within a horizon, and how long it has: learnt from past lives."""

from domain.risk.class_risk import ClassRisk
from domain.risk.lives import Life
from domain.risk.model import Forecast, RiskModel
from domain.risk.outlook import Failure

__all__ = ["ClassRisk", "Failure", "Forecast", "Life", "RiskModel"]
