"""The trials of a sweep, on Ray Tune: many on little data, then the best again on more.

Starting processes is what costs, so actors are reused and their imports kept small (no MLflow), and
the data is put into the object store once. Nothing is written by Tune that anyone would read: its
loggers are off, its folder is temporary.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import optuna
import ray
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from domain.errors import PlatformError, ServiceUnavailableError
from domain.labelled import Piece
from domain.pipeline_spec import PipelineSpec
from tuning import space
from tuning.data import Dataset
from tuning.ladder import Ladder
from tuning.objective import FAILED, Outcome, Stage, TrialRecord, try_spec
from tuning.settings import TuningSettings

_NICENESS: Final = 15
"""Trials yield to whoever stores, scores and serves here: while both want a core, a trial gets a
thirtieth of what a process of niceness 0 gets (`docs/decisions/0021`)."""

_SCREEN_MACHINES: Final = 8
"""Machines of a first trial: the scatter between machines matters more than a long history."""

_ENVIRONMENT: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C ends a sweep as it ends everything else; Tune would return half a result.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "2",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class Trial(tune.Trainable):
    """The actor: one configuration per step, as many as it is given."""

    def setup(self, config: dict[str, Any], **shared: Any) -> None:
        """Keep the data, which is read from the object store without a copy.

        Args:
            config: The first configuration.
            **shared: `parts`, the data of each stage, `pieces`, what people judged, and `seed`.
        """
        os.nice(_NICENESS)
        self._parts: dict[Stage, Dataset] = shared["parts"]
        self._pieces: Sequence[Piece] = shared["pieces"]
        self._seed: int = shared["seed"]
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next configuration."""
        self._stage, self._drawn = new_config["stage"], new_config["spec"]
        return True

    def step(self) -> dict[str, Any]:
        """Try the configuration."""
        part, keep = self._parts[self._stage], self._stage == "confirm"
        outcome = try_drawn(self._drawn, part, self._seed, keep=keep, pieces=self._pieces)
        return {
            "objective": outcome.objective,
            "label_objective": outcome.label_objective,
            "outcome": outcome,
            "done": True,
        }


def try_drawn(
    drawn: dict[str, Any], part: Dataset, seed: int, *, keep: bool, pieces: Sequence[Piece] = ()
) -> Outcome:
    """Try what the sampler drew; a configuration that cannot be is an outcome too."""
    try:
        spec = space.spec_of(drawn)
    except PlatformError as error:
        return Outcome(metrics={"objective": FAILED}, seconds=0.0, failure=str(error))
    return try_spec(spec, part, seed=seed, keep=keep, pieces=pieces)


class _Listener(tune.Callback):
    CALLBACK_ATTRIBUTES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, told: Callable[[TrialRecord], None]) -> None:
        self._told = told

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its callbacks down for a restore that never happens here.
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ARG002 - Tune's signature
        self._told(_record(trial.config, trial.last_result["outcome"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ARG002 - Tune's signature
        # What a trial raises is an outcome; only an actor that is gone ends here.
        outcome = Outcome(
            metrics={"objective": FAILED}, seconds=0.0, failure="the trial's process died"
        )
        self._told(_record(trial.config, outcome))


def search(
    dataset: Dataset,
    settings: TuningSettings,
    told: Callable[[TrialRecord], None],
    pieces: Sequence[Piece] = (),
) -> list[TrialRecord]:
    """Run the trials on the cluster this process is connected to.

    Args:
        dataset: Healthy history.
        settings: How many trials, how much data, which seed.
        told: Called once per trial that ended, in this thread; must be quick.
        pieces: Periods that people judged; with any there are two objectives.

    Returns:
        All of them, by number.

    Raises:
        ServiceUnavailableError: The cluster has no place for a trial, or Tune itself failed.
    """
    _check_room(settings)
    records: dict[int, TrialRecord] = {}

    def collect(record: TrialRecord) -> None:
        # A process that dies after its result is told a second time: the result stands.
        if record.number not in records:
            records[record.number] = record
            told(record)

    with tempfile.TemporaryDirectory(prefix="millwright-tune-") as scratch, _quiet():
        try:
            _tuner(dataset, settings, _Listener(collect), scratch, pieces).fit()
        except (tune.TuneError, ray.exceptions.RayError) as error:
            raise ServiceUnavailableError("Ray", " ".join(str(error).split())[:500]) from error
    return [records[number] for number in sorted(records)]


def _tuner(
    dataset: Dataset,
    settings: TuningSettings,
    listener: _Listener,
    scratch: str,
    pieces: Sequence[Piece],
) -> tune.Tuner:
    finalists = min(settings.finalists, settings.trials)
    parts = {
        "screen": dataset.newest(settings.screen_rows, machines=_SCREEN_MACHINES),
        "confirm": dataset.newest(settings.confirm_rows, machines=settings.confirm_machines),
    }
    trial = tune.with_parameters(Trial, parts=parts, pieces=pieces, seed=settings.seed)
    return tune.Tuner(
        tune.with_resources(trial, {"cpu": settings.trial_cpus}),
        tune_config=tune.TuneConfig(
            metric="objective",
            mode="max",
            search_alg=Ladder(
                _optuna(settings, labelled=bool(pieces)), settings.trials, finalists, _is_default
            ),
            num_samples=settings.trials + finalists,
            max_concurrent_trials=settings.max_concurrent,
            reuse_actors=True,
            trial_dirname_creator=lambda one: str(one.trial_id),
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=scratch,
            verbose=0,
            callbacks=[listener],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def _is_default(drawn: dict[str, Any]) -> bool:
    try:
        return space.spec_of(drawn) == PipelineSpec()
    except PlatformError:
        return False


def _optuna(settings: TuningSettings, *, labelled: bool) -> OptunaSearch:
    strong = space.warm_start(settings.trials)
    objectives = ["objective", "label_objective"] if labelled else ["objective"]
    return OptunaSearch(
        space=space.suggest,
        metric=objectives,
        mode=["max"] * len(objectives),
        points_to_evaluate=[space.drawn_of(spec) for spec in strong],
        sampler=TPESampler(
            seed=settings.seed, n_startup_trials=len(strong) + 4, constant_liar=True
        ),
    )


def _check_room(settings: TuningSettings) -> None:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    cpus = resources.get("CPU", 0.0)
    if cpus < settings.trial_cpus:
        raise ServiceUnavailableError(
            "Ray",
            f"the cluster has {cpus:g} CPUs and a trial sets {settings.trial_cpus:g} aside",
            "Add a node, or start the cluster with more CPUs",
        )


def _record(config: dict[str, Any], outcome: Outcome) -> TrialRecord:
    try:
        spec = space.spec_of(config["spec"])
    except PlatformError:
        spec = None
    return TrialRecord(number=config["number"], stage=config["stage"], spec=spec, outcome=outcome)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune from writing files and from telling our users that it did not.

    Nor does it tell them that drawing a configuration took a second: it takes a millisecond, and
    more only where the whole machine stood still.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    log = logging.getLogger("ray.tune")
    level = log.level
    log.setLevel(logging.CRITICAL)
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Define-by-run function", UserWarning)
            yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
