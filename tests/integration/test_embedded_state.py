"""How other commands find the platform of a home, and how two do not meet there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from domain.errors import ConflictError, ServiceUnavailableError
from ray_app.cli import context
from ray_app.embedded import state
from ray_app.settings import Settings
from storage.settings import StorageSettings

_HOLD = """
import sys, time
from pathlib import Path
from ray_app.embedded import state
from ray_app.embedded.supervisor import Child, Supervisor
home = Path(sys.argv[1])
with state.lock(home) as held, Supervisor(keep_open=(held,)) as supervisor:
    supervisor.start(Child(
        name="slow",
        # Ends one second after it is asked to.
        argv=("sh", "-c", f"trap 'sleep 1; touch {home}/ended; exit 0' TERM; "
              f"touch {home}/up; while :; do sleep 0.05; done"),
        log=home / "slow.out", cwd=home,
    ))
    supervisor.wait_ready("slow", (home / "up").is_file, within_s=30)
    print("held", flush=True)
    time.sleep(600)
"""


def _settings(home: Path) -> Settings:
    return Settings.load({"millwright_home": home}, cwd=home)


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away addresses that the shell of the tester has set."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_HOST", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def test_other_commands_find_the_running_platform(tmp_path: Path) -> None:
    """Addresses come from the file; what is configured stays; nobody else may read it."""
    storage = StorageSettings(host="/somewhere", options=(("sslmode", "disable"),))
    postgres = {
        "host": storage.host,
        "port": storage.port,
        "user": storage.user,
        "password": storage.password,
        "database": storage.database,
        "options": storage.options,
    }
    running = state.Running(pid=os.getpid(), kafka="127.0.0.1:1", postgres=postgres)
    state.write(tmp_path, running)

    found = state.attach(_settings(tmp_path))

    assert found.kafka is not None
    assert found.kafka.bootstrap_servers == "127.0.0.1:1"
    assert found.storage == storage
    assert found.tracking_uri is None
    assert (tmp_path / "services.json").stat().st_mode & 0o077 == 0


def test_the_file_of_a_dead_platform_is_not_believed(tmp_path: Path) -> None:
    """After a crash its addresses lead nowhere."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    state.write(tmp_path, state.Running(pid=ended.pid, kafka="127.0.0.1:1"))

    assert state.read(tmp_path) is None
    assert state.attach(_settings(tmp_path)).kafka is None


def test_who_asks_beside_the_demonstration_is_told_its_home(tmp_path: Path) -> None:
    """It has a home of its own: what is typed beside it must not say that nothing runs."""
    with pytest.raises(ServiceUnavailableError, match="millwright up") as nothing:
        context.required_storage(_settings(tmp_path))
    demonstration = tmp_path / state.DEMONSTRATION
    demonstration.mkdir()
    state.write(demonstration, state.Running(pid=os.getpid(), kafka="127.0.0.1:1"))

    with pytest.raises(ServiceUnavailableError) as told:
        context.required_storage(_settings(tmp_path))

    assert "demonstration" not in str(nothing.value)
    assert f"MILLWRIGHT_HOME={demonstration}" in str(told.value)
    assert state.attach(_settings(demonstration)).kafka is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"unknown": 1}'])
def test_a_spoiled_file_is_no_platform(tmp_path: Path, text: str) -> None:
    """A disk that was full must not keep every command from working."""
    (tmp_path / "services.json").write_text(text)

    assert state.read(tmp_path) is None


def test_a_second_platform_waits_for_the_services_of_a_killed_one(tmp_path: Path) -> None:
    """While the first lives it is a conflict; after kill -9 its children end before we begin."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(ConflictError, match=str(first.pid)), state.lock(tmp_path):
            pass

        first.send_signal(signal.SIGKILL)
        first.wait()
        assert not (tmp_path / "ended").exists()
        with state.lock(tmp_path):
            assert (tmp_path / "ended").exists()
