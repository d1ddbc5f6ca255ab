"""Answers in the place of an HAProxy that died, until Ray Serve has started the next one.

Ray Serve needs some six seconds for that, and the next one answers 404 until it is told of the
applications. `ray_app.front_launcher` starts this file beside each HAProxy; it stands alone as that
one does.

1. It awaits the end of HAProxy; the cluster's end is its own.
2. Where another one answers the admin socket then, it was a reload or a stop: nothing to do.
3. Else it starts HAProxy again, by the same configuration without an admin socket: Ray must see
   that its own is dead. Should it be killed as well, it is started again.
4. The next HAProxy of Ray that knows an application ends it (`-sf`) when its own port is open.
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
_ON_DUTY = "stand-in.pid"

_FOR_S = 60.0
"""Ray may never start another one, as after `serve shutdown`: then nobody should answer for it."""
_PR_SET_PDEATHSIG = 1


def start(binary: str, text: str, folder: Path) -> None:
    """Have this process, which is about to become HAProxy, be watched.

    Args:
        binary: HAProxy.
        text: Its configuration.
        folder: Where it has its files.
    """
    socket_line = re.search(r"^\s*stats socket (\S+).*\n", text, flags=re.MULTILINE)
    if socket_line is None:
        return
    (folder / CONFIGURATION).write_text(text.replace(socket_line[0], ""), encoding="utf-8")
    cluster = _parent_of(os.getppid())
    words = [binary, str(folder), socket_line[1], str(os.getpid()), str(cluster)]
    command = [sys.executable, "-I", "-S", __file__, *words]
    os.posix_spawn(sys.executable, command, os.environ, setsid=True)


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


def _parent_of(process: int) -> int:
    # The name, in brackets, may hold blanks.
    told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    return int(told.rpartition(")")[2].split()[1])


def main(arguments: list[str]) -> None:
    """Watch one HAProxy to its end, and stand in for it where need be."""
    binary, folder, admin, *processes = arguments
    front, cluster = (_opened(int(one)) for one in processes)
    if cluster is None or (front is not None and not _ended(front, cluster)):
        return
    if not _answers(admin):
        _stand_in(binary, Path(folder), cluster)


def _stand_in(binary: str, folder: Path, cluster: int) -> None:
    """Keep an HAProxy until it is relieved, the time is over, or the cluster ends."""
    until = monotonic() + _FOR_S
    while monotonic() < until:
        process = _spawned([binary, "-db", "-f", str(folder / CONFIGURATION)])
        if not _goes_on_duty(folder, process):
            _end(process)
            return
        handle = os.pidfd_open(process)
        if not _ended(handle, cluster, until):
            # Whoever was relieved drains: that may last longer.
            if _on_duty(folder) == process:
                relieve(folder)
                os.kill(process, signal.SIGUSR1)
            _ended(handle, cluster)
            _end(process)
            return
        # One that was relieved ends by itself, one with a wrong configuration as well.
        if not os.WIFSIGNALED(os.waitpid(process, 0)[1]):
            return


def _goes_on_duty(folder: Path, process: int) -> bool:
    """Enter who stands in; false where somebody else does already."""
    if _on_duty(folder) is not None:
        return False
    mine = folder / f"{_ON_DUTY}.{process}"
    mine.write_text(str(process))
    (folder / _ON_DUTY).unlink(missing_ok=True)
    try:
        os.link(mine, folder / _ON_DUTY)
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True


def _spawned(command: list[str]) -> int:
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execv(command[0], command)  # noqa: S606 - no shell in between
    return child


def _end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _opened(process: int) -> int | None:
    try:
        return os.pidfd_open(process)
    except ProcessLookupError:
        return None


def _ended(process: int, cluster: int, until: float | None = None) -> bool:
    """Await the end of a process; false where the cluster ended first or the time was over."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(cluster, select.POLLIN)
    left_ms = None if until is None else max(0.0, until - monotonic()) * 1000
    ended = {found for found, _ in poll.poll(left_ms)}
    return process in ended and cluster not in ended


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
