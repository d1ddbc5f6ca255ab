"""One sweep under way: its steps from stored readings to a decision (`tuning.sweep` lists them)."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from domain.errors import PlatformError
from domain.labelled import Piece
from observability.catalogue import SWEEP_SECONDS, SWEEP_TRIALS
from observability.metric import Metrics
from storage import models, sweeps
from storage.connect import session
from storage.settings import StorageSettings
from tuning import challenger as challengers
from tuning import data, labelled
from tuning.challenger import Challenger
from tuning.data import Dataset, Selection
from tuning.objective import TrialRecord
from tuning.outcome import SweepOutcome
from tuning.promotion import Decision, Gate, Replayed, Shadowed, decide
from tuning.run_log import RunLog
from tuning.settings import TuningSettings
from tuning.tracking import Tracking

if TYPE_CHECKING:
    from tuning.publish import Version

_log = logging.getLogger(__name__)

_TOLD = 3
"""So many stretches are told of by name; the model's card has them all."""

type Say = Callable[[str], None]


class Judging(TypedDict):
    """What challenger and champion are judged with alike."""

    seed: int
    replays: int
    pieces: Sequence[Piece]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rivals:
    """What a challenger is held against.

    Attributes:
        champion: As it was replayed; None without one that can be.
        no_champion: Why it cannot; empty where there is none.
        shadowed: What the same configuration made of the live stream; None if it did not.
        taken: The highest version there is.
    """

    champion: Replayed | None
    no_champion: str
    shadowed: Shadowed | None
    taken: int

    def decide(self, challenger: Replayed, gate: Gate) -> Decision:
        """Return what the gate says."""
        return decide(
            challenger,
            self.champion,
            gate,
            no_champion=self.no_champion,
            shadowed=self.shadowed,
        )


class Course:
    """One sweep under way; its steps are those of the module's docstring."""

    def __init__(  # noqa: PLR0913 - what a sweep is made of
        self,
        storage: StorageSettings,
        settings: TuningSettings,
        name: str,
        sweep: str,
        *,
        say: Say,
        actor: str,
        cause: str,
        metrics: Metrics,
    ) -> None:
        self._storage, self._settings, self._name, self._sweep = storage, settings, name, sweep
        self._say, self._actor, self._metrics = say, actor, metrics
        self._cause = cause
        self._began, self._ended = time.monotonic(), 0

    def perform(self) -> SweepOutcome:
        """Take every step up to the decision and MLflow's record of it."""
        with session(self._storage) as on:
            dataset = data.read(on, self._name, selection(self._settings))
            pieces = labelled.read(on, dataset.machine_class, self._settings.margin_s)
        self._say(
            f"sweep {self._sweep}: {len(dataset)} readings of {len(dataset.histories)} machines of "
            f"{self._name}, {dataset.excluded} left out"
        )
        dataset = dataset.cleaned(seed=self._settings.seed)
        if dataset.unusual:
            self._say(unusual_sentence(dataset))
        if pieces:
            self._say(f"second objective: {len(pieces)} periods that people judged")
        log = RunLog(
            Tracking(self._settings.tracking_uri, self._settings.artifact_root),
            f"sweep-{self._name}-{self._sweep}",
            tags={"machine_class": self._name, "sweep": self._sweep, "actor": self._actor},
            within_s=self._settings.tracking_wait_s,
        )
        try:
            log.params({**self._facts(dataset), "judged_periods": len(pieces)})
            outcome = self._judge(dataset, self._try(dataset, pieces, log), pieces, log)
        except BaseException:
            log.abandon()
            raise
        log.end()
        self._metrics.observe(SWEEP_SECONDS, outcome.seconds)
        return outcome

    def _facts(self, dataset: Dataset) -> dict[str, Any]:
        first, last = dataset.period_us
        return {
            "machine_class": self._name,
            "machines": len(dataset.histories),
            "readings": len(dataset),
            "excluded": dataset.excluded,
            "unusual": sum(one.rows for one in dataset.unusual),
            "from_us": first,
            "to_us": last,
            "trials": self._settings.trials,
            "seed": self._settings.seed,
        }

    def _try(self, dataset: Dataset, pieces: Sequence[Piece], log: RunLog) -> list[TrialRecord]:
        from tuning.search import search

        def told(record: TrialRecord) -> None:
            self._ended += 1
            failure = record.outcome.failure
            self._metrics.add(SWEEP_TRIALS, outcome="failed" if failure else "finished")
            log.trial(record)
            self._show(log)
            what = f"{record.spec.features}, {record.spec.detector}" if record.spec else "nothing"
            did = failure or f"objective {record.outcome.objective:.3f}"
            if pieces and not failure:
                did += f", by labels {record.outcome.label_objective:.3f}"
            self._say(f"trial {record.number} ({record.stage}: {what}): {did}")

        return search(dataset, self._settings, told, pieces)

    def _show(self, log: RunLog) -> None:
        """Bring the count of trials up to date; a moment without Postgres costs only that."""
        try:
            with session(self._storage) as on:
                sweeps.progress(on, self._sweep, self._ended, log.parent)
        except PlatformError as error:
            _log.warning("the state of sweep %s is behind: %s", self._sweep, error)

    def _judge(
        self,
        dataset: Dataset,
        trials: list[TrialRecord],
        pieces: Sequence[Piece],
        log: RunLog,
    ) -> SweepOutcome:
        from tuning import publish

        settings = self._settings
        fresh = dataset.newest(settings.confirm_rows, machines=settings.confirm_machines)
        judging: Judging = {"seed": settings.seed, "replays": settings.replays, "pieces": pieces}
        made = self._train(trials, dataset, fresh, judging)
        rivals = self._rivals(made, fresh, judging)
        tracking = log.drain(say=self._say)
        number, trouble = publish.number(made, log, tracking, taken=rivals.taken, sweep=self._sweep)
        version = publish.Version(
            challenger=made,
            decision=rivals.decide(made.replayed(f"version {number}"), settings.gate),
            number=number,
            sweep=self._sweep,
            run_id=log.parent or "",
        )
        with session(self._storage) as on:
            line = publish.store(on, version, actor=self._actor, cause=self._cause)
        if tracking is not None and not trouble:
            trouble = publish.describe(
                version, trials, fresh=fresh, line=line, log=log, tracking=tracking
            )
        return self._outcome(version, trials, trouble)

    def _train(
        self, trials: list[TrialRecord], dataset: Dataset, fresh: Dataset, judging: Judging
    ) -> Challenger:
        """Fit the best finalist to all of the history, or the default where that is as good."""
        found, plain = challengers.best(trials), challengers.to_beat(trials)
        made = challengers.train(found, dataset, fresh, **judging)
        if plain is None or found.spec == plain.spec:
            return made
        usual = challengers.train(plain, dataset, fresh, **judging)
        made, why = challengers.settle(made, usual, self._settings.gate)
        self._say(why)
        return made

    def _rivals(self, made: Challenger, fresh: Dataset, judging: Judging) -> _Rivals:
        with session(self._storage) as on:
            champion, no_champion = challengers.examine_champion(on, fresh, **judging)
            return _Rivals(
                champion=champion,
                no_champion=no_champion,
                shadowed=challengers.shadowed_alike(on, self._name, made.serving.spec),
                taken=models.latest_version(on, self._name),
            )

    def _outcome(self, version: "Version", trials: list[TrialRecord], trouble: str) -> SweepOutcome:
        made, decision = version.challenger, version.decision
        return SweepOutcome(
            sweep=self._sweep,
            machine_class=self._name,
            trials=len(trials),
            failed=sum(bool(one.outcome.failure) for one in trials),
            version=version.number,
            promoted=decision.promote,
            reason=decision.reason,
            objective=made.figures["objective"],
            figures=made.figures,
            spec=made.serving.spec,
            run_id=version.run_id,
            seconds=time.monotonic() - self._began,
            trouble=trouble,
        )


def unusual_sentence(dataset: Dataset) -> str:
    """Return which stretches of a dataset are not learnt from, though nobody suspected them."""
    rows = sum(one.rows for one in dataset.unusual)
    told = ", ".join(map(str, dataset.unusual[:_TOLD]))
    more = f" and {len(dataset.unusual) - _TOLD} more" if len(dataset.unusual) > _TOLD else ""
    return f"{rows} readings stand far out and are not learnt from: {told}{more}"


def selection(settings: TuningSettings) -> Selection:
    """Return which readings a sweep learns from."""
    return Selection(
        lookback_s=settings.lookback_hours * 3600,
        margin_s=settings.margin_s,
        min_rows=settings.min_rows,
        max_rows=settings.max_rows,
    )
