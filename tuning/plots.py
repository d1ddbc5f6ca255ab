"""Pictures of a model, as PNG bytes, drawn without a display and without pyplot's global state."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from domain.laid_faults import DEFAULT_RULES, lay_fault
from domain.pipeline import Pipeline
from domain.readings import History
from domain.replay import partial_auc
from tuning.objective import FAILED, TrialRecord

_HEALTHY, _FAULTY, _LIMIT = "#2a7f9e", "#c8553d", "#333333"
_MOST_POINTS: Final = 4000
_MOST_BARS: Final = 20
_AXES: Final = ("features", "detector", "threshold", "window_s", "regimes", "clusters", "trim")
"""Hyperparameters that parallel coordinates show, from what matters most."""


def score_histogram(healthy: Sequence[float], faulty: Sequence[float], title: str) -> bytes:
    """Draw how scores of healthy rows and of rows with a fault laid over are spread.

    Args:
        healthy: Scores of held-out healthy rows.
        faulty: Scores of rows with a fault.
        title: Above the picture.
    """
    figure, axes = _canvas(title)
    top = float(np.quantile([*healthy, *faulty, 1.5], 0.99))
    bins = np.linspace(0, max(top, 1.5), 60)
    for scores, colour, label in (
        (healthy, _HEALTHY, "healthy"),
        (faulty, _FAULTY, "with a fault"),
    ):
        axes.hist(
            np.clip(scores, 0, bins[-1]), bins, color=colour, alpha=0.6, label=label, density=True
        )
    axes.axvline(1, color=_LIMIT, linestyle="--", label="threshold")
    axes.set(xlabel="score", ylabel="density")
    axes.legend(frameon=False)
    return _png(figure)


def timeline(pipeline: Pipeline, history: History, *, seed: int, title: str) -> bytes:
    """Draw the scores of held-out history, as it was and with one fault laid over.

    Args:
        pipeline: Fitted to the older part.
        history: One machine's.
        seed: Of the fault.
        title: Above the picture.
    """
    split, onset, whole = _with_fault(history, seed)
    minutes = (history.instants_us - history.instants_us[0]) / 60e6
    figure, axes = _canvas(title)
    for values, colour, label in (
        (whole, _FAULTY, "with a fault"),
        (history.values, _HEALTHY, "healthy"),
    ):
        state = pipeline.new_state(history.machine)
        _line(
            axes, minutes, pipeline.score(state, history.instants_us, values).score, colour, label
        )
    axes.axhline(1, color=_LIMIT, linestyle="--", linewidth=1)
    axes.axvspan(0, minutes[split], color=_HEALTHY, alpha=0.08, label="learnt from")
    axes.axvspan(minutes[onset], minutes[-1], color=_FAULTY, alpha=0.1, label="fault")
    axes.set(xlabel="minutes", ylabel="score", ylim=(0, None))
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def replay_roc(healthy: Sequence[float], faulty: Sequence[float], title: str) -> bytes:
    """Draw detection of faulty rows over false alarms, and where the threshold lies on it.

    Args:
        healthy: Scores of held-out healthy rows; at least one.
        faulty: Scores of rows with a fault laid over; at least one.
        title: Above the picture.
    """
    normal, ill = np.asarray(healthy), np.asarray(faulty)
    truth = np.repeat((0, 1), (len(normal), len(ill)))
    alarms, detected, _ = roc_curve(truth, np.concatenate((normal, ill)))
    auc = partial_auc(normal, ill, fpr=DEFAULT_RULES.fpr)
    figure, axes = _canvas(title)
    axes.plot(alarms, detected, color=_HEALTHY, label=f"partial area {auc:.3f}")
    axes.plot((0, 1), (0, 1), color=_LIMIT, linewidth=0.6, linestyle=":", label="chance")
    axes.axvspan(0, DEFAULT_RULES.fpr, color=_HEALTHY, alpha=0.08, label="counts in the area")
    axes.plot((normal > 1).mean(), (ill > 1).mean(), "o", color=_FAULTY, label="threshold")
    axes.set(xlabel="false-alarm rate", ylabel="detection", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def parallel_coordinates(trials: Sequence[TrialRecord], title: str) -> bytes:
    """Draw what was tried, a line per configuration, coloured by its objective.

    Args:
        trials: Those of the first rung are drawn, if they could be judged.
        title: Above the picture.
    """
    drawn = [
        (asdict(one.spec), one.outcome.objective)
        for one in trials
        if one.spec is not None and one.stage == "screen" and one.outcome.objective > FAILED
    ]
    figure, axes = _canvas(title)
    places = np.arange(len(_AXES) + 1)
    objectives = np.array([objective for _, objective in drawn])
    heights = np.column_stack(
        [
            *(_heights([spec[name] for spec, _ in drawn]) for name in _AXES),
            _heights(list(objectives)),
        ]
    )
    shades = colormaps["viridis"](heights[:, -1])
    for at in np.argsort(objectives):  # the best are drawn last, above the others
        axes.plot(places, heights[at], color=shades[at], linewidth=1.2, alpha=0.7)
    for place, name in enumerate((*_AXES, "objective")):
        axes.axvline(place, color=_LIMIT, linewidth=0.5)
        values = [spec.get(name, objective) for spec, objective in drawn]
        for height, label in _ticks(values):
            axes.text(place + 0.03, height, label, fontsize=6, color=_LIMIT)
    axes.set(yticks=[], xlim=(-0.2, len(_AXES) + 0.6), ylim=(-0.05, 1.05))
    axes.set_xticks(places, (*_AXES, "objective"))
    return _png(figure)


def contribution_bars(pipeline: Pipeline, history: History, *, seed: int, title: str) -> bytes:
    """Draw what each sensor contributes to the score, in health and with one fault laid over.

    Args:
        pipeline: Fitted to the older part.
        history: One machine's.
        seed: Of the fault; equal seeds lay the fault of `timeline`.
        title: Above the picture.
    """
    _, onset, whole = _with_fault(history, seed)
    means: Mapping[str, npt.NDArray[np.float64]] = {
        label: pipeline.score(pipeline.new_state(history.machine), history.instants_us, values)
        .contributions[onset:]
        .mean(axis=0)
        for label, values in (("healthy", history.values), ("with a fault", whole))
    }
    order = np.argsort(means["with a fault"])[::-1][:_MOST_BARS][::-1]
    touched = (whole[onset:] != history.values[onset:]) & ~np.isnan(history.values[onset:])
    names = [
        name + (" (fault)" if hit else "")
        for name, hit in zip(pipeline.machine_class.sensor_names, touched.any(axis=0), strict=True)
    ]
    figure, axes = _canvas(title)
    places = np.arange(len(order))
    for shift, (label, colour) in enumerate((("healthy", _HEALTHY), ("with a fault", _FAULTY))):
        axes.barh(places + 0.4 * shift, means[label][order], 0.4, color=colour, label=label)
    axes.set_yticks(places + 0.2, [names[at] for at in order], fontsize=7)
    axes.set(xlabel="mean part of the score")
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


def _with_fault(history: History, seed: int) -> tuple[int, int, npt.NDArray[np.float64]]:
    """Return where the newer part and its fault begin, and all readings with the fault."""
    split = round(DEFAULT_RULES.train_share * len(history))
    onset, faulty = lay_fault(history.values[split:], np.random.default_rng(seed))
    return split, split + onset, np.concatenate([history.values[:split], faulty])


def _heights(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    """Return where on an axis from 0 to 1 each value stands; words in their order."""
    if values and isinstance(values[0], str):
        kinds = sorted(set(values))
        return np.array([(kinds.index(one) + 0.5) / len(kinds) for one in values])
    numbers = np.asarray(values, dtype=np.float64)
    reach = float(np.ptp(numbers)) if len(numbers) else 0.0
    return (numbers - numbers.min()) / reach if reach else np.full(len(numbers), 0.5)


def _ticks(values: Sequence[Any]) -> list[tuple[float, str]]:
    """Return heights and labels: all words, or the ends of the numbers."""
    marks = dict(zip(_heights(values).tolist(), values, strict=True))
    if values and not isinstance(values[0], str):
        marks = {at: marks[at] for at in {min(marks), max(marks)}}
    return [(at, one if isinstance(one, str) else f"{one:.3g}") for at, one in marks.items()]


def _line(
    axes: Any,
    minutes: npt.NDArray[np.float64],
    scores: npt.NDArray[np.float64],
    colour: str,
    label: str,
) -> None:
    step = -(-len(scores) // _MOST_POINTS)
    axes.plot(minutes[::step], scores[::step], color=colour, linewidth=0.9, label=label)


def _canvas(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
