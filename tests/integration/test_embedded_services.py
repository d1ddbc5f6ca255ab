"""The embedded services as a user meets them: started, stopped, started again."""

import fcntl
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from domain.errors import ServiceUnavailableError
from ray_app.embedded import kafka, kafka_jars, mlflow, postgres
from ray_app.embedded.ports import free_port
from ray_app.embedded.supervisor import Child, Supervisor
from tests.ingest_support import until


def _query(server: postgres.Server, statement: str) -> list[tuple[object, ...]]:
    address = make_dsn(**server.settings("someone", "", "data").libpq())
    with psycopg2.connect(address) as link, link.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def test_a_database_is_found_again_after_a_stop(run_home: Path) -> None:
    """What was stored by the first start is there in the second."""
    folder = run_home / "twice"

    with Supervisor() as first:
        server = postgres.start(first, folder)
        server.ensure("someone", "data")
        _query(server, "CREATE TABLE kept AS SELECT 7 AS n")
    with Supervisor() as second:
        server = postgres.start(second, folder)
        server.ensure("someone", "data")
        assert _query(server, "SELECT n FROM kept") == [(7,)]


def test_a_database_recovers_from_a_crash_with_a_stale_lock(run_home: Path) -> None:
    """A lock file that names a living process of another kind does not stop the start."""
    folder = run_home / "crash"
    with Supervisor() as first:
        server = postgres.start(first, folder)
        server.ensure("someone", "data")
        _query(server, "CREATE TABLE kept AS SELECT 7 AS n")
        lock = folder / "data" / "postmaster.pid"
        lines = lock.read_text().splitlines()
        psutil.Process(int(lines[0])).kill()

    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    with Supervisor() as second:
        assert _query(postgres.start(second, folder), "SELECT n FROM kept") == [(7,)]


def test_the_broker_answers_and_keeps_its_port(run_home: Path) -> None:
    """A client that was configured by hand finds the broker again after a restart."""
    with Supervisor() as first:
        address = kafka.start(first, run_home / "kafka-twice")
    with Supervisor() as second:
        assert kafka.start(second, run_home / "kafka-twice") == address


def test_a_service_that_dies_tells_its_last_words(run_home: Path) -> None:
    """The error names the service, how it ended and what it said."""
    with Supervisor() as supervisor:
        supervisor.start(
            Child(
                name="broken",
                argv=("sh", "-c", "echo no room left; exit 3"),
                log=run_home / "broken.out",
                cwd=run_home,
            )
        )
        with pytest.raises(ServiceUnavailableError, match=r"code 3.*no room left"):
            supervisor.wait_ready("broken", lambda: False, within_s=30)


def test_a_missing_program_is_one_clear_error(run_home: Path) -> None:
    """Nothing is left behind when a program cannot be started."""
    with Supervisor() as supervisor, pytest.raises(ServiceUnavailableError, match="absent"):
        supervisor.start(
            Child(name="absent", argv=("/absent",), log=run_home / "absent.out", cwd=run_home)
        )


def test_children_stop_in_reverse_order(run_home: Path) -> None:
    """Who was started last, and may need the others, ends first."""
    told = run_home / "order"
    script = f'trap "echo $0 >> {told}; exit 0" TERM; while :; do sleep 0.05; done'
    with Supervisor() as supervisor:
        for name in ("first", "second", "third"):
            ready = run_home / f"{name}.ready"
            supervisor.start(
                Child(
                    name=name,
                    argv=("sh", "-c", f"touch {ready}; {script}", name),
                    log=run_home / f"{name}.out",
                    cwd=run_home,
                )
            )
            supervisor.wait_ready(name, ready.is_file, within_s=30)

    assert told.read_text().split() == ["third", "second", "first"]


def test_a_child_that_ignores_its_signal_is_killed_with_its_group(run_home: Path) -> None:
    """A grandchild does not survive either."""
    with Supervisor() as supervisor:
        written = run_home / "stubborn.pid"
        tell = f"echo $! > {written}.part; mv {written}.part {written}"
        script = f'trap "" TERM; sleep 1000 & {tell}; wait'
        pid = supervisor.start(
            Child(
                name="stubborn",
                argv=("sh", "-c", script),
                log=run_home / "stubborn.out",
                cwd=run_home,
                stop_signal=signal.SIGTERM,
                grace_s=0.2,
            )
        )
        supervisor.wait_ready("stubborn", written.is_file, within_s=30)
        processes = [psutil.Process(pid), psutil.Process(int(written.read_text()))]

    _gone, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


def test_a_jar_that_is_not_the_pinned_one_is_fetched_anew(
    run_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that was changed is not trusted; without a network that is one clear error."""
    cache = run_home / "cache"
    (cache / "jars").mkdir(parents=True)
    for jar in Path(kafka_jars.class_path().split(":")[0]).parent.glob("*.jar"):
        (cache / "jars" / jar.name).symlink_to(jar)
    spoiled = cache / "jars" / "slf4j-api-1.7.36.jar"
    spoiled.unlink()
    spoiled.write_bytes(b"not a jar")
    # A proxy that nobody serves stands for a missing network.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    with pytest.raises(ServiceUnavailableError) as caught:
        kafka_jars.class_path(cache)

    assert "slf4j-api-1.7.36.jar could not be fetched" in str(caught.value)
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(caught.value)


def test_who_starts_while_another_fetches_waits_and_fetches_nothing(
    run_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first starts at once took each other's files away."""
    cache = run_home / "shared-cache"
    (cache / "jars").mkdir(parents=True)
    jars = [Path(one) for one in kafka_jars.class_path().split(":")]
    for jar in jars[1:]:
        (cache / "jars" / jar.name).symlink_to(jar)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    with ThreadPoolExecutor(1) as pool:
        with (cache / "jars" / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            inode = f":{os.fstat(lock.fileno()).st_ino} "
            second = pool.submit(kafka_jars.class_path, cache)
            until(lambda: _is_waited_for(inode))
            (cache / "jars" / jars[0].name).symlink_to(jars[0])
        assert second.result().split(":") == [str(cache / "jars" / jar.name) for jar in jars]


def _is_waited_for(inode: str) -> bool:
    """Return whether somebody waits for a lock on a file, as Linux lists it."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and inode in line for line in lines)


def test_the_tracking_server_keeps_runs_and_refuses_strange_hosts(run_home: Path) -> None:
    """MLflow answers on loopback alone: a page elsewhere cannot reach it through a browser."""
    with Supervisor() as supervisor:
        server = postgres.start(supervisor, run_home / "tracked")
        server.ensure("someone", mlflow.DATABASE)
        storage = server.settings("someone", "", "data")
        uri = mlflow.begin(supervisor, run_home / "mlflow", storage, port=free_port())
        mlflow.wait(supervisor, uri)

        made = httpx.post(f"{uri}/api/2.0/mlflow/experiments/create", json={"name": "one"})
        number = made.json()["experiment_id"]
        kept = httpx.get(f"{uri}/api/2.0/mlflow/experiments/get?experiment_id={number}")
        strange = httpx.get(
            f"{uri}/api/2.0/mlflow/experiments/get?experiment_id={number}",
            headers={"Host": "elsewhere.example"},
        )
        artifact = f"{uri}/api/2.0/mlflow-artifacts/artifacts/note.txt"
        httpx.put(artifact, content=b"hello").raise_for_status()

    assert kept.json()["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
    assert strange.status_code == 403
    assert (run_home / "mlflow" / "artifacts" / "note.txt").read_bytes() == b"hello"
