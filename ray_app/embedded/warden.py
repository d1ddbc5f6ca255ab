"""The process that starts the embedded services and outlives nobody.

Started as a script (`python -IS warden.py`) with the standard library alone, so that it costs
10 MB and no import. Commands come as JSON lines on stdin, answers go to stdout. When stdin ends,
because the owner stopped, crashed or was killed with -9, every child is stopped in reverse order
and the warden ends.

Children also carry PR_SET_PDEATHSIG, so that kill -9 of the warden itself leaves none; that signal
belongs to the forking *thread*, which is why a process of one thread forks. What the owner started
without us, such as Ray, is witnessed every second and ended when the owner died without doing so.
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


class Witness:
    """Knows every descendant of the owner, also those whose own parent ended meanwhile."""

    def __init__(self, owner: int) -> None:
        self._owner = owner
        self._seen: dict[int, str] = {}

    def look(self) -> None:
        """Note who descends from the owner now, forget who ended."""
        parents, born = {}, {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    pid = int(entry.name)
                    fields = _stat(pid)
                    parents[pid], born[pid] = int(fields[1]), fields[19]
        self._seen = {pid: start for pid, start in self._seen.items() if born.get(pid) == start}
        family = {self._owner, *self._seen}
        grown = True
        while grown:
            young = {pid for pid, parent in parents.items() if parent in family} - family
            grown = bool(young)
            family |= young
        family -= {self._owner, os.getpid()}
        self._seen = {pid: born[pid] for pid in family if parents.get(pid) != os.getpid()}

    def end_all(self) -> None:
        """Kill whoever of them still lives."""
        for pid, start in self._seen.items():
            with contextlib.suppress(OSError):
                # A process id may have become another's; its birth tells.
                if _stat(pid)[19] == start:
                    os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    # The name in parentheses may hold spaces: what follows the last one is regular.
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return text.rpartition(")")[2].split()


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
    witness = Witness(owner)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        while True:
            # A copy of the pipe may live on in a process our owner forked: its death alone counts.
            if not selector.select(timeout=1.0):
                if os.getppid() != owner:
                    break
                witness.look()
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
    if os.getppid() != owner:
        witness.end_all()


if __name__ == "__main__":
    main()
