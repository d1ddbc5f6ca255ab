"""One sweep of one machine class, from stored readings to a decision about the champion.

1. Hold the class, so that no other sweep of it runs; record that this one does.
2. Read the newest healthy history, once, and the periods that people judged.
3. Try configurations on Ray Tune; log them to MLflow beside, without waiting for it.
4. Replay the best of them and the present champion on the same readings and faults; where the same
   configuration was in shadow before, what it made of the live stream counts as well.
5. Fit the best to all of the history, under the version that the registry gives.
6. One transaction: package, that it was trained, that it was promoted or refused, and why.
7. MLflow's aliases follow, with figures, pictures and the model's card.
8. Risk of failure is learnt from the labels and all that is stored.
"""

import logging
import uuid
from collections.abc import Callable
from dataclasses import replace

from domain.errors import BadInputError, PlatformError
from observability.metric import Metrics, NoMetrics
from storage import sweeps
from storage.connect import session
from storage.settings import StorageSettings
from tuning import data, risk
from tuning.course import Course, Say
from tuning.outcome import SweepOutcome
from tuning.settings import TuningSettings

_log = logging.getLogger(__name__)


def run_sweep(  # noqa: PLR0913 - keyword-only
    storage: StorageSettings,
    settings: TuningSettings,
    machine_class: str | None = None,
    *,
    say: Say | None = None,
    actor: str = "sweep",
    cause: str = "",
    metrics: Metrics | None = None,
    sweep: str | None = None,
) -> SweepOutcome:
    """Sweep one class on the cluster this process is connected to; promote what passes the gate.

    Args:
        storage: Where Postgres is.
        settings: Bounds of the sweep.
        machine_class: Its name; may be left out while there is only one with machines.
        say: Told a line per step and trial.
        actor: In whose name a model is promoted.
        cause: Why it is trained; kept in the history of models.
        metrics: Told of trials and duration.
        sweep: Id of one that was asked for; a new one by default.

    Raises:
        BadInputError: There is too little healthy history, or a class must be named.
        NotFoundError: There is no such class.
        ConflictError: Another sweep of the class is under way, or this one was cancelled.
        ServiceUnavailableError: Postgres or Ray is away.
        PlatformError: No configuration could be judged.
    """
    name, tell = machine_class or _only_class(storage), say or _log.info
    sweep = sweep or uuid.uuid4().hex[:12]

    def perform() -> SweepOutcome:
        course = Course(
            storage,
            settings,
            name,
            sweep,
            say=tell,
            actor=actor,
            cause=cause,
            metrics=metrics or NoMetrics(),
        )
        return _with_risk(storage, settings, course.perform(), tell)

    with sweeps.alone(storage, name):
        with session(storage) as on:
            data.machine_class(on, name)
            sweeps.begin(on, sweep, name)
        return _recorded(storage, sweep, perform)


def _recorded(
    storage: StorageSettings, sweep: str, perform: Callable[[], SweepOutcome]
) -> SweepOutcome:
    """Do what a sweep does and record how it ended, also where it failed."""
    try:
        outcome = perform()
    except BaseException as error:
        why = str(error) if isinstance(error, PlatformError) else repr(error)
        with session(storage) as on:
            sweeps.end(on, sweep, "failed", outcome=why[:1000])
        raise
    with session(storage) as on:
        sweeps.end(on, sweep, "succeeded", outcome=outcome.sentence(), version=outcome.version)
    return outcome


def _with_risk(
    storage: StorageSettings, settings: TuningSettings, outcome: SweepOutcome, say: Say
) -> SweepOutcome:
    """Learn risk after a sweep; what hinders it costs nothing of the sweep and is told."""
    try:
        say(risk.train(storage, outcome.machine_class, seed=settings.seed).sentence())
    except BadInputError as error:
        say(f"risk is not learnt: {error}")
    except PlatformError as error:
        trouble = f"{outcome.trouble} Risk is not learnt: {error}".strip()
        return replace(outcome, trouble=trouble)
    return outcome


def _only_class(storage: StorageSettings) -> str:
    with session(storage) as on:
        names = data.classes_with_machines(on)
    match names:
        case (name,):
            return name
        case ():
            raise BadInputError(
                "no machine is known yet",
                "sweep",
                "Run `millwright simulate`, or bring a history with `millwright replay FILE`",
            )
        case _:
            raise BadInputError(
                f"there are several machine classes: {', '.join(names)}", "sweep", "Name one"
            )
