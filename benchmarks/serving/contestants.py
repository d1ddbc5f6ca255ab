"""Starts the servers that are measured, each in a process of its own, and stops them."""

import json
import os
import subprocess
import sys
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
    """

    url: str
    process: subprocess.Popen[str]
    body: Path | None = None

    def tell(self) -> None:
        """Send one line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write("next\n")
        self.process.stdin.flush()


@contextmanager
def _started(
    command: list[str], log: Path, extra: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    # Workers of Ray and of MLflow find this package where we found it.
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "PYTHONWARNINGS": "ignore"} | extra
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
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
        yield Contestant(url, process)


@contextmanager
def bare(folder: Path) -> Iterator[Contestant]:
    """Start FastAPI alone, one process of uvicorn."""
    port, log = quiet_ports(1)[0], folder / "bare.log"
    command = [*_module("bare"), str(folder / "1.model"), str(port)]
    with _started(command, log, {"ENDS_BY_SIGNAL": "1"}) as process:
        url = f"http://127.0.0.1:{port}/predict"
        _await_answer(url, model.body(1), log)
        yield Contestant(url, process)


@contextmanager
def default_proxy(folder: Path) -> Iterator[Contestant]:
    """Start two FastAPI deployments under Serve's default proxy."""
    home, port, log = folder / "naive", quiet_ports(1)[0], folder / "naive.log"
    home.mkdir()
    command = [*_module("naive"), str(folder / "1.model"), str(port), str(home)]
    with _started(command, log, {"MILLWRIGHT_HOME": str(home)}) as process:
        _first_line(process, log)
        url = f"http://127.0.0.1:{port}/predict"
        _await_answer(url, model.body(1), log)
        yield Contestant(url, process)


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
    with _started(command, log, {"ENDS_BY_SIGNAL": "1"}) as process:
        url = f"http://127.0.0.1:{port}/invocations"
        _await_answer(url, (folder / "mlflow.json").read_bytes(), log)
        yield Contestant(url, process, folder / "mlflow.json")
