"""The actor that trains again when it is time."""

import logging
import time
from dataclasses import replace
from threading import Event

from domain.errors import BadInputError, ConflictError
from domain.machines import MachineClass
from observability.catalogue import DRIFT
from ray_app.aliases import AliasFollower
from ray_app.metrics import process_metrics
from storage import failures, models, sweeps
from storage.connect import Connection, session
from storage.history import count_between, latest_instants
from storage.settings import StorageSettings
from tuning import data, risk
from tuning.change import Change, ChangeWatch
from tuning.retraining import TrainingState, Verdict, is_due
from tuning.settings import TuningSettings
from tuning.sweep import run_sweep

_log = logging.getLogger(__name__)

_POLL_S = 20.0
"""A look counts the readings of the lookback; retraining is a matter of minutes and hours."""

_ASKED_POLL_S = 1.0
"""Who asks for a sweep waits no longer than this for its beginning; the question is one look-up."""

_RISK_REST_S = 300.0
"""Labels that come one by one do not each make a risk model."""


class RetrainerActor:
    """Looks every few seconds whether a class is due, and runs its sweep.

    The policy (`tuning.retraining`) decides. Beside it a thread brings MLflow's aliases to what
    was promoted: this is the process that knows MLflow. A plain class: `ray_app.cluster` makes it
    an actor with two threads, so that `stop` is heard while `run` runs. Only settings cross into
    the process.

    Args:
        storage: Where Postgres is.
        tuning: Bounds of sweeps and retraining.
        poll_s: Seconds between two looks.
    """

    def __init__(
        self, storage: StorageSettings, tuning: TuningSettings, poll_s: float = _POLL_S
    ) -> None:
        self._storage, self._tuning, self._poll_s = storage, tuning, poll_s
        self._stop = Event()
        self._watch = ChangeWatch(tuning.margin_s)
        self._verdicts: dict[str, Verdict] = {}
        self._swept = 0
        self._risk_at: dict[str, float] = {}

    def run(self) -> int:
        """Retrain until stopped; return how many sweeps were run.

        Raises:
            ServiceUnavailableError: Postgres or Ray stayed away; call `run` again.
        """
        aliases = AliasFollower(self._storage, self._tuning)
        aliases.start()
        try:
            return self._run_until_stopped()
        finally:
            aliases.close()

    def _run_until_stopped(self) -> int:
        # The first look waits as well: who starts a platform sweeps by hand if he is in a hurry.
        next_look = time.monotonic() + self._poll_s
        while not self._stop.wait(min(_ASKED_POLL_S, self._poll_s)):
            self.answer()
            if time.monotonic() >= next_look:
                self.look()
                next_look = time.monotonic() + self._poll_s
        return self._swept

    def stop(self) -> None:
        """End `run` after the look under way; a sweep is finished first."""
        self._stop.set()

    def verdicts(self) -> dict[str, Verdict]:
        """Return what the policy last said of each class."""
        return dict(self._verdicts)

    def answer(self) -> None:
        """Run the sweeps that were asked for over HTTP, the oldest first."""
        with session(self._storage) as on:
            # One whose class is being swept waits for the end of that.
            wishes = [
                one
                for one in sweeps.waiting(on)
                if not sweeps.attempts(on, one.machine_class).running
            ]
        for wish in wishes:
            if self._stop.is_set():
                return
            own = self._tuning
            tuning = replace(
                own,
                trials=own.trials if wish.trials is None else wish.trials,
                seed=own.seed if wish.seed is None else wish.seed,
                lookback_hours=wish.lookback_hours or own.lookback_hours,
            )
            self._sweep(wish.machine_class, f"{wish.actor} asked for it", tuning, wish.sweep)

    def look(self) -> None:
        """Judge every class once, and sweep those that are due."""
        with session(self._storage) as on:
            names = data.classes_with_machines(on)
        drifts = []
        for name in names:
            with session(self._storage) as on:
                state = self._state(on, data.machine_class(on, name))
            drifts += [] if state.drift is None else [state.drift]
            verdict = is_due(state, self._tuning.policy)
            self._verdicts[name] = verdict
            if verdict.due and not self._stop.is_set():
                self._sweep(name, verdict.reason)
            self._learn_risk(name)
        if drifts:
            process_metrics().set(DRIFT, max(drifts))

    def _sweep(
        self, name: str, cause: str, tuning: TuningSettings | None = None, sweep: str | None = None
    ) -> None:
        _log.info("%s is trained again: %s", name, cause)
        try:
            outcome = run_sweep(
                self._storage,
                tuning or self._tuning,
                name,
                actor="retrainer",
                cause=cause,
                metrics=process_metrics(),
                sweep=sweep,
            )
        except (BadInputError, ConflictError) as error:
            # History went, or another sweep began, between the look and now: look again later.
            _log.warning("%s is not trained: %s", name, error)
            return
        self._swept += 1
        _log.info("%s", outcome.sentence())

    def _learn_risk(self, name: str) -> None:
        """Learn a class's risk anew where its labels changed; a sweep has done so itself."""
        if time.monotonic() - self._risk_at.get(name, -_RISK_REST_S) < _RISK_REST_S:
            return
        with session(self._storage) as on:
            if not risk.is_behind(on, name):
                return
        self._risk_at[name] = time.monotonic()
        try:
            _log.info("%s", risk.train(self._storage, name).sentence())
        except BadInputError as error:
            _log.warning("the risk of %s is not learnt: %s", name, error)

    def _state(self, on: Connection, kind: MachineClass) -> TrainingState:
        names = data.machines_of(on, kind.name)
        attempts = sweeps.attempts(on, kind.name)
        end_us = max(latest_instants(on, names).values(), default=0) + 1
        start_us = end_us - round(self._tuning.lookback_hours * 3.6e9)
        readings = count_between(on, names, start_us, end_us)
        trained = models.latest(on, kind.name)
        version = models.versions(on).get(kind.name, (None, ""))[0]
        change = Change() if version is None else self._watch.look(on, kind, names, version)
        return TrainingState(
            has_champion=version is not None,
            readings=readings,
            needed=self._tuning.min_rows,
            fresh=readings
            if trained is None
            # In the time of the readings: a history brought in late is new as well.
            else count_between(on, names, max(start_us, trained.params["to_us"] + 1), end_us),
            since_training_s=None if trained is None else time.time() - trained.at.timestamp(),
            since_attempt_s=attempts.since_end_s,
            attempts_today=attempts.today,
            drift=change.index,
            diagnosis=change.diagnosis,
            feedback=0 if trained is None else failures.recorded_since(on, kind.name, trained.at),
            running=attempts.running,
        )
