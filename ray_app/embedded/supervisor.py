"""Starts the embedded services through the warden, and stops them in reverse order."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from domain.errors import ServiceUnavailableError

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process of the platform.

    Attributes:
        name: For logs, errors and the file of its output.
        argv: Program and arguments.
        log: File its output is appended to.
        cwd: Its working directory.
        env: Its whole environment; ours when empty.
        user: Numeric user to run as; None for ours.
        stop_signal: What asks it to end in good order.
        grace_s: Seconds after which it is killed.
    """

    name: str
    argv: tuple[str, ...]
    log: Path
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: int | None = None
    stop_signal: int = signal.SIGTERM
    grace_s: float = 20.0


class Supervisor:
    """Owns the embedded services: none of them outlives this process, however it ends.

    Safe to use from several threads. Leaving the `with` block stops everything.

    Attributes:
        keep_open: Descriptors the warden holds for as long as a child may live, such as a lock.
    """

    def __init__(self, keep_open: tuple[int, ...] = ()) -> None:
        self.keep_open = keep_open
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._children: dict[str, Child] = {}
        self._warden: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("warden.py")
        self._warden = subprocess.Popen(
            [sys.executable, "-IS", str(script), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=self.keep_open,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, child: Child) -> int:
        """Start a process; return its id.

        Raises:
            ServiceUnavailableError: The program cannot be started.
        """
        child.log.parent.mkdir(parents=True, exist_ok=True)
        answer = self._ask(
            {
                "do": "start",
                "name": child.name,
                "argv": child.argv,
                "env": dict(child.env) or dict(os.environ),
                "cwd": str(child.cwd),
                "user": child.user,
                "log": str(child.log),
                "signal": int(child.stop_signal),
                "grace_s": child.grace_s,
            }
        )
        if "error" in answer:
            raise ServiceUnavailableError(child.name, answer["error"], f"Its log is {child.log}")
        self._names.append(child.name)
        self._children[child.name] = child
        return int(answer["pid"])

    def wait_ready(self, name: str, ready: Callable[[], bool], *, within_s: float) -> None:
        """Await a condition, but no longer than the process lives.

        Raises:
            ServiceUnavailableError: The process ended or the time is over; with its last words.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            code = self.exit_code(name)
            if code is not None:
                raise self._failed(name, f"it ended with code {code}")
            if time.monotonic() > deadline:
                raise self._failed(name, f"it was not ready within {within_s:.0f} s")
            time.sleep(_POLL_S)

    def exit_code(self, name: str) -> int | None:
        """Return a process's exit code, None while it runs."""
        code = self._ask({"do": "poll", "name": name}).get("code", -1)
        return None if code is None else int(code)

    def stop(self, name: str) -> None:
        """Stop one process in good order, by force after its grace."""
        if name in self._names:
            self._names.remove(name)
            self._ask({"do": "stop", "name": name})

    def close(self) -> None:
        """Stop everything, the youngest first. Harmless when repeated."""
        warden, self._warden = self._warden, None
        if warden is None:
            return
        for pipe in (warden.stdin, warden.stdout):
            if pipe is not None:
                pipe.close()
        warden.wait()
        self._names.clear()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            warden = self._warden
            if warden is None or warden.stdin is None or warden.stdout is None:
                return {"error": "the supervisor is closed"}
            try:
                warden.stdin.write(json.dumps(command) + "\n")
                warden.stdin.flush()
                answer = warden.stdout.readline()
            except OSError as error:
                return {"error": f"the warden is gone ({error})"}
            return dict(json.loads(answer)) if answer else {"error": "the warden is gone"}

    def _failed(self, name: str, why: str) -> ServiceUnavailableError:
        log = self._children[name].log
        tail = log.read_text(errors="replace").strip().splitlines()[-3:] if log.is_file() else []
        said = f"; it said: {' | '.join(tail)}" if tail else ""
        return ServiceUnavailableError(name, why + said, f"Its log is {log}")
