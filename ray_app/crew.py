"""Keeps the always-on actors at work, and lets them finish before they go.

Every member has `run()`, which works until told otherwise, and `stop()`, which tells it. When `run`
ends by an error, or its process is killed, the crew notes it, waits and calls `run` again: what a
member needs to go on is in Kafka and Postgres, never in the process.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from observability.catalogue import ACTOR_RESTARTS
from ray_app.metrics import process_metrics

_LOG = logging.getLogger(__name__)
_LOOK_EVERY_S = 0.2
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_QUIET_S = 60.0
"""A member that worked this long has recovered: its next pause is short again."""


def next_pause(pause_s: float, worked_s: float) -> float:
    """Return how long to wait before a member that failed is called again.

    Args:
        pause_s: The pause before; 0 before the first.
        worked_s: How long it worked since.
    """
    if pause_s == 0 or worked_s >= _QUIET_S:
        return _FIRST_PAUSE_S
    return min(2 * pause_s, _LONGEST_PAUSE_S)


@dataclass(slots=True, kw_only=True)
class _Member:
    kind: str
    handle: Any
    run: Any
    began_s: float
    pause_s: float = 0.0
    due_s: float | None = None
    leaving: bool = False
    failures: list[str] = field(default_factory=list)


class Crew:
    """The members and the one thread that watches them."""

    def __init__(self, on_failure: Callable[[str, str], None] | None = None) -> None:
        self._members: dict[str, _Member] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._on_failure = on_failure or (lambda name, why: _LOG.warning("%s: %s", name, why))
        self._watcher = threading.Thread(target=self._watch, name="crew", daemon=True)

    def add(self, name: str, handle: Any, *, kind: str) -> None:
        """Take an actor in and set it to work.

        Args:
            name: Unique among the members.
            handle: The actor.
            kind: Label of the metric: producer, consumer, scorer, retrainer.
        """
        member = _Member(
            kind=kind, handle=handle, run=handle.run.remote(), began_s=time.monotonic()
        )
        with self._lock:
            self._members[name] = member
            if not self._watcher.is_alive():
                self._watcher.start()

    def names(self) -> tuple[str, ...]:
        """Return the members at work."""
        with self._lock:
            return tuple(self._members)

    def handle(self, name: str) -> Any:
        """Return a member's actor.

        Raises:
            KeyError: There is none of this name.
        """
        with self._lock:
            return self._members[name].handle

    def retire(self, name: str) -> None:
        """Ask a member to finish and go, and wait for nothing: it keeps its name until it is gone.

        However long it takes, it is not ended before; only `close` has no such patience.

        Raises:
            KeyError: There is none of this name.
        """
        with self._lock:
            member = self._members[name]
        if not member.leaving:
            member.leaving = True
            member.handle.stop.remote()

    def staying(self, kind: str) -> tuple[str, ...]:
        """Return the members of a kind that were not asked to go."""
        with self._lock:
            return tuple(
                name for name, m in self._members.items() if m.kind == kind and not m.leaving
            )

    def release(self, name: str, *, within_s: float = 20.0) -> None:
        """Let one member finish and go; one that does not finish in time is ended."""
        with self._lock:
            members = [self._members.pop(name)]
        _drain(members, within_s)

    def close(self, *, within_s: float = 20.0) -> None:
        """Let every member finish and go. Harmless when repeated."""
        self._closing.set()
        if self._watcher.is_alive():
            self._watcher.join()
        with self._lock:
            members = list(self._members.values())
            self._members.clear()
        _drain(members, within_s)

    def _watch(self) -> None:
        import ray

        while not self._closing.wait(_LOOK_EVERY_S):
            with self._lock:
                members = dict(self._members)
            runs = [m.run for m in members.values() if m.due_s is None]
            ready, _busy = ray.wait(runs, num_returns=len(runs), timeout=0) if runs else ([], [])
            for name, member in members.items():
                if member.due_s is None and member.run in ready:
                    self._ended(name, member)
                elif member.due_s is not None and time.monotonic() >= member.due_s:
                    member.run, member.due_s = member.handle.run.remote(), None
                    member.began_s = time.monotonic()

    def _ended(self, name: str, member: _Member) -> None:
        import ray

        try:
            ray.get(member.run)
        except Exception as error:  # noqa: BLE001 - whatever ended it, it is told and run again
            if member.leaving:
                self._gone(name, member)
                return
            why = " ".join(str(error).split())[-300:]
            now = time.monotonic()
            member.pause_s = next_pause(member.pause_s, now - member.began_s)
            member.due_s = now + member.pause_s
            process_metrics().add(ACTOR_RESTARTS, actor=member.kind)
            self._on_failure(name, why)
        else:
            # It finished by itself, such as a producer with nothing left to send.
            self._gone(name, member)

    def _gone(self, name: str, member: _Member) -> None:
        import ray

        with self._lock:
            self._members.pop(name, None)
        if member.leaving:
            # Its process would wait for ever, and its name stay taken.
            ray.kill(member.handle)


def _drain(members: list[_Member], within_s: float) -> None:
    import ray

    stops = [member.handle.stop.remote() for member in members]
    runs = [member.run for member in members]
    if runs:
        ray.wait([*stops, *runs], num_returns=len(stops) + len(runs), timeout=within_s)
    for member in members:
        # Not an exit by itself: Ray would take a clean end for a crash and start it again.
        ray.kill(member.handle)
