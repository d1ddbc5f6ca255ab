"""Brings MLflow's aliases to what Postgres says, soon after every promotion, whoever made it.

A promotion over HTTP is one transaction in Postgres: replicas know no MLflow and wait for none.
What is to follow is read from the same history of models that decided, so nothing is lost with a
process that dies, and what MLflow missed while it was away is made up for when it is back.
"""

import logging
import threading

from domain.errors import PlatformError, ServiceUnavailableError
from storage import models
from storage.connect import session
from storage.settings import StorageSettings
from tuning import registry
from tuning.settings import TuningSettings
from tuning.tracking import Tracking

_log = logging.getLogger(__name__)

POLL_S = 1.0
"""How late a promotion is noticed; the question is the newest number of an index."""

_OPEN_S = 5.0
_PAUSES_S = (5.0, 60.0)
"""Rest after a failure, and the longest one; each is twice the one before."""


class AliasFollower:
    """Follows until told otherwise, in a thread of its own: no sweep waits for it, nor it for one.

    Args:
        storage: Where Postgres is.
        tuning: Where MLflow is.
        poll_s: Seconds between two looks.
        pauses_s: Rest after a failure: the first and the longest.
    """

    def __init__(
        self,
        storage: StorageSettings,
        tuning: TuningSettings,
        *,
        poll_s: float = POLL_S,
        pauses_s: tuple[float, float] = _PAUSES_S,
    ) -> None:
        self._storage, self._tuning = storage, tuning
        self._poll_s, self._pauses_s = poll_s, pauses_s
        self._tracking: Tracking | None = None
        self._seen = 0
        self._followed: dict[str, list[int]] = {}
        self._trouble: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Follow in the background until `close`."""
        self._thread = threading.Thread(target=self.run, name="aliases", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the step under way end; then stop. Harmless when repeated."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def run(self) -> None:
        """Follow until stopped, whatever goes wrong."""
        pause_s = self._pauses_s[0]
        while not self._stop.wait(self._poll_s):
            try:
                done = self.follow()
            except PlatformError as error:
                done = False
                _log.warning("MLflow's aliases wait: %s", error)
            except Exception:  # noqa: BLE001 - a thread that dies would leave every alias behind
                done = False
                _log.exception("MLflow's aliases wait")
            if done:
                pause_s = self._pauses_s[0]
            else:
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, self._pauses_s[1])

    def follow(self) -> bool:
        """Bring up what was promoted since the last look; say whether nothing is left to do.

        Raises:
            ServiceUnavailableError: Postgres is away.
        """
        with session(self._storage, application="millwright aliases") as on:
            newest = models.newest_event(on)
            if newest == self._seen:
                return True
            lines = {name: models.champion_line(on, name) for name in models.versions(on)}
        behind = {name: line for name, line in lines.items() if self._followed.get(name) != line}
        # One class that cannot follow holds up no other.
        late = [name for name, line in sorted(behind.items()) if not self._bring(name, line)]
        if late:
            return False
        self._seen = newest
        return True

    def _bring(self, name: str, line: list[int]) -> bool:
        try:
            for one in registry.follow(self._open(), name, line):
                _log.info("MLflow's alias is moved: %s", one)
        except ServiceUnavailableError as error:
            self._tracking = None
            if self._trouble.get(name) != str(error):
                _log.warning("MLflow's aliases of %s are behind: %s", name, error)
            self._trouble[name] = str(error)
            return False
        self._followed[name] = line
        self._trouble.pop(name, None)
        return True

    def _open(self) -> Tracking:
        if self._tracking is None:
            opened = Tracking(self._tuning.tracking_uri, self._tuning.artifact_root)
            opened.open(_OPEN_S, give_up=self._stop)
            self._tracking = opened
        return self._tracking
