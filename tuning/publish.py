"""Gives a challenger its version, stores it with the gate's decision, and describes it in MLflow.

Postgres decides (see `tuning.registry`); without MLflow a model still gets a version and serves.
"""

from collections.abc import Sequence
from dataclasses import asdict

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

_ABOUT = ("machines", "rows", "from_us", "to_us", "excluded")


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


def store(  # noqa: PLR0913 - keyword-only
    on: Connection,
    challenger: Challenger,
    decision: Decision,
    *,
    version: int,
    run_id: str,
    sweep: str,
    actor: str,
    cause: str = "",
) -> list[int]:
    """Store version, events and decision in the caller's transaction; return the champions' line.

    Raises:
        ConflictError: The version is there already.
    """
    name, about = challenger.serving.machine_class.name, challenger.serving.about
    model = models.StoredModel(
        machine_class=name,
        version=version,
        run_id=run_id,
        sha256=challenger.sha256,
        package=challenger.package,
        metrics=challenger.figures,
        params={
            "spec": asdict(challenger.serving.spec),
            "sweep": sweep,
            **{key: about[key] for key in _ABOUT},
        },
    )
    why = f"the best of sweep {sweep}" + (f"; {cause}" if cause else "")
    models.add_version(on, model, actor=actor, reason=why)
    settle = models.promote if decision.promote else models.refuse
    settle(on, name, version, actor=actor, reason=decision.reason)
    return models.champion_line(on, name)


def describe(  # noqa: PLR0913 - keyword-only
    challenger: Challenger,
    decision: Decision,
    trials: Sequence[TrialRecord],
    *,
    version: int,
    line: list[int],
    fresh: Dataset,
    log: RunLog,
    tracking: Tracking,
) -> str:
    """Bring aliases, figures, pictures and card to MLflow; return what could not be done."""
    name, parent = challenger.serving.machine_class.name, log.parent
    if parent is None:
        return "MLflow has no run of this sweep"
    try:
        tracking.alias(name, "challenger", version)
        follow(tracking, name, line)
        tracking.log(
            parent,
            metrics=challenger.figures,
            params=asdict(challenger.serving.spec),
            tags={
                "version": str(version),
                "decision": "promoted" if decision.promote else "refused",
                "reason": decision.reason[:4000],
            },
        )
        report = _report(challenger, decision, version, fresh)
        report["parallel_coordinates.png"] = plots.parallel_coordinates(
            trials, f"{name}: what was tried"
        )
        tracking.log_files(parent, "report", report)
        for one in trials:
            _picture(one, log, tracking)
    except ServiceUnavailableError as error:
        return f"MLflow's record is not complete: {error}"
    return ""


def _report(
    challenger: Challenger, decision: Decision, version: int, fresh: Dataset
) -> dict[str, bytes]:
    title, first = f"{fresh.machine_class.name} version {version}", challenger.replays[0]
    replayed, longest = challenger.replayed(version), max(fresh.histories, key=len)
    scores = (first.healthy_scores, first.faulty_scores)
    return {
        "model_card.md": card.model_card(
            challenger.serving,
            replayed,
            challenger.spreads,
            decision.reason,
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
