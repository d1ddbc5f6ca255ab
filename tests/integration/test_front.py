"""The front as Ray runs it: the real HAProxy over real sockets, killed, reloaded, asked slowly."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import psutil
import pytest

from ray_app import front, front_stand_in
from ray_app.embedded.ports import free_port
from ray_app.serve import scaling

_TEMPLATE = """\
global
    log 127.0.0.1:514 local0 info
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
    hard-stop-after 20s
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 2s
    log global
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend prometheus
    bind :{metrics}
    mode http
frontend http_frontend
    bind 127.0.0.1:{port}
{routes}
listen stats
  bind *:{statistics}
  stats enable
"""
_ROUTES = """\
    use_backend http-predictor if {{ path /api/v1/predict }}
    default_backend nothing
backend nothing
    http-request return status 404 content-type text/plain string "nothing"
backend http-predictor
    server one 127.0.0.1:{replica}
"""
_NO_ROUTES = """\
    # Per-backend path ACLs (used for both ingress-request-router dispatch
    # and static use_backend selection below).
    default_backend nothing
backend nothing
    http-request return status 404 content-type text/plain string "nothing"
"""


class Replica(ThreadingHTTPServer):
    """Stands for a replica; counts who reached it, and keeps /slow waiting until it is let go.

    Attributes:
        reached: Requests whose header came this far.
        let_go: Ends the wait.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.reached, self.let_go = 0, threading.Event()

    def handle_error(self, *_: Any) -> None:
        """Say nothing of callers that left."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replica

    def do_POST(self) -> None:
        self.server.reached += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        if body == b"slow":
            self.server.let_go.wait(60)
        status = {b"late": 408, b"full": 503}.get(body, 200)
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Front:
    """Starts HAProxy as Ray does.

    Args:
        folder: Of its files.
        replica: Port of the replica.
        platform: What is closed when the platform ends.

    Attributes:
        folder: The same.
        port: Where it listens.
        platform: The same.
    """

    def __init__(self, folder: Path, replica: int, platform: ExitStack) -> None:
        self.folder, self._replica, self.port = folder, replica, free_port()
        self.platform, self._others = platform, (free_port(), free_port())
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Return where predict is."""
        return f"http://127.0.0.1:{self.port}/api/v1/predict"

    def start(
        self, *more: str, routes: bool = True, quick: bool = False
    ) -> subprocess.Popen[bytes]:
        """Write the configuration and start HAProxy; return it when it answers its socket.

        Args:
            *more: Arguments, such as those of a reload.
            routes: Whether the applications are known.
            quick: Whether callers get one second for what they get ten for.
        """
        path, starter = self._write(routes=routes), self._starter
        if quick:
            subprocess.run([starter, "-c", "-f", str(path)], check=True, capture_output=True)
            path.write_text(re.sub(r"\b10s$", "1s", path.read_text(), flags=re.MULTILINE))
        process = subprocess.Popen([starter, "-db", "-f", str(path), "-dR", *more])
        self._started.append(process)
        await_true(lambda: self._pid() == process.pid)
        return process

    def reload(self, old: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Start the next one, which takes the sockets over."""
        return self.start("-sf", str(old.pid), "-x", str(self.folder / "admin.sock"))

    def stand_ins(self) -> list[psutil.Process]:
        """Return who stands in."""
        wanted = str(self.folder / "stand-in.cfg")
        return [one for one in psutil.process_iter() if wanted in _words(one)]

    def close(self) -> None:
        """End all of them."""
        for started in self._started:
            started.kill()
            started.wait(10)

    @property
    def _starter(self) -> str:
        return os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"]

    def _write(self, *, routes: bool) -> Path:
        made = (_ROUTES if routes else _NO_ROUTES).format(replica=self._replica)
        path = self.folder / "haproxy.cfg"
        path.write_text(
            _TEMPLATE.format(
                folder=self.folder,
                port=self.port,
                metrics=self._others[0],
                statistics=self._others[1],
                routes=made,
            )
        )
        return path

    @contextmanager
    def asked(self) -> Iterator[list[int]]:
        """Ask without a pause beside the block, each time on a new connection."""
        statuses: list[int] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                statuses.append(self.status())

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield statuses
        finally:
            over.set()
            thread.join()

    def status(self) -> int:
        """Return what predict says; 0 where nobody does."""
        try:
            return httpx.post(self.url, content=b"x", timeout=5).status_code
        except httpx.TransportError:
            return 0

    def _pid(self) -> int:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.folder / "admin.sock"))
                client.sendall(b"show info\n")
                told = b"".join(iter(lambda: client.recv(65_536), b""))
            except OSError:
                return 0
        found = re.search(rb"^Pid: (\d+)", told, re.MULTILINE)
        return int(found[1]) if found else 0


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def await_true(holds: Callable[[], bool], within_s: float = 20) -> float:
    """Await a condition; return the seconds until it held."""
    began = monotonic()
    while not holds():
        assert monotonic() - began < within_s, f"not within {within_s} s"
        sleep(0.02)
    return monotonic() - began


@pytest.fixture
def replica() -> Iterator[Replica]:
    """Return a running replica."""
    with Replica() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.let_go.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def fronts(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """Return who starts HAProxy before the replica."""
    for name in [one for one in os.environ if one.startswith("RAY_SERVE_")]:
        monkeypatch.delenv(name)
    with ExitStack() as stack:
        assert stack.enter_context(front.prepared())
        node = Path(os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent / "node"
        node.mkdir()
        made = Front(node, replica.server_address[1], stack)
        stack.callback(made.close)
        yield made


def test_a_killed_haproxy_is_stood_in_for_until_the_next_one_knows_the_applications(
    fronts: Front,
) -> None:
    """Nobody is refused for long or told 404 meanwhile, and one of them is left in the end."""
    first = fronts.start()
    assert fronts.status() == 200
    first.kill()
    first.wait(10)
    assert await_true(lambda: fronts.status() == 200) < 5
    assert len(fronts.stand_ins()) == 1

    empty = fronts.start(routes=False)
    with fronts.asked() as statuses:
        fronts.reload(empty)
        await_true(lambda: not fronts.stand_ins())
        asked = len(statuses)
        await_true(lambda: len(statuses) > asked + 5)
    # Whoever the old one had not yet accepted when it closed.
    assert sum(one != 200 for one in statuses) <= 1


def test_who_stands_in_is_stood_in_for_as_well(fronts: Front) -> None:
    """Whoever kills every HAProxy of a host leaves none without an answer."""
    fronts.start().kill()
    await_true(lambda: len(fronts.stand_ins()) == 1)
    (victim,) = fronts.stand_ins()
    victim.kill()
    await_true(lambda: [one.pid for one in fronts.stand_ins()] not in ([], [victim.pid]))

    await_true(lambda: fronts.status() == 200)


def test_a_reload_needs_nobody_to_stand_in(fronts: Front) -> None:
    """The old one ends because it was told to, and the new one answers."""
    first = fronts.start()
    fronts.reload(first)
    first.wait(20)
    # Longer than the watcher needs to look twice.
    for _ in range(10):
        assert fronts.status() == 200
        assert fronts.stand_ins() == []
        sleep(0.05)


def test_before_an_application_is_known_the_port_is_closed(fronts: Front) -> None:
    """A 404 would say that there is no such thing, where it is only early."""
    fronts.start(routes=False)

    assert fronts.status() == 0


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def _told(client: socket.socket) -> tuple[int, dict[str, Any]]:
    raw = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), raw
    return int(head.split()[1]), json.loads(body)


_HEAD = b"POST /api/v1/predict HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        _HEAD + b"content-length: 100\r\n\r\nhalf",
        _HEAD + b"transfer-encoding: chunked\r\n\r\n",
    ],
    ids=["body", "chunks"],
)
def test_who_sends_slowly_is_told_and_holds_no_replica(
    fronts: Front, replica: Replica, sent: bytes
) -> None:
    """408 as a problem, and the replica never heard of it."""
    fronts.start(quick=True)
    with _connected(fronts.port) as client:
        client.sendall(sent)
        status, problem = _told(client)

    assert (status, problem["status"], problem["title"]) == (408, 408, "Too slow")
    assert replica.reached == 0
    assert fronts.status() == 200


def test_requests_under_way_are_counted_where_they_wait(
    fronts: Front, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that answers one after the other cannot know how many wait for it."""
    monkeypatch.setenv("RAY_SERVE_HAPROXY_SOCKET_PATH", str(fronts.folder.parent / "admin.sock"))
    fronts.start()
    assert scaling.under_way("http-predictor") == 0
    with ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(_connected(fronts.port))
            client.sendall(_HEAD + b"content-length: 4\r\n\r\nslow")
        await_true(lambda: scaling.under_way("http-predictor") == 3)
        replica.let_go.set()
        await_true(lambda: scaling.under_way("http-predictor") == 0)


def test_an_answer_that_takes_too_long_is_a_problem(fronts: Front) -> None:
    """504 with a time to come again, not a hang."""
    fronts.start()
    answer = httpx.post(fronts.url, content=b"slow", timeout=20)

    assert (answer.status_code, answer.json()["status"]) == (504, 504)
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(("body", "status"), [(b"late", 408), (b"full", 503)])
def test_what_serve_refuses_in_plain_text_is_a_problem(
    fronts: Front, body: bytes, status: int
) -> None:
    """Its own time limit and its full queue."""
    fronts.start()
    answer = httpx.post(fronts.url, content=body, timeout=20)

    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (_HEAD, 408),
        (b"nonsense\r\n\r\n", 400),
        (_HEAD + b"x: " + b"a" * 40_000, 400),
        (_HEAD + b"transfer-encoding: chunked\r\n\r\nno number\r\n", 400),
    ],
    ids=["half a header", "no HTTP", "a header of 40 KB", "chunks that are none"],
)
def test_what_never_becomes_a_request_is_refused(
    fronts: Front, replica: Replica, sent: bytes, status: int
) -> None:
    """Before there is a request HAProxy has words of its own, which no setting reaches."""
    fronts.start(quick=True)
    with _connected(fronts.port) as client:
        client.sendall(sent)
        told = client.recv(65_536)

    assert told.startswith(f"HTTP/1.1 {status} ".encode())
    assert replica.reached == 0


def test_nobody_stands_in_for_a_platform_that_is_gone(fronts: Front) -> None:
    """The port is free again."""
    fronts.start().kill()
    await_true(lambda: len(fronts.stand_ins()) == 1)
    fronts.platform.close()

    await_true(lambda: fronts.stand_ins() == [])
    assert fronts.status() == 0


def test_the_watch_ends_with_a_platform_that_is_killed(tmp_path: Path) -> None:
    """Whoever dies by kill -9 stops nothing."""
    watch = [sys.executable, "-I", "-S", front_stand_in.__file__, "haproxy", str(tmp_path)]
    words = ["bash", "-c", '"$@" $$ & exec sleep 60', "platform", *watch]
    with subprocess.Popen(words) as platform:
        await_true(lambda: len(psutil.Process(platform.pid).children()) == 1)
        (watcher,) = psutil.Process(platform.pid).children()
        await_true(lambda: front_stand_in.__file__ in _words(watcher))
        platform.kill()

    psutil.wait_procs([watcher], timeout=10)
    assert not watcher.is_running() or watcher.status() == psutil.STATUS_ZOMBIE
