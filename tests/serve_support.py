"""The Serve applications over one real database, by prefix, as behind Serve's proxy."""

import asyncio
import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import uvicorn

from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from observability.metric import NoMetrics
from ray_app.champions import Champions
from ray_app.console.app import build as build_console
from ray_app.registry import PostgresRegistry
from ray_app.serve.api import build as build_api
from ray_app.serve.asgi import App, Receive, Scope, Send
from ray_app.serve.context import ServeContext
from ray_app.serve.guard import Guard, Policy
from ray_app.serve.inference import InferenceApp
from ray_app.serve.predictor import PredictApp
from storage import api_keys, copy_format, models, partitions, roster_store
from storage.connect import session
from storage.pool import Pool
from storage.settings import StorageSettings

START_US = round(datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1e6)
SENSORS = ("vibration", "current", "flow", "temperature")
ROWS = 1200
LEVELS = (0.2, 2.4, 125.0, 89.5)


def readings(rows: int, seed: int, first: int = 0, machine: str = "pump-1") -> History:
    """Return healthy readings at 2 Hz, beginning `first` readings after the start."""
    rng = np.random.default_rng(seed)
    at = START_US + (first + np.arange(rows, dtype=np.int64)) * 500_000
    values = rng.normal(LEVELS, (0.01, 0.1, 1.5, 0.4), (rows, 4))
    return History(machine=machine, instants_us=at, values=values)


def package(seed: int = 1) -> bytes:
    """Return a trained model of pumps."""
    spec = PipelineSpec(detector="pca", window_s=10.0, regimes=1)
    histories = [readings(ROWS, one, machine=f"pump-{one}") for one in (1, 2)]
    return Pipeline.fit(spec, histories, _pump(), seed=seed).to_package()


def fill(database: StorageSettings) -> dict[str, str]:
    """Register two pumps with stored readings; return an API key of each role."""
    with session(database) as on:
        roster_store.register_class(on, _pump())
        made = roster_store.register_machines(on, ["pump-1", "pump-2"], "pump")
        for seed, name in enumerate(("pump-1", "pump-2"), 1):
            history = readings(ROWS, seed, machine=name)
            partitions.ensure(on, partitions.days_of(history.instants_us))
            batch = ReadingBatch(
                machine_class=_pump(),
                machine_keys=np.full(ROWS, made[name].key, dtype=np.int32),
                instants_us=history.instants_us,
                values=history.values,
            )
            with on.cursor() as cursor:
                cursor.copy_expert(
                    "COPY readings (machine_key, instant, values) FROM STDIN BINARY",
                    BytesIO(copy_format.encode([batch])),
                )
        return {role: api_keys.create(on, role, role) for role in api_keys.ROLES}


def promote(database: StorageSettings, version: int, blob: bytes) -> None:
    """Store a version and make it the champion."""
    with session(database) as on:
        models.add_version(
            on,
            models.StoredModel(
                machine_class="pump",
                version=version,
                run_id="run",
                sha256=hashlib.sha256(blob).hexdigest(),
                package=blob,
                metrics={"objective": 0.9},
            ),
            actor="ada",
            reason="trained",
        )
        models.promote(on, "pump", version, actor="ada", reason="best so far")


class Site:
    """The applications behind one door.

    Args:
        database: What they stand on.
        required: Whether also reading needs a key.
    """

    def __init__(self, database: StorageSettings, *, required: bool = False) -> None:
        self.pool = Pool(lambda: database)
        registry = PostgresRegistry(self.pool, "predictor")
        self.champions = Champions(registry, NoMetrics(), "predictor")
        guard = Guard(Policy(reads=required), registry)
        context = ServeContext(
            flags={},
            pool=self.pool,
            registry=registry,
            champions=self.champions,
            guard=guard,
        )
        scorer = context.scorer()
        self.apps: tuple[tuple[str, App], ...] = (
            ("/api/v1/predict", PredictApp(scorer, self.champions, guard, NoMetrics())),
            ("/v2", InferenceApp(scorer, self.champions, guard, NoMetrics())),
            ("/api", build_api(context)),
            ("", build_console(context)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a request to the application with the longest prefix, as Serve's proxy does."""
        path = scope.get("path", "")
        for prefix, app in self.apps:
            if not prefix or path == prefix or path.startswith(f"{prefix}/"):
                await app({**scope, "root_path": prefix}, receive, send)
                return

    def ask(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        """Ask, without a network in between."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())


def bearer(key: str, **more: str) -> dict[str, str]:
    """Return the headers that present a key."""
    return {"authorization": f"Bearer {key}", **more}


@contextmanager
def listening(site: App) -> Iterator[str]:
    """Serve on a free port of loopback in a thread; yield the URL."""
    config = uvicorn.Config(
        site,
        port=0,
        lifespan="off",
        log_level="error",
        ws="none",
        # A client on a busy machine may pause between two requests of a connection.
        timeout_keep_alive=120,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="site")
    thread.start()
    try:
        ready = threading.Event()
        while not server.started:
            assert thread.is_alive()
            ready.wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def schemathesis(url: str, key: str, *options: str) -> None:
    """Ask every operation of a site right and wrong; fail with each answer that is not described.

    Args:
        url: Of the site.
        key: An API key of an owner.
        *options: Of the command line.
    """
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {key}"),
        # A body of the right shape may still name a sensor that no machine has: that is 422.
        *("--exclude-checks", "positive_data_acceptance", "--no-color", "--warnings", "off"),
        *("--suppress-health-check", "all", "--request-timeout", "60", "--continue-on-failure"),
        *options,
    ]
    # In a folder that goes: what it keeps of a run that failed would be asked first in the next.
    with TemporaryDirectory(prefix="mw-asked-") as folder:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=540, check=False
        )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2000:]


def _pump() -> MachineClass:
    sensors = tuple(Sensor(name=name, unit="g") for name in SENSORS)
    return MachineClass(name="pump", sensors=sensors, period_s=0.5)
