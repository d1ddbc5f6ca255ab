"""The best of a sweep and the present champion, replayed on the same readings and faults."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from domain.clean_training import records
from domain.errors import ModelRejectedError, PlatformError
from domain.labelled import LabelResult, Piece, judge_labelled
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.replay import ReplayResult, replay_score
from storage import models, shadow
from storage.connect import Connection
from storage.shadow import ShadowRow
from tuning.by_labels import REPLAY_TIE, Labelled
from tuning.data import Dataset
from tuning.drift import Reference
from tuning.objective import TrialRecord
from tuning.promotion import Gate, Replayed, Shadowed, decide


@dataclass(frozen=True, kw_only=True, eq=False)
class Challenger:
    """The best configuration: as it was judged, and as it would serve.

    Attributes:
        trial: The finalist's trial.
        judged: Fitted to the older part only, so that the newer part could judge it.
        replays: Of `judged`, one per seed.
        serving: Fitted to all of the history; what is stored.
        labelled: How `serving` does where people judged; None where they did not.
    """

    trial: TrialRecord
    judged: Pipeline
    replays: tuple[ReplayResult, ...]
    serving: Pipeline
    labelled: LabelResult | None = None

    @cached_property
    def figures(self) -> dict[str, float]:
        """Mean of each figure over the replays that have it, and those from labels."""
        means = {key: mean for key, (mean, _, _) in self.spreads.items()}
        return {**means, **(self.labelled.metrics() if self.labelled else {})}

    @cached_property
    def spreads(self) -> dict[str, tuple[float, float, float]]:
        """Mean, smallest and largest of each figure over the replays that have it."""
        found: dict[str, list[float]] = {}
        for one in self.replays:
            for key, value in one.metrics().items():
                found.setdefault(key, []).append(value)
        return {
            key: (float(np.mean(values)), min(values), max(values)) for key, values in found.items()
        }

    @cached_property
    def package(self) -> bytes:
        """The serving pipeline as it is stored."""
        return self.serving.to_package()

    @cached_property
    def sha256(self) -> str:
        """Checksum of `package`, hex."""
        return hashlib.sha256(self.package).hexdigest()

    def replayed(self, name: str) -> Replayed:
        """Return what the gate asks for.

        Args:
            name: Of the model, for the reason.
        """
        return _replayed(name, self.replays, self.labelled)


def to_beat(trials: list[TrialRecord]) -> TrialRecord | None:
    """Return the finalist with the default configuration; None where that could not be judged."""
    plain = PipelineSpec()
    finalists = (one for one in trials if one.stage == "confirm" and not one.outcome.failure)
    return next((one for one in finalists if one.spec == plain), None)


def settle(found: Challenger, plain: Challenger, gate: Gate) -> tuple[Challenger, str]:
    """Return what a sweep ends in: what it found, or the default where that is as good.

    The best of many trials is partly the luckiest, and the default was chosen where there was more
    to judge by; so it is what a serving champion is at the gate.

    Args:
        found: The best finalist.
        plain: The default.
        gate: What the first has to show.

    Returns:
        One of them, and why.
    """
    name = f"trial {found.trial.number}"
    decision = decide(found.replayed(name), plain.replayed("the default"), gate)
    if decision.promote:
        return _chosen(found, decision.reason), decision.reason
    why = f"the default is taken: {decision.reason}"
    return _chosen(plain, why), why


def _chosen(made: Challenger, why: str) -> Challenger:
    about = {**made.serving.about, "chosen": why}
    return replace(made, serving=replace(made.serving, about=about))


def best(trials: list[TrialRecord]) -> TrialRecord:
    """Return the best finalist by replay; where several are as good, the best of them by labels.

    Without labels it is the one with the highest objective; the earlier of two equal ones.

    Raises:
        PlatformError: None could be judged; the message says why the first could not.
    """
    finalists = [one for one in trials if one.stage == "confirm" and not one.outcome.failure]
    if not finalists:
        why = next((one.outcome.failure for one in trials if one.outcome.failure), "none was tried")
        raise PlatformError(f"none of {len(trials)} trials could be judged; the first: {why}")
    top = max(one.outcome.objective for one in finalists)
    labelled = any("label_objective" in one.outcome.metrics for one in finalists)
    tied = [one for one in finalists if one.outcome.objective >= top - REPLAY_TIE * labelled]
    return max(
        tied,
        key=lambda one: (one.outcome.label_objective, one.outcome.objective, -one.number),
    )


def train(  # noqa: PLR0913 - keyword-only but for what it is made of
    trial: TrialRecord,
    dataset: Dataset,
    fresh: Dataset,
    *,
    seed: int,
    replays: int,
    pieces: Sequence[Piece] = (),
) -> Challenger:
    """Replay a finalist with several seeds and fit its configuration to all of the history.

    Args:
        trial: With its package.
        dataset: All of the history.
        fresh: The part that judges; its older share is what the finalist was fitted to.
        seed: Of the fit and the first replay.
        replays: How many.
        pieces: Periods that people judged.
    """
    judged = Pipeline.from_package(trial.outcome.package, "challenger")
    serving = Pipeline.fit(judged.spec, dataset.histories, dataset.machine_class, seed=seed)
    values = np.concatenate([one.values for one in dataset.histories])
    about = {
        **serving.about,
        "excluded": dataset.excluded,
        "unusual": records(dataset.unusual),
        "drift": Reference.of(values).to_json(),
    }
    challenger = Challenger(
        trial=trial,
        judged=judged,
        replays=_replay(judged, fresh, seed, replays),
        serving=replace(serving, about=about),
        labelled=judge_labelled(serving, pieces) if pieces else None,
    )
    # What is stored has been loaded once: a package that cannot be read never gets a version.
    Pipeline.from_package(challenger.package, "challenger")
    return challenger


def examine_champion(
    on: Connection, fresh: Dataset, *, seed: int, replays: int, pieces: Sequence[Piece] = ()
) -> tuple[Replayed | None, str]:
    """Judge the champion by what the challenger is judged by.

    It may have learnt from some of these readings, which only makes the gate harder to pass.

    Args:
        on: A session.
        fresh: The part that judges.
        seed: Of the first replay.
        replays: How many.
        pieces: Periods that people judged.

    Returns:
        None if there is no champion, or none that can score these readings, and why not.
    """
    name = fresh.machine_class.name
    try:
        stored = models.champion(on, name)
        if stored is None:
            return None, ""
        label = f"version {stored.version}"
        pipeline = Pipeline.from_package(stored.package, f"{name} {label}")
    except ModelRejectedError as error:
        return None, f"the champion cannot be loaded ({error.reason})"
    if pipeline.machine_class.sensor_names != fresh.machine_class.sensor_names:
        return None, "the champion knows other sensors than the class has now"
    labelled = judge_labelled(pipeline, pieces) if pieces else None
    return _replayed(label, _replay(pipeline, fresh, seed, replays), labelled), ""


def shadowed(on: Connection, machine_class: str, version: int) -> Shadowed | None:
    """Return what a version made of the live stream beside the present champion, if it did."""
    line = models.champion_line(on, machine_class)
    found = shadow.listed(
        on, machine_class=machine_class, challenger=version, champion=line[-1] if line else 0
    )
    return _shadowed(found[0]) if found else None


def shadowed_alike(on: Connection, machine_class: str, spec: PipelineSpec) -> Shadowed | None:
    """Return what the newest version of a configuration made of the live stream, if one did.

    A model at the end of its sweep is a second old and was never in shadow. An earlier fit of the
    same configuration, which the gate refused or which waits for a promotion, often was.

    Args:
        on: A session.
        machine_class: The class.
        spec: The configuration.
    """
    line = models.champion_line(on, machine_class)
    champion = line[-1] if line else 0
    for one in shadow.listed(on, machine_class=machine_class, champion=champion):
        if _stored_spec(on, machine_class, one.challenger) == spec:
            return _shadowed(one)
    return None


def _stored_spec(on: Connection, machine_class: str, version: int) -> PipelineSpec | None:
    """Return a version's configuration; None if it is damaged or another release wrote it."""
    try:
        params = models.get(on, machine_class, version).params
        return PipelineSpec.from_dict(dict(params["spec"]))
    except (KeyError, PlatformError):
        return None


def _shadowed(one: ShadowRow) -> Shadowed:
    return Shadowed(
        name=f"version {one.challenger}",
        readings=one.readings,
        machine_days=one.machine_days,
        champion_incidents=round((one.champion_incidents or 0.0) * one.machine_days),
        challenger_incidents=round((one.challenger_incidents or 0.0) * one.machine_days),
        champion_alert_rate=one.champion_alert_rate,
        alert_rate=one.challenger_alert_rate,
        agreement=one.agreement,
        score_drift=one.score_drift,
    )


def _replay(
    pipeline: Pipeline, fresh: Dataset, seed: int, replays: int
) -> tuple[ReplayResult, ...]:
    seeds = range(seed, seed + replays)
    return tuple(replay_score(pipeline, fresh.histories, seed=one) for one in seeds)


def _replayed(
    name: str, results: tuple[ReplayResult, ...], labelled: LabelResult | None
) -> Replayed:
    return Replayed(
        name=name,
        objectives=tuple(one.objective for one in results),
        detection=float(np.mean([one.detection for one in results])),
        false_alarm_rate=float(np.mean([one.false_alarm_rate for one in results])),
        labels=None
        if labelled is None
        else Labelled(
            right=labelled.right, objective=labelled.objective, words=labelled.sentence()
        ),
    )
