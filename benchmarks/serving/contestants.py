"""Starts the servers that are measured, each in a process of its own, and stops them."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from benchmarks.serving import model
from ray_app.front import quiet_ports

_WITHIN_S = 240.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that answers.

    Attributes:
        url: Where predictions are asked for.
        process: What serves; its input is a pipe.
        body: A request in its own form; ours when None.
        said: What it says after its first line.
    """

    url: str
    process: subprocess.Popen[str]
    body: Path | None = None

    said: "Lines | None" = None

    def tell(self, line: str) -> None:
        """Send one line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def heard(self, line: str) -> bool:
        """Return whether it has said a line."""
        return self.said is not None and self.said.heard(line)

    def await_line(self, line: str, within_s: float = _WITHIN_S) -> None:
        """Await a line.

        Raises:
            TimeoutError: It was not said in time.
        """
        if self.said is None or not self.said.wait(line, within_s):
            raise TimeoutError(f"{line!r} was not said within {within_s:.0f} s")


class Lines:
    """What a process says, read beside everything else.

    Args:
        out: Its output, which is read to its end.
    """

    def __init__(self, out: IO[str]) -> None:
        self._lines: list[str] = []
        self._more = threading.Condition()
        threading.Thread(target=self._read, args=(out,), daemon=True).start()

    def heard(self, line: str) -> bool:
        """Return whether a line was said."""
        with self._more:
            return line in self._lines

    def wait(self, line: str, within_s: float) -> bool:
        """Await a line; return whether it came in time."""
        with self._more:
            return self._more.wait_for(lambda: line in self._lines, within_s)

    def _read(self, out: IO[str]) -> None:
        for line in out:
            with self._more:
                self._lines.append(line.strip())
                self._more.notify_all()


@contextmanager
def _started(
    command: list[str], log: Path, extra: dict[str, str], *, speaks: bool = True
) -> Iterator[subprocess.Popen[str]]:
    """Start a process.

    Args:
        command: What to start.
        log: Where its errors go.
        extra: Variables of its environment.
        speaks: Whether its output is read. A pipe that nobody reads is full after some hundred
            lines, and then it stands still: else its output goes to the log as well.
    """
    # Workers of Ray and of MLflow find this package where we found it.
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "PYTHONWARNINGS": "ignore"} | extra
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if speaks else errors,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(60 if not extra.get("ENDS_BY_SIGNAL") else 0.1)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(60)


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    out: IO[str] | None = process.stdout
    assert out is not None
    line = out.readline().strip()
    if not line:
        raise SystemExit(log.read_text()[-3000:])
    return line


def _await_answer(url: str, body: bytes, log: Path) -> None:
    deadline = time.monotonic() + _WITHIN_S
    asked = urllib.request.Request(url, body, {"content-type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=30):
                return
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{url} answered {error.code}: {error.read()[:1000]!r}") from error
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(log.read_text()[-3000:]) from None
            time.sleep(0.3)


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.serving.{name}"]


@contextmanager
def ours(folder: Path) -> Iterator[Contestant]:
    """Start Millwright as it is deployed."""
    home, log = folder / "ours", folder / "ours.log"
    home.mkdir()
    with _started([*_module("ours"), str(folder), str(home)], log, {}) as process:
        url = f"{_first_line(process, log)}/api/v1/predict"
        assert process.stdout is not None
        yield Contestant(url, process, said=Lines(process.stdout))


@contextmanager
def bare(folder: Path) -> Iterator[Contestant]:
    """Start FastAPI alone, one process of uvicorn."""
    port, log = quiet_ports(1)[0], folder / "bare.log"
    command = [*_module("bare"), str(folder / "1.model"), str(port)]
    with _started(command, log, {"ENDS_BY_SIGNAL": "1"}, speaks=False) as process:
        url = f"http://127.0.0.1:{port}/predict"
        _await_answer(url, model.body(1), log)
        yield Contestant(url, process)


@contextmanager
def default_proxy(folder: Path) -> Iterator[Contestant]:
    """Start two FastAPI deployments under Serve's default proxy."""
    port, log = quiet_ports(1)[0], folder / "naive.log"
    command = [*_module("naive"), str(folder / "1.model"), str(port)]
    # It takes part with the priority that ours has.
    with _started(
        command, log, {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    ) as process:
        _first_line(process, log)
        url = f"http://127.0.0.1:{port}/predict"
        _await_answer(url, model.body(1), log)
        assert process.stdout is not None
        yield Contestant(url, process, said=Lines(process.stdout))


@contextmanager
def mlflow_serve(folder: Path) -> Iterator[Contestant]:
    """Start `mlflow models serve` of the same model, and write its request beside the others."""
    port, log, stored = quiet_ports(1)[0], folder / "mlflow.log", folder / "pyfunc"
    subprocess.run(
        [*_module("pyfunc"), str(folder / "1.model"), str(stored)],
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
    )
    asked = msgspec.json.decode(model.body(1))
    record = {"timestamp": asked["timestamp"], **asked["values"]}
    (folder / "mlflow.json").write_text(json.dumps({"dataframe_records": [record]}))
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(stored)]
    command += ["--env-manager", "local", "--port", str(port)]
    # As ours it writes no line per request; uvicorn takes its options from there as well.
    quiet = {"ENDS_BY_SIGNAL": "1", "UVICORN_ACCESS_LOG": "0"}
    with _started(command, log, quiet, speaks=False) as process:
        url = f"http://127.0.0.1:{port}/invocations"
        _await_answer(url, (folder / "mlflow.json").read_bytes(), log)
        yield Contestant(url, process, folder / "mlflow.json")
