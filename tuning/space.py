"""Where a sweep looks: feature pipelines first, then detectors, then where health ends.

Features explain most of what differs between configurations and the family of the detector little
(`docs/decisions/0004` says what was measured), so windows, baselines and feature sets are searched
as finely as detectors. Choices hang together: only a gated feature set has a gate, only a whitened
one a horizon, only a mixture has components, only PCA keeps a share of variance, and only a
threshold without a return period has a margin.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final, Protocol

from domain.features.kinds import FEATURE_SETS, is_gated, is_whitened
from domain.pipeline_spec import PipelineSpec
from domain.thresholds import THRESHOLDS

DETECTORS: Final = (
    "pca",
    "mahalanobis",
    "gmm",
    "gmm-diag",
    "kmeans",
    "minibatch",
    "birch",
    "dbscan",
    "hdbscan",
    "glosh",
    "knn",
    "lof",
    "scales",
    "ensemble",
    "ensemble-wide",
)
EUCLIDEAN: Final = ("kmeans", "minibatch", "birch", "dbscan", "hdbscan", "glosh", "knn", "lof")
"""Detectors that take distances as they are; others would undo whitened features' whitening."""

_CENTRES: Final = "centres"
"""Clusters of k-means under a name of their own: Optuna knows a name by one distribution."""

_DISTANCE: Final = "distance"
"""Detector of whitened features, for the same reason."""

_CLUSTERED: Final = frozenset({"mahalanobis", "gmm", "gmm-diag", "ensemble", "ensemble-wide"})
_CENTRED: Final = frozenset({"kmeans", "minibatch"})
_REDUCING: Final = frozenset({"pca", "scales", "ensemble", "ensemble-wide"})
_NEIGHBOURLY: Final = frozenset({"glosh", "knn", "lof", "ensemble-wide"})
_WINDOWS_S: Final = (5.0, 120.0)
_BASELINES_S: Final = (150.0, 1800.0)
_HORIZONS_S: Final = (300.0, 4 * 3600.0)
_RETURNS_S: Final = (3600.0, 30 * 86_400.0)


class Suggests(Protocol):
    """What draws a value; Optuna's trial does."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw one of the choices."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Draw a whole number."""


def suggest(trial: Suggests) -> None:
    """Draw a configuration; which fields are drawn hangs on those drawn before."""
    features = trial.suggest_categorical("features", tuple(FEATURE_SETS))
    trial.suggest_float("window_s", *_WINDOWS_S, log=True)
    if is_gated(features):
        trial.suggest_float("baseline_s", *_BASELINES_S, log=True)
        trial.suggest_float("gate_sd", 2.5, 6.0)
        trial.suggest_float("recover_s", 20.0, 180.0, log=True)
    if is_whitened(features):
        trial.suggest_float("horizon_s", *_HORIZONS_S, log=True)
    trial.suggest_int("regimes", 1, 6)
    if is_whitened(features):
        detector = trial.suggest_categorical(_DISTANCE, EUCLIDEAN)
    else:
        detector = trial.suggest_categorical("detector", DETECTORS)
    if detector in _CLUSTERED:
        trial.suggest_int("clusters", 1, 6)
    elif detector in _CENTRED:
        trial.suggest_int(_CENTRES, 2, 24, log=True)
    if detector in _REDUCING:
        trial.suggest_float("variance", 0.6, 0.99)
    if detector in _NEIGHBOURLY:
        trial.suggest_int("neighbours", 4, 32, log=True)
    if trial.suggest_categorical("threshold", THRESHOLDS) == "margin":
        trial.suggest_categorical("quantile", (0.99, 0.995, 0.999))
        trial.suggest_float("margin", 1.1, 1.6)
    else:
        trial.suggest_float("return_s", *_RETURNS_S, log=True)
    trial.suggest_categorical("trim", (0.0, 0.01, 0.03))


def spec_of(drawn: Mapping[str, Any]) -> PipelineSpec:
    """Return the specification of a drawn configuration; what was not drawn keeps its default.

    Raises:
        BadInputError: A field is unknown or out of range.
    """
    fields_of = {_CENTRES: "clusters", _DISTANCE: "detector"}
    renamed = {fields_of.get(name, name): value for name, value in drawn.items()}
    return PipelineSpec.from_dict(renamed)


def drawn_of(spec: PipelineSpec) -> dict[str, Any]:
    """Return what `suggest` would have drawn for a specification within the space."""
    recorder = _Recorder({**asdict(spec), _CENTRES: spec.clusters, _DISTANCE: spec.detector})
    suggest(recorder)
    return recorder.drawn


def warm_start(count: int) -> tuple[PipelineSpec, ...]:
    """Return strong configurations to begin with, so that a short sweep is a good one already.

    Half of a sweep at most: the rest is for what nobody thought of.

    Args:
        count: Trials of the sweep.
    """
    return _STRONG[: max(1, count // 2)]


def differences(spec: PipelineSpec) -> dict[str, Any]:
    """Return the fields in which a specification differs from the defaults, for people."""
    default = PipelineSpec()
    names = (field.name for field in fields(PipelineSpec))
    return {
        name: getattr(spec, name) for name in names if getattr(spec, name) != getattr(default, name)
    }


_STRONG: Final = (
    PipelineSpec(),
    PipelineSpec(features="gated", detector="pca", window_s=30.0),
    PipelineSpec(detector="ensemble"),
    PipelineSpec(features="gated", detector="gmm", clusters=2, window_s=30.0),
    PipelineSpec(features="gated-window", detector="pca", window_s=30.0),
    PipelineSpec(features="gated", detector="mahalanobis", clusters=2, window_s=30.0),
    PipelineSpec(features="gated", detector="kmeans", clusters=8, window_s=30.0),
    PipelineSpec(features="gated-spread", detector="pca", window_s=20.0),
    PipelineSpec(features="gated", detector="hdbscan", window_s=30.0),
    PipelineSpec(features="gated", detector="pca", window_s=60.0, variance=0.8),
    PipelineSpec(features="gated-trend", detector="gmm-diag", clusters=3, window_s=30.0),
    PipelineSpec(features="window", detector="pca", window_s=30.0),
    PipelineSpec(features="gated", detector="dbscan", window_s=30.0),
    PipelineSpec(threshold="evt"),
    PipelineSpec(features="window-whitened", detector="kmeans", clusters=2, window_s=30.0),
    PipelineSpec(features="gated-bands", detector="pca", window_s=60.0),
    PipelineSpec(features="gated", detector="birch", window_s=30.0),
)


class _Recorder:
    """Draws what it was given."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self.drawn: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:  # noqa: ARG002 - the protocol's
        return self._take(name)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:  # noqa: ARG002 - the protocol's
        return float(self._take(name))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002 - the protocol's
        return int(self._take(name))

    def _take(self, name: str) -> Any:
        self.drawn[name] = self._given[name]
        return self.drawn[name]
