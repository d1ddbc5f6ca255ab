"""Logs a sweep beside its trials: a thread of its own, batches, explicit run ids.

A sweep begins without waiting for MLflow, whose server may still be coming up; what happens in
the meantime waits in a queue. If MLflow stays away, the sweep goes on and says so in its outcome:
the model's package and events are in Postgres, which is what serving reads.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from domain.errors import ServiceUnavailableError
from tuning.objective import TrialRecord
from tuning.tracking import RunStatus, Tracking, load_client

_log = logging.getLogger(__name__)

type Work = Callable[[Tracking, str], None]


class RunLog:
    """The runs of one sweep: a parent and a child per trial.

    Args:
        tracking: Where to log; opened in the thread.
        name: Of the parent run.
        tags: Of the parent run.
        within_s: How long to wait for MLflow.
    """

    def __init__(
        self, tracking: Tracking, name: str, *, tags: Mapping[str, str], within_s: float
    ) -> None:
        self._tracking, self._name, self._tags = tracking, name, dict(tags)
        self._within_s = within_s
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._opened = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow-log", daemon=True)
        self.parent: str | None = None
        self.trouble = ""
        """Why logging ended early; empty while all is well."""
        self.children: dict[int, str] = {}
        load_client()
        self._thread.start()

    def params(self, given: Mapping[str, Any]) -> None:
        """Log parameters of the sweep."""
        kept = dict(given)
        self._queue.put(lambda to, parent: to.log(parent, params=kept))

    def trial(self, record: TrialRecord) -> None:
        """Log a trial that ended as a child run."""
        self._queue.put(lambda to, parent: self._child(to, parent, record))

    def drain(self, say: Callable[[str], None] | None = None) -> Tracking | None:
        """Wait until everything is logged; return where, or None if MLflow is away.

        Args:
            say: Told when there is something to wait for.
        """
        self._queue.put(None)
        if say is not None and self.parent is None and self._thread.is_alive():
            say("waiting for MLflow, which is not up yet")
        self._thread.join()
        return None if self.trouble else self._tracking

    def end(self) -> None:
        """End the parent run of a sweep that is done, after `drain`."""
        self._terminate("FINISHED")

    def abandon(self) -> None:
        """End the parent run of a sweep that failed, without waiting for an MLflow that is away."""
        self._closing.set()
        self._queue.put(None)
        if self.parent is not None:
            self._thread.join()

    def _terminate(self, status: RunStatus) -> None:
        if self.parent is None or self.trouble:
            return
        try:
            self._tracking.end_run(self.parent, status)
        except ServiceUnavailableError as error:
            self.trouble = str(error)
            _log.warning("the run of %s stays open: %s", self._name, error)

    def _run(self) -> None:
        try:
            self._tracking.open(self._within_s, give_up=self._closing)
            self.parent = self._tracking.start_run(self._name, tags=self._tags)
            while (work := self._queue.get()) is not None:
                work(self._tracking, self.parent)
            if self._closing.is_set():
                self._terminate("FAILED")
        except ServiceUnavailableError as error:
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001 - the log must not end the sweep; it is told
            self.trouble = f"{type(error).__name__}: {error}"

    def _child(self, to: Tracking, parent: str, record: TrialRecord) -> None:
        spec, outcome = record.spec, record.outcome
        name = f"{record.stage}-{record.number:03d}" + (f"-{spec.detector}" if spec else "")
        run_id = to.start_run(name, parent=parent, tags={"stage": record.stage})
        self.children[record.number] = run_id
        to.log(
            run_id,
            params={} if spec is None else asdict(spec),
            metrics=outcome.metrics,
            tags={"failure": outcome.failure} if outcome.failure else None,
        )
        to.end_run(run_id, "FAILED" if outcome.failure else "FINISHED")
