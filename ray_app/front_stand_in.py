"""Answers in the place of an HAProxy that died, until Ray Serve has started the next one.

Ray Serve needs some six seconds for that, and the next one answers 404 until it is told of the
applications. One watcher runs beside the platform, and is no process of Ray's. This file stands
alone: as a program it is the watcher.

1. `ray_app.front_launcher` enters each HAProxy that knows an application, with its configuration.
2. When it is dead, and no other one answers its admin socket, the watcher starts HAProxy by the
   same configuration without an admin socket: Ray must see that its own is dead. Should that one be
   killed as well, it is started again.
3. The next HAProxy of Ray that knows an application ends it (`-sf`) when its own port is open.
"""

import ctypes
import os
import re
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

CONFIGURATION = "stand-in.cfg"
_FRONT, _ON_DUTY = "front.pid", "stand-in.pid"

_ASIDE = re.compile(r"^(?:frontend prometheus|listen stats)\n(?:[ \t].*\n|\n)*", re.MULTILINE)
"""Ports that Ray's next HAProxy opens before its public one; nobody needs them meanwhile."""

_FOR_S = 60.0
"""Ray may never start another one, as after `serve shutdown`: then nobody should answer for it."""
_LOOK_MS = 100
_PR_SET_PDEATHSIG = 1


def enter(text: str, folder: Path) -> None:
    """Have this process, which is about to become HAProxy, be watched.

    Args:
        text: Its configuration.
        folder: Where it has its files.
    """
    admin = re.search(r"^\s*stats socket (\S+).*\n", text, flags=re.MULTILINE)
    if admin is not None:
        _write(folder / CONFIGURATION, _ASIDE.sub("", text.replace(admin[0], "")))
        _write(folder / _FRONT, f"{os.getpid()} {admin[1]}")


def relieve(folder: Path) -> int | None:
    """Return the process that stands in, which is the caller's to end from now on; None if none."""
    found = _on_duty(folder)
    (folder / _ON_DUTY).unlink(missing_ok=True)
    return found


def _on_duty(folder: Path) -> int | None:
    with suppress(OSError, ValueError):
        found = int((folder / _ON_DUTY).read_text())
        words = Path(f"/proc/{found}/cmdline").read_bytes().split(b"\0")
        if str(folder / CONFIGURATION).encode() in words:
            return found
    return None


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


class Watcher:
    """Watches the HAProxy of one node.

    Args:
        binary: HAProxy.
        folder: Where it has its files.
    """

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._standing, self._until = 0, 0.0
        self._draining: set[int] = set()

    def look(self) -> None:
        """Stand in where need be, and stop where it is not any more."""
        self._draining = {one for one in self._draining if _status(one) is None}
        if not self._standing:
            if _is_dead(self._folder / _FRONT):
                self._until = monotonic() + _FOR_S
                self._stand_in()
            return
        if not (self._folder / _ON_DUTY).exists():
            self._draining.add(self._standing)
            self._standing = 0
            return
        self._look_after()

    def _look_after(self) -> None:
        status = _status(self._standing)
        if status is not None and os.WIFSIGNALED(status):
            self._stand_in()
        elif status is not None or monotonic() > self._until:
            # Its configuration is wrong, or nobody relieves it.
            for name in (_ON_DUTY, _FRONT):
                (self._folder / name).unlink(missing_ok=True)
            if status is None:
                os.kill(self._standing, signal.SIGUSR1)
                self._draining.add(self._standing)
            self._standing = 0

    def _stand_in(self) -> None:
        self._standing = _spawned([self._binary, "-db", "-f", str(self._folder / CONFIGURATION)])
        _write(self._folder / _ON_DUTY, str(self._standing))


def _is_dead(entry: Path) -> bool:
    try:
        process, _, admin = entry.read_text().partition(" ")
        handle = os.pidfd_open(int(process))
    except ProcessLookupError:
        return not _answers(admin)
    except (OSError, ValueError):
        return False
    try:
        return _ended(handle, 0) and not _answers(admin)
    finally:
        os.close(handle)


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent, also across `exec`."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _spawned(command: list[str]) -> int:
    child = os.fork()
    if child == 0:
        die_with_parent()
        os.execv(command[0], command)  # noqa: S606 - no shell in between
    return child


def _status(child: int) -> int | None:
    """Return how a child ended; None while it runs."""
    found, status = os.waitpid(child, os.WNOHANG)
    return status if found else None


def _ended(handle: int, within_ms: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(within_ms))


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def main(arguments: list[str]) -> None:
    """Watch every node's HAProxy below a folder until the driver ends."""
    binary, root, process = arguments
    try:
        driver = os.pidfd_open(int(process))
    except ProcessLookupError:
        return
    watchers: dict[Path, Watcher] = {}
    while not _ended(driver, _LOOK_MS):
        for entry in Path(root).glob(f"*/{_FRONT}"):
            watchers.setdefault(entry.parent, Watcher(binary, entry.parent))
        for watcher in watchers.values():
            watcher.look()


if __name__ == "__main__":
    main(sys.argv[1:])
