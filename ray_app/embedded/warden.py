"""The process that starts the embedded services and outlives nobody.

Started as a script (`python -IS warden.py`) with the standard library alone, so that it costs
10 MB and no import. Commands come as JSON lines on stdin, answers go to stdout. When stdin ends,
because the owner stopped, crashed or was killed with -9, every child is stopped in reverse order
and the warden ends.

Children also carry PR_SET_PDEATHSIG, so that kill -9 of the warden itself leaves none; that signal
belongs to the forking *thread*, which is why a process of one thread forks.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Warden:
    """Children by name, in the order of their start."""

    def __init__(self) -> None:
        self._children: dict[str, tuple[subprocess.Popen[bytes], dict[str, Any]]] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Obey one command: `start`, `stop` or `poll`; errors are answers too."""
        try:
            match command["do"]:
                case "start":
                    return {"pid": self.start(command)}
                case "stop":
                    return {"code": self.stop(command["name"])}
                case "poll":
                    return {"code": self._children[command["name"]][0].poll()}
                case other:
                    return {"error": f"unknown command {other!r}"}
        except OSError as error:
            return {"error": str(error)}
        except KeyError as error:
            return {"error": f"there is no {error}"}

    def start(self, command: dict[str, Any]) -> int:
        """Start a child in its own session; return its process id."""
        with Path(command["log"]).open("ab") as log:
            child = subprocess.Popen(
                command["argv"],
                env=command["env"],
                cwd=command["cwd"],
                user=command.get("user"),
                group=command.get("user"),
                extra_groups=[] if command.get("user") is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - this process has one thread
            )
        self._children[command["name"]] = (child, command)
        return child.pid

    def stop(self, name: str) -> int | None:
        """End a child by its own signal, by SIGKILL after its grace; its whole group goes."""
        child, command = self._children.pop(name)
        if child.poll() is None:
            child.send_signal(command["signal"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(command["grace_s"])
        _signal_group(child.pid, signal.SIGKILL)
        return child.wait()

    def stop_all(self) -> None:
        """Stop every child, the youngest first."""
        for name in reversed(list(self._children)):
            self.stop(name)


def _die_with_parent() -> None:
    # Runs after setuid, which would have cleared it.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _leave_it_to_the_owner(_number: int, _frame: object) -> None:
    return


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def main() -> None:
    """Serve commands until stdin ends."""
    # The owner decides when to stop: a Ctrl-C of the terminal is not for us. A handler and not
    # SIG_IGN, which children would inherit: Java never handles a signal it was born to ignore.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave_it_to_the_owner)
    warden = Warden()
    owner = int(sys.argv[1])
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        while True:
            # A copy of the pipe may live on in a process our owner forked: its death alone counts.
            if not selector.select(timeout=1.0):
                if os.getppid() != owner:
                    break
                continue
            line = sys.stdin.buffer.readline()
            if not line:
                break
            try:
                sys.stdout.write(json.dumps(warden.answer(json.loads(line))) + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                break
    warden.stop_all()


if __name__ == "__main__":
    main()
