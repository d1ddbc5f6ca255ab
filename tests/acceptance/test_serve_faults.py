"""What callers of predict see while parts of the serving side are killed, swapped or away.

Short counts in `make test`; `make nightly` runs the full ones. The load is the benchmark's
generator, a process of its own: whatever is not a 2xx counts as failed, a refused connection too.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx
import psutil
import pytest
from ray.job_submission import JobSubmissionClient

from benchmarks.serving import model, ours
from benchmarks.serving.driving import Figures, drive
from ray_app import cluster, front, serving
from ray_app.embedded import postgres as postgres_service
from ray_app.embedded.supervisor import Supervisor
from storage.migrate import upgrade
from storage.settings import StorageSettings

_log = logging.getLogger(__name__)

NIGHTLY = os.environ.get("MILLWRIGHT_TEST_PROFILE") == "nightly"
_USER, _PG = "sensor_user", "pg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Millwright as it is deployed, over a server that may be stopped.

    Attributes:
        url: Of predict.
        dashboard: Of Ray.
        storage: Where the server is.
        one: File with a request for one reading.
        supervisor: Owns the server.
        folder: The server's data.
    """

    url: str
    dashboard: str
    storage: StorageSettings
    one: Path
    supervisor: Supervisor
    folder: Path

    def processes(self, name: str) -> list[psutil.Process]:
        """Return our processes whose command line begins so."""
        family = psutil.Process().children(recursive=True)
        return [one for one in family if _called(one).startswith(name)]

    def version(self) -> int:
        """Return the version that answered."""
        answer = httpx.post(self.url, content=self.one.read_bytes(), headers=_JSON, timeout=30)
        return int(answer.json()["model"]["version"])


_JSON = {"content-type": "application/json"}


def _called(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def site(run_home: Path) -> Iterator[Site]:
    """Deploy the applications over a server of their own, with a champion."""
    folder, before = run_home / "faults", dict(os.environ)
    folder.mkdir()
    one = folder / "one.json"
    one.write_bytes(model.body(1))
    try:
        with Supervisor() as supervisor, front.prepared() as fast:
            assert fast
            storage = _server(supervisor, folder)
            upgrade(storage)
            ours.store(storage, [model.package(seed) for seed in (1, 2)])
            os.environ |= {
                "MILLWRIGHT_HOME": str(folder / "home"),
                "POSTGRES_HOST": storage.host,
                "POSTGRES_PORT": str(storage.port),
                "POSTGRES_USER": storage.user,
                "POSTGRES_DB": storage.database,
            }
            with cluster.local(folder / "home", dashboard_port=_port(), cpus=3) as ray:
                url = serving.deploy(ray.dashboard, host="127.0.0.1", port=_port())
                serving.wait(ray.dashboard, url)
                made = Site(
                    url=f"{url}/api/v1/predict",
                    dashboard=ray.dashboard,
                    storage=storage,
                    one=one,
                    supervisor=supervisor,
                    folder=folder,
                )
                await_true(lambda: _status(made) == 200, 60)
                yield made
    finally:
        os.environ.clear()
        os.environ.update(before)


def _server(supervisor: Supervisor, folder: Path) -> StorageSettings:
    server = postgres_service.start(supervisor, folder / _PG)
    server.ensure(_USER, "served")
    return server.settings(_USER, "", "served")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _status(site: Site) -> int:
    try:
        return httpx.post(
            site.url, content=site.one.read_bytes(), headers=_JSON, timeout=30
        ).status_code
    except httpx.TransportError:
        return 0


def await_true(holds: Callable[[], bool], within_s: float) -> float:
    """Await a condition; return the seconds until it held."""
    began = monotonic()
    while not holds():
        assert monotonic() - began < within_s, f"not within {within_s} s"
        sleep(0.05)
    return monotonic() - began


@contextmanager
def load(site: Site, seconds: float, callers: int) -> Iterator[Figures]:
    """Ask beside the block, and until the time is over; what was measured is there behind it."""
    found: Figures = {}

    def run() -> None:
        found.update(drive(site.url, site.one, seconds=seconds, connections=callers))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def test_who_awaited_the_agent_for_jobs_is_not_refused(site: Site) -> None:
    """Ray starts it apart from everything else, and refuses jobs until then."""
    assert cluster.takes_jobs()

    assert JobSubmissionClient(site.dashboard).submit_job(entrypoint="true")


@pytest.mark.timeout(240)
def test_no_request_fails_while_champions_are_swapped_again_and_again(site: Site) -> None:
    """Loaded and verified beside the traffic: no failure, and the slowest are not much slower."""
    swaps = 20 if NIGHTLY else 4
    calm = drive(site.url, site.one, seconds=5 if NIGHTLY else 1, connections=8)
    with load(site, swaps * 1.5 + 2, callers=8) as found:
        for swap in range(swaps):
            wanted = 2 - swap % 2
            ours.promote(site.storage, wanted)
            await_true(lambda wanted=wanted: site.version() == wanted, 20)  # type: ignore[misc]

    assert (calm["failed"], found["failed"]) == (0, 0)
    assert found["good"] > 100
    if NIGHTLY:
        assert found["p99_ms"] < 2 * calm["p99_ms"]


@pytest.mark.timeout(400)
def test_no_request_fails_while_the_controller_is_killed(site: Site) -> None:
    """Replicas and front go on; the controller comes back and finds them."""
    kills = 5 if NIGHTLY else 1
    with load(site, kills * 8 + 2, callers=8) as found:
        for _ in range(kills):
            (victim,) = site.processes("ray::ServeController")
            victim.kill()
            await_true(
                lambda gone=victim.pid: (
                    [  # type: ignore[misc]
                        one.pid for one in site.processes("ray::ServeController") if one.pid != gone
                    ]
                    != []
                ),
                60,
            )

    assert found["failed"] == 0
    assert found["good"] > 100


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "victim", ["haproxy", pytest.param("ray::HAProxyManager", marks=pytest.mark.nightly)]
)
def test_after_a_kill_of_the_front_callers_are_answered_within_seconds(
    site: Site, victim: str
) -> None:
    """Of HAProxy as of the actor that keeps it: refused for a moment, never told that nobody is.

    Serve's own HAProxy is back at the end, which knows the replicas that come.
    """
    for _ in range(3 if NIGHTLY else 1):
        for one in _fronts() if victim == "haproxy" else site.processes(victim):
            one.kill()
        told: set[int] = set()
        took_s = await_true(lambda told=told: _seen(site, told) == 200, 60)  # type: ignore[misc]
        _log.info("answered again %.2f s after %s was killed", took_s, victim)
        assert took_s < 5
        with load(site, 12, callers=2) as found:
            await_true(lambda: _listed() >= 1, 60)
        _log.info("while Serve started the next one: %s", found)
        assert told <= {0, 200}
        assert found["failed"] <= 0.001 * found["good"]


def _fronts() -> list[psutil.Process]:
    """Return every HAProxy of this site."""
    folder = str(Path(os.environ["RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"]).parent)
    everybody = psutil.process_iter()
    return [one for one in everybody if "haproxy -db" in _called(one) and folder in _called(one)]


def _seen(site: Site, told: set[int]) -> int:
    status = _status(site)
    told.add(status)
    return status


def _listed() -> int:
    """Return how many replicas of predict HAProxy takes to be well; 0 where it is not Serve's."""
    folder = Path(os.environ["RAY_SERVE_HAPROXY_SOCKET_PATH"]).parent
    for path in folder.glob("*/admin.sock"):
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(path))
            client.sendall(b"show stat\n")
            told = b"".join(iter(lambda: client.recv(65_536), b"")).decode()
            lines = [one.split(",") for one in told.splitlines() if ",SERVE_REPLICA_" in one]
            return sum(one[0] == "http-predictor" and one[17] == "UP" for one in lines)
    return 0


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_predict_answers_on_while_the_database_is_away(site: Site) -> None:
    """The champion is in memory; what needs no stored reading needs no database. Nor MLflow."""
    away_s = 60
    with load(site, away_s + 4, callers=8) as found:
        site.supervisor.stop("postgres")
        sleep(away_s)
        served = site.version()
        _server(site.supervisor, site.folder)

    assert served in {1, 2}
    assert found["failed"] == 0
    wanted = 3 - served
    ours.promote(site.storage, wanted)
    await_true(lambda: site.version() == wanted, 60)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_load_up_and_down_through_two_replicas_and_back_fails_nobody(site: Site) -> None:
    """The second comes and goes while callers ask on."""
    with load(site, 40, callers=48) as rising:
        await_true(lambda: _listed() == 2, 40)
    with load(site, 130, callers=1) as falling:
        await_true(lambda: len(_replicas(site)) == 1, 130)

    _log.info("up: %s, down: %s", rising, falling)
    assert (rising["failed"], falling["failed"]) == (0, 0)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_replicas_that_are_killed_cost_nobody_an_answer_while_another_lives(site: Site) -> None:
    """Ten kill -9 of one of two replicas under load: the front asks the other."""
    good = failed = 0
    with load(site, 40, callers=48):
        await_true(lambda: _listed() == 2, 40)
    for _ in range(10):
        with load(site, 15, callers=48) as found:
            await_true(lambda: _listed() == 2, 60)
            victim = _replicas(site)[0]
            victim.kill()
        good, failed = good + int(found["good"]), failed + int(found["failed"])
        _log.info("%s failed of %s", failed, good + failed)

    assert failed <= 0.001 * good


def _replicas(site: Site) -> list[psutil.Process]:
    return site.processes("ray::ServeReplica:predictor")
