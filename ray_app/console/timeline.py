"""A machine's past as one picture: scores and the sensors that matter, drawn as SVG. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from domain.readings import Instants

type Series = npt.NDArray[np.float64]

WIDTH, HEIGHT = 720.0, 84.0
"""Of one panel, in SVG units; the page scales it to its own width."""

_MOST_POINTS = 240


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """What is drawn in one panel.

    Attributes:
        instants_us: Shape (n,), n >= 1.
        observed: Shape (n,); NaN is missing and breaks the line.
        expected: Shape (n,); None where nothing is expected.
    """

    instants_us: Instants
    observed: Series
    expected: Series | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One panel.

    Attributes:
        title: Name of what it shows.
        unit: Of its values.
        path: SVG path of what was observed.
        expected: SVG path of what the model expected; empty where it says nothing.
        limit: Height of the threshold, where there is one.
        low: Value at the bottom.
        high: Value at the top.
        last: Newest value; None when it is missing.
    """

    title: str
    unit: str
    path: str
    expected: str
    limit: float | None
    low: float
    high: float
    last: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A period to be shaded: where it begins and how wide it is, in SVG units."""

    x: float
    width: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The period that all panels share.

    Attributes:
        start_us: Left edge, microseconds UTC.
        end_us: Right edge.
    """

    start_us: int
    end_us: int

    def x(self, instants_us: Instants) -> Series:
        """Return where instants lie, in SVG units."""
        span = max(self.end_us - self.start_us, 1)
        place: Series = (instants_us - self.start_us) / span * WIDTH
        return place

    def mark(self, instant_us: int) -> float | None:
        """Return where an instant lies, in SVG units; None when it is not visible."""
        if not self.start_us <= instant_us <= self.end_us:
            return None
        return round(float(self.x(np.array([instant_us], dtype=np.int64))[0]), 1)

    def shade(self, start_us: int, end_us: int, kind: str) -> Shade | None:
        """Return the visible part of a period, None when it is not visible."""
        left, right = max(start_us, self.start_us), min(end_us, self.end_us)
        if right < left:
            return None
        edges = self.x(np.array([left, right], dtype=np.int64))
        width = max(float(edges[1] - edges[0]), 1.5)
        return Shade(x=round(float(edges[0]), 1), width=round(width, 1), kind=kind)


def thinned(instants_us: Instants, values: Series) -> tuple[Instants, Series]:
    """Return at most a few hundred points that keep every peak.

    Args:
        instants_us: Shape (n,).
        values: Shape (n,); NaN is missing.
    """
    if len(values) <= _MOST_POINTS:
        return instants_us, values
    edges = np.linspace(0, len(values), _MOST_POINTS // 2 + 1, dtype=np.intp)
    kept: list[int] = []
    for start, end in pairwise(edges.tolist()):
        part = values[start:end]
        if np.isnan(part).all():
            kept.append(start)
        else:
            kept += sorted({int(start + np.nanargmin(part)), int(start + np.nanargmax(part))})
    return instants_us[kept], values[kept]


def line(
    axis: Axis, title: str, curve: Curve, *, unit: str = "", limit: float | None = None
) -> Line:
    """Return one panel.

    Args:
        axis: The period.
        title: Name of what it shows.
        curve: What was observed and expected.
        unit: Of the values.
        limit: A threshold; the scale then begins at zero.
    """
    series = [one for one in (curve.observed, curve.expected) if one is not None]
    low, high = _scale(series, limit)

    def path(values: Series) -> str:
        thin_at, thin = thinned(curve.instants_us, values)
        return _path(axis.x(thin_at), HEIGHT - (thin - low) / (high - low) * HEIGHT)

    last = float(curve.observed[-1])
    return Line(
        title=title,
        unit=unit,
        path=path(curve.observed),
        expected="" if curve.expected is None else path(curve.expected),
        limit=None if limit is None else round(HEIGHT - (limit - low) / (high - low) * HEIGHT, 1),
        low=low,
        high=high,
        last=last if np.isfinite(last) else None,
    )


def _scale(series: Sequence[Series], limit: float | None) -> tuple[float, float]:
    flat = np.concatenate([one[np.isfinite(one)] for one in series])
    if not len(flat):
        return 0.0, 1.0
    if limit is not None:
        return 0.0, max(float(flat.max()) * 1.08, limit * 1.5)
    low, high = float(flat.min()), float(flat.max())
    room = (high - low) * 0.08 or max(abs(high), 1.0) * 0.05
    return low - room, high + room


def _path(x: Series, y: Series) -> str:
    return "".join(_steps(x, y))


def _steps(x: Series, y: Series) -> Iterator[str]:
    pen_down = False
    for at, height in zip(x.tolist(), y.tolist(), strict=True):
        if np.isfinite(height):
            yield f"{'L' if pen_down else 'M'}{at:.1f} {height:.1f}"
        pen_down = bool(np.isfinite(height))
