"""Pictures of a model, as PNG bytes, drawn without a display and without pyplot's global state."""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from domain.pipeline import Pipeline
from domain.readings import History
from domain.replay import DEFAULT_RULES, lay_fault

_HEALTHY, _FAULTY, _LIMIT = "#2a7f9e", "#c8553d", "#333333"
_MOST_POINTS: Final = 4000


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
    split = round(DEFAULT_RULES.train_share * len(history))
    onset, faulty = lay_fault(history.values[split:], np.random.default_rng(seed))
    whole = np.concatenate([history.values[:split], faulty])
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
    axes.axvspan(minutes[split + onset], minutes[-1], color=_FAULTY, alpha=0.1, label="fault")
    axes.set(xlabel="minutes", ylabel="score", ylim=(0, None))
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


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
