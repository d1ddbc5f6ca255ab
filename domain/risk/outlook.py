"""What is told of a machine's future; the same words in stream, HTTP and console."""

from dataclasses import dataclass, field
from typing import Literal

from domain.records import shallow


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonRisk:
    """Risk of failure within a horizon.

    Attributes:
        horizon: `1 h`, `1 d`, `7 d`, or `30 cycles` of a class whose readings are cycles.
        horizon_s: The same in seconds.
        kind: `unknown` where the history cannot carry a probability.
        p: Probability, 0 to 1; null when unknown.
        interval: Its 90 % interval; null when unknown.
        reason: Why it is unknown.
    """

    horizon: str
    horizon_s: float
    kind: Literal["probability", "unknown"]
    p: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """How long the machine has.

    Attributes:
        kind: `conformal`: learnt from failures. `time_to_threshold`: the trend of its health
            extrapolated, which is no promise of a failure.
        seconds: The estimate; null when unknown.
        interval: 90 %, in seconds; an upper end of null is open.
        reason: Why it is unknown.
    """

    kind: Literal["conformal", "time_to_threshold", "unknown"]
    seconds: float | None = None
    interval: tuple[float, float | None] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalSensor:
    """A sensor that shows a failure mode.

    Attributes:
        sensor: Its name.
        direction: up or down.
        departure: Mean departure at the failure, in healthy standard deviations of what the sensor
            does alone: what it does together with the others, as with every change of regime, is
            taken out.
    """

    sensor: str
    direction: str
    departure: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMode:
    """The failure mode that the machine's departures are most like.

    Attributes:
        mode: Its name; `unknown` when none is near enough.
        distance: 0 is the same direction, 1 is unrelated; null without any mode to compare with.
        confidence: How much nearer it is than the next one, 0 to 1.
        lead_time_s: Median time from the first departure to the failure; null when unknown.
        reason: Why it is unknown.
        sensors: Those that show the mode, largest departure first; empty when unknown.
    """

    mode: str
    distance: float | None = None
    confidence: float = 0.0
    lead_time_s: float | None = None
    reason: str = ""
    sensors: list[TypicalSensor] = field(default_factory=list)

    def sentence(self) -> str:
        """Return it for people.

        >>> NearestMode(mode="unknown", reason="no risk model").sentence()
        'unknown: no risk model'
        >>> NearestMode(mode="bearing_wear", confidence=0.8, lead_time_s=600.0).sentence()
        'bearing_wear, 80 % sure, 600 s after the first sign'
        """
        if self.mode == "unknown":
            return f"unknown: {self.reason}"
        lead = (
            "" if self.lead_time_s is None else f", {self.lead_time_s:.0f} s after the first sign"
        )
        shown = ", ".join(f"{one.sensor} {one.direction}" for one in self.sensors[:3])
        return f"{self.mode}, {self.confidence:.0%} sure{lead}".replace("%", " %") + (
            f"; {shown}" if shown else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMode(NearestMode):
    """The failure mode that a machine was most like during an incident.

    Attributes:
        as_of: Up to when readings were used, RFC 3339; null when none were.
        risk_version: Of the risk model that told; null without one.
    """

    as_of: str | None = None
    risk_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Risk of failure; unknown where nothing is known, never a guess.

    Attributes:
        status: `known` with a probability, `trend` with only a time to a threshold, `unknown`.
        reason: Why it is not known.
        horizons: Risk per horizon.
        remaining: Remaining life; null when unknown.
        mode: The nearest failure mode; null without any to compare with.
        as_of: Up to when readings were used, RFC 3339; whole minutes only. Null when unknown.
        risk_version: Of the risk model; null without one.
    """

    status: Literal["known", "trend", "unknown"] = "unknown"
    reason: str = "no risk model has been learnt for this machine class yet"
    horizons: list[HorizonRisk] = field(default_factory=list)
    remaining: Remaining | None = None
    mode: NearestMode | None = None
    as_of: str | None = None
    risk_version: int | None = None


def mode_of(failure: Failure | None) -> IncidentMode:
    """Return what is to be kept of the nearest mode with an incident; unknown where it is."""
    told = failure or Failure()
    if told.mode is None:
        reason = "no failure of its class that shows in the sensors is known yet"
        if failure is None or told.as_of is None:
            reason = told.reason
        return IncidentMode(
            mode="unknown", reason=reason, as_of=told.as_of, risk_version=told.risk_version
        )
    return IncidentMode(**shallow(told.mode), as_of=told.as_of, risk_version=told.risk_version)
