"""Gives a challenger its version, stores it with the gate's decision, and describes it in MLflow.

Postgres decides (see `tuning.registry`); without MLflow a model still gets a version and serves.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from domain.errors import ServiceUnavailableError
from storage import models
from storage.connect import Connection
from tuning import card, plots
from tuning.challenger import Challenger
from tuning.data import Dataset
from tuning.objective import TrialRecord
from tuning.promotion import Decision
from tuning.registry import follow
from tuning.run_log import RunLog
from tuning.tracking import Tracking

_FOLDER = "model"
"""Folder of the model among a run's artifacts."""

_ABOUT = ("machines", "rows", "from_us", "to_us", "excluded", "unusual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A challenger with its number and what the gate said of it.

    Attributes:
        challenger: What was trained.
        decision: Of the gate.
        number: In the registry.
        sweep: Id of the sweep that made it.
        run_id: MLflow's run of that sweep; empty if MLflow was away.
    """

    challenger: Challenger
    decision: Decision
    number: int
    sweep: str
    run_id: str

    @property
    def name(self) -> str:
        """Its machine class; also the name of the registered model."""
        return self.challenger.serving.machine_class.name


def number(
    challenger: Challenger, log: RunLog, tracking: Tracking | None, *, taken: int, sweep: str
) -> tuple[int, str]:
    """Return the version's number: the registry's, or the next of our own if MLflow is away.

    Args:
        challenger: Its package and manifest become artifacts of the sweep's run.
        log: Of the sweep; all is logged.
        tracking: Where; None if MLflow is away.
        taken: The highest number in Postgres.
        sweep: Id of the sweep.

    Returns:
        The number, and what could not be done.
    """
    if tracking is None or log.parent is None:
        return taken + 1, f"It is not recorded in MLflow: {log.trouble}"
    name, spec = challenger.serving.machine_class.name, challenger.serving.spec
    about = card.manifest_json(
        challenger.serving, sha256=challenger.sha256, figures=challenger.figures
    )
    files = {"pipeline.millwright": challenger.package, "manifest.json": about}
    tags = {"sweep": sweep, "detector": spec.detector, "features": spec.features}
    try:
        tracking.log_files(log.parent, _FOLDER, files)
        return tracking.register(name, log.parent, _FOLDER, above=taken, tags=tags), ""
    except ServiceUnavailableError as error:
        return taken + 1, f"It is not registered in MLflow: {error}"


def store(on: Connection, version: Version, *, actor: str, cause: str = "") -> list[int]:
    """Store version, events and decision in the caller's transaction; return the champions' line.

    Raises:
        ConflictError: The version is there already.
    """
    challenger, decision = version.challenger, version.decision
    about = challenger.serving.about
    model = models.StoredModel(
        machine_class=version.name,
        version=version.number,
        run_id=version.run_id,
        sha256=challenger.sha256,
        package=challenger.package,
        metrics=challenger.figures,
        params={
            "spec": asdict(challenger.serving.spec),
            "sweep": version.sweep,
            **{key: about[key] for key in _ABOUT},
        },
    )
    why = f"the best of sweep {version.sweep}" + (f"; {cause}" if cause else "")
    models.add_version(on, model, actor=actor, reason=why)
    settle = models.promote if decision.promote else models.refuse
    settle(on, version.name, version.number, actor=actor, reason=decision.reason)
    return models.champion_line(on, version.name)


def describe(  # noqa: PLR0913 - keyword-only but for what is described
    version: Version,
    trials: Sequence[TrialRecord],
    *,
    fresh: Dataset,
    line: list[int],
    log: RunLog,
    tracking: Tracking,
) -> str:
    """Bring aliases, figures, pictures and card to MLflow; return what could not be done.

    Args:
        version: As it is stored.
        trials: All that was tried.
        fresh: The readings that judged.
        line: The champions, the present one last.
        log: Of the sweep.
        tracking: Where.
    """
    if log.parent is None:
        return "MLflow has no run of this sweep"
    try:
        tracking.alias(version.name, "challenger", version.number)
        follow(tracking, version.name, line)
        _log_figures(version, log.parent, tracking)
        report = _report(version, fresh)
        report["parallel_coordinates.png"] = plots.parallel_coordinates(
            trials, f"{version.name}: what was tried"
        )
        tracking.log_files(log.parent, "report", report)
        for one in trials:
            _picture(one, log, tracking)
    except ServiceUnavailableError as error:
        return f"MLflow's record is not complete: {error}"
    return ""


def _log_figures(version: Version, run_id: str, tracking: Tracking) -> None:
    decision = version.decision
    tracking.log(
        run_id,
        metrics=version.challenger.figures,
        params=asdict(version.challenger.serving.spec),
        tags={
            "version": str(version.number),
            "decision": "promoted" if decision.promote else "refused",
            "reason": decision.reason[:4000],
        },
    )


def _report(version: Version, fresh: Dataset) -> dict[str, bytes]:
    challenger, title = version.challenger, f"{version.name} version {version.number}"
    first, longest = challenger.replays[0], max(fresh.histories, key=len)
    scores = (first.healthy_scores, first.faulty_scores)
    return {
        "model_card.md": card.model_card(
            challenger.serving,
            challenger.replayed(f"version {version.number}"),
            challenger.spreads,
            version.decision.reason,
            challenger.labelled.sentence() if challenger.labelled else "",
        ),
        "scores.png": plots.score_histogram(*scores, title),
        "roc.png": plots.replay_roc(*scores, title),
        "timeline.png": plots.timeline(challenger.judged, longest, seed=0, title=title),
        "contributions.png": plots.contribution_bars(
            challenger.judged, longest, seed=0, title=title
        ),
    }


def _picture(trial: TrialRecord, log: RunLog, tracking: Tracking) -> None:
    """Draw the scores of a finalist into its own run."""
    run_id, outcome = log.children.get(trial.number), trial.outcome
    if run_id is None or trial.stage != "confirm" or not outcome.healthy_scores:
        return
    picture = plots.score_histogram(
        outcome.healthy_scores, outcome.faulty_scores, f"finalist {trial.number}"
    )
    tracking.log_files(run_id, "report", {"scores.png": picture})
