"""Hyperparameters of a pipeline: what a sweep chooses and a package records."""

from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Self

import msgspec

from domain.detectors import DETECTORS
from domain.errors import BadInputError
from domain.features.kinds import FEATURE_SETS, scales_of
from domain.thresholds import THRESHOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """Everything that decides a pipeline but its data and its seed.

    The defaults were chosen on simulated pumps and on the development runs of a real testbed;
    docs/benchmarks.md says what was looked at for which of them.

    Attributes:
        features: Name in `FEATURE_SETS`.
        detector: Name in `DETECTORS`.
        window_s: Seconds of the rolling window; at least one reading.
        baseline_s: Time constant of the gated baseline, seconds.
        gate_sd: Deviation in healthy standard deviations of the window's mean at which a sensor's
            baseline freezes.
        recover_s: Seconds of calm after which a frozen baseline moves to the new level.
        horizon_s: Seconds after its training that a whitened feature set is meant for.
        regimes: At most this many operating regimes; 1 switches them off.
        clusters: Centres or mixture components of detectors that have them.
        neighbours: Nearest healthy rows that knn, lof and glosh look at.
        variance: Share of variance that PCA keeps in its model; in (0, 1).
        trim: Share of training rows taken for contamination and left out; in [0, 0.5).
        threshold: Name in `THRESHOLDS`.
        return_s: Seconds of health in which the threshold `evt` is exceeded once.
        quantile: Quantile of out-of-fold scores that becomes the threshold `margin`; in (0.5, 1].
        margin: Factor on that quantile; >= 1.
        blocks: Contiguous blocks of the out-of-fold scores; >= 2.
    """

    features: str = "gated-scales"
    detector: str = "scales"
    window_s: float = 60.0
    baseline_s: float = 600.0
    gate_sd: float = 4.0
    recover_s: float = 60.0
    horizon_s: float = 1800.0
    regimes: int = 4
    clusters: int = 2
    neighbours: int = 10
    variance: float = 0.9
    trim: float = 0.01
    threshold: str = "margin"
    return_s: float = 86_400.0
    quantile: float = 0.999
    margin: float = 4 / 3
    blocks: int = 5

    def __post_init__(self) -> None:
        problems = [text for text in _problems(self) if text]
        if problems:
            raise BadInputError("; ".join(problems), "pipeline spec")

    @property
    def scales(self) -> int:
        """Lengths of window that the features are made at."""
        return scales_of(self.features)

    def window_rows(self, period_s: float) -> int:
        """Return how many readings of a class with this nominal period a window holds; >= 1."""
        return max(1, round(self.window_s / period_s))

    def stretched(self, factor: float) -> Self:
        """Return it with its times stretched, for machines that are read at another rate."""
        return replace(
            self,
            window_s=self.window_s * factor,
            baseline_s=self.baseline_s * factor,
            recover_s=self.recover_s * factor,
            horizon_s=self.horizon_s * factor,
            return_s=self.return_s * factor,
        )

    def to_json(self) -> str:
        """Return the hyperparameters as one JSON object."""
        return msgspec.json.encode(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote; fields that are not there keep their defaults.

        Raises:
            BadInputError: It is no JSON object, or a field is unknown or out of range.
        """
        try:
            return cls.from_dict(msgspec.json.decode(text, type=dict[str, object]))
        except msgspec.DecodeError as error:
            raise BadInputError(f"it is not a JSON object: {error}", "pipeline spec") from error

    @classmethod
    def from_dict(cls, given: dict[str, object]) -> Self:
        """Build a spec from loose values, such as a sweep's sample.

        Raises:
            BadInputError: A field is unknown, of the wrong type or out of range.
        """
        unknown = sorted(set(given) - {field.name for field in fields(cls)})
        if unknown:
            raise BadInputError(f"unknown fields {', '.join(unknown)}", "pipeline spec")
        try:
            return msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            raise BadInputError(str(error), "pipeline spec") from error


def _problems(spec: PipelineSpec) -> tuple[str, ...]:
    return (
        _member("features", spec.features, tuple(FEATURE_SETS)),
        _member("detector", spec.detector, tuple(DETECTORS)),
        _within("window_s", spec.window_s, 0, 86_400),
        _within("baseline_s", spec.baseline_s, 0, 30 * 86_400),
        _within("gate_sd", spec.gate_sd, 0, 1000),
        _within("recover_s", spec.recover_s, 0, 86_400),
        _within("horizon_s", spec.horizon_s, 0, 1e12),
        _within("regimes", spec.regimes, 1, 16, closed=True),
        _within("clusters", spec.clusters, 1, 64, closed=True),
        _within("neighbours", spec.neighbours, 1, 100, closed=True),
        _within("variance", spec.variance, 0, 0.9999),
        _within("trim", spec.trim, 0, 0.5, closed=True),
        _member("threshold", spec.threshold, THRESHOLDS),
        _within("return_s", spec.return_s, 0, 1e12),
        _within("quantile", spec.quantile, 0.5, 1),
        _within("margin", spec.margin, 1, 100, closed=True),
        _within("blocks", spec.blocks, 2, 100, closed=True),
    )


def _member(name: str, value: str, allowed: tuple[str, ...]) -> str:
    return "" if value in allowed else f"{name} is {value!r}; allowed are {', '.join(allowed)}"


def _within(name: str, value: float, low: float, high: float, *, closed: bool = False) -> str:
    above = value >= low if closed else value > low
    if isfinite(value) and above and value <= high:
        return ""
    return f"{name} is {value}; allowed is {'[' if closed else '('}{low}, {high}]"
