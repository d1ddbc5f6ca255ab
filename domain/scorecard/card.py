"""The scorecard itself: every run under every seed, with spread, beside the baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from domain.scorecard.baselines import BASELINES, judge_baseline
from domain.scorecard.protocol import judge
from domain.scorecard.runs import Run
from domain.scorecard.tally import Figures, Tally, figures

RISK_FIGURES: Final = ("auc", "brier", "calibration_error", "rmse", "coverage", "rmse_last")
_RESAMPLES: Final = 1000

type Card = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunScores:
    """A run under all seeds.

    Attributes:
        ours: One tally per seed.
        baselines: Name → one tally per seed.
    """

    ours: tuple[Tally, ...]
    baselines: dict[str, tuple[Tally, ...]]


def score_run(run: Run, *, seeds: int, by_replay: bool = False) -> RunScores:
    """Score a run with the pipeline and with every baseline.

    Raises:
        BadInputError: The run is too short to learn from.
    """
    ours = [Tally.of(run, judge(run, seed=seed, by_replay=by_replay)) for seed in range(seeds)]
    others = {
        name: tuple(Tally.of(run, judge_baseline(name, run, seed=seed)) for seed in range(seeds))
        for name in BASELINES
    }
    return RunScores(ours=tuple(ours), baselines=others)


def runs_card(scored: Sequence[RunScores]) -> Card:
    """Return the figures of all runs together, per file, and of the baselines.

    Every figure is the mean over seeds. `spread` holds its standard deviation over seeds and, of
    the counted ones, a 90 % interval over runs (bootstrap): with few runs that is the larger one.
    """
    by_seed = _by_seed([one.ours for one in scored])
    per_seed = [figures(tallies) for tallies in by_seed]
    baselines = {
        name: _mean([figures(tallies) for tallies in _by_seed([s.baselines[name] for s in scored])])
        for name in (scored[0].baselines if scored else ())
    }
    return {
        **_mean(per_seed),
        **dict.fromkeys(RISK_FIGURES),
        "spread": _spread(per_seed, over_runs(by_seed[0])),
        "per_file": _per_file([one.ours for one in scored]),
        "baselines": baselines,
    }


def fleet_card(per_file: Mapping[str, Sequence[Mapping[str, float]]]) -> Card:
    """Return risk figures: of each file, and their mean over files.

    Args:
        per_file: Name of a file → what `risk_figures` gave for it under each seed.
    """
    each = {name: [dict[str, Any](one) for one in found] for name, found in per_file.items()}
    per_seed = [_mean(one) for one in zip(*each.values(), strict=True)]
    return {
        **_mean(per_seed),
        "spread": _spread(per_seed, {}),
        "per_file": {name: _mean(found) for name, found in each.items()},
        "baselines": {},
    }


def over_runs(tallies: Sequence[Tally]) -> dict[str, tuple[float, float]]:
    """Return 90 % intervals of F1, FAR and MAR when other runs of the kind had been drawn.

    Percentile bootstrap over runs, Efron & Tibshirani 1993, ch. 13.
    """
    labelled = [one.confusion for one in tallies if one.labelled]
    if len(labelled) < 2:
        return {}
    counts = np.array([[c.tp, c.fp, c.fn, c.tn] for c in labelled], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(counts), (_RESAMPLES, len(counts)))
    tp, fp, fn, tn = counts[drawn].sum(axis=1).T
    tiny = 1e-9
    shares = {
        "f1": 2 * tp / (2 * tp + fp + fn + tiny),
        "far": 100 * fp / (fp + tn + tiny),
        "mar": 100 * fn / (fn + tp + tiny),
    }
    return {
        name: (float(np.quantile(share, 0.05)), float(np.quantile(share, 0.95)))
        for name, share in shares.items()
    }


def _per_file(per_run: Sequence[tuple[Tally, ...]]) -> Card:
    """Return the figures by name of the run; runs of one name are counted together."""
    named: dict[str, list[tuple[Tally, ...]]] = {}
    for one in per_run:
        named.setdefault(one[0].run, []).append(one)
    return {name: _mean([figures(each) for each in _by_seed(ours)]) for name, ours in named.items()}


def _by_seed(per_run: Sequence[tuple[Tally, ...]]) -> list[tuple[Tally, ...]]:
    return list(zip(*per_run, strict=True))


def _mean(found: Sequence[Figures]) -> Figures:
    names = dict.fromkeys(name for one in found for name in one)
    return {name: _mean_of([one.get(name) for one in found]) for name in names}


def _mean_of(values: Sequence[float | None]) -> float | int | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = float(np.mean(known))
    return int(mean) if mean.is_integer() and all(isinstance(v, int) for v in known) else mean


def _spread(per_seed: Sequence[Figures], intervals: dict[str, tuple[float, float]]) -> Card:
    spread: Card = {}
    for name in per_seed[0]:
        known = [value for one in per_seed if (value := one.get(name)) is not None]
        if known:
            spread[name] = {"sd_over_seeds": float(np.std(known))}
            if name in intervals:
                spread[name]["interval_over_runs"] = list(intervals[name])
    return spread
