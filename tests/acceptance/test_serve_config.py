"""`serve_config.yaml` on a real Ray cluster: the three applications, a promotion, a browser."""

import asyncio
import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPMessage as Message
from http.client import parse_headers
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.wire import format_instant
from ray_app import cluster, front, serving
from ray_app.cli.main import run
from ray_app.embedded.postgres import Server
from storage import api_keys, copy_format, models, partitions, roster_store, verdicts
from storage.connect import rows, session
from storage.history import read_history
from storage.settings import StorageSettings
from tests import risk_support
from tests.environments import CLONE
from tests.serve_support import schemathesis

SENSORS = ("vibration", "current", "flow", "temperature")
ROWS = 1200
_USER = "sensor_user"


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def database(postgres: Server, migrated_template: str) -> Iterator[StorageSettings]:
    """Return one migrated database for the whole module."""
    postgres.sql(
        CLONE,
        name="served",
        template=migrated_template,
        role=_USER,
    )
    yield postgres.settings(_USER, "", "served")
    postgres.sql("DROP DATABASE IF EXISTS :name WITH (FORCE)", name="served")


@pytest.fixture(scope="module")
def site(database: StorageSettings, run_home: Path) -> Iterator[str]:
    """Return the URL of the deployed applications, over a database without anything in it."""
    before = dict(os.environ)
    os.environ |= {
        "MILLWRIGHT_HOME": str(run_home / "serve"),
        "POSTGRES_HOST": database.host,
        "POSTGRES_PORT": str(database.port),
        "POSTGRES_USER": database.user,
        "POSTGRES_DB": database.database,
    }
    try:
        # As `millwright up` does: HAProxy in front.
        with (
            front.prepared() as fast,
            cluster.local(run_home / "serve", dashboard_port=free_port(), cpus=2) as ray,
        ):
            assert fast
            url = serving.deploy(ray.dashboard, host="127.0.0.1", port=free_port())
            serving.wait(ray.dashboard, url)
            yield url
    finally:
        os.environ.clear()
        os.environ.update(before)


def history(machine: str, seed: int) -> History:
    """Return ten minutes of readings that end now; the last of pump-2 are wrong."""
    rng = np.random.default_rng(seed)
    now_us = round(datetime.now(UTC).timestamp() * 1e6)
    at = now_us - np.arange(ROWS, dtype=np.int64)[::-1] * 500_000
    values = rng.normal((0.2, 2.4, 125.0, 89.5), (0.01, 0.1, 1.5, 0.4), (ROWS, 4))
    return History(machine=machine, instants_us=at, values=values)


def _package(histories: list[History], seed: int) -> bytes:
    machine_class = MachineClass(
        name="pump", sensors=tuple(Sensor(name=name) for name in SENSORS), period_s=0.5
    )
    spec = PipelineSpec(detector="pca", window_s=10.0, regimes=1)
    return Pipeline.fit(spec, histories, machine_class, seed=seed).to_package()


@pytest.fixture(scope="module")
def packages(site: str, database: StorageSettings) -> list[bytes]:
    """Store two pumps and return two models of them; nothing is promoted."""
    assert site
    machine_class = MachineClass(
        name="pump",
        sensors=tuple(
            Sensor(name=name, unit=unit)
            for name, unit in zip(SENSORS, ("g", "A", "l/min", "Cel"), strict=True)
        ),
        period_s=0.5,
    )
    histories = [history("pump-1", 1), history("pump-2", 2)]
    made = [_package(histories, seed) for seed in (1, 2)]
    histories[1].values[-120:, 0] += np.linspace(0, 0.2, 120)
    with session(database) as on:
        roster_store.register_class(on, machine_class)
        machines = roster_store.register_machines(on, ["pump-1", "pump-2"], "pump")
        for one in histories:
            partitions.ensure(on, partitions.days_of(one.instants_us))
            batch = ReadingBatch(
                machine_class=machine_class,
                machine_keys=np.full(ROWS, machines[one.machine].key, dtype=np.int32),
                instants_us=one.instants_us,
                values=one.values,
            )
            with on.cursor() as cursor:
                cursor.copy_expert(
                    "COPY readings (machine_key, instant, values) FROM STDIN BINARY",
                    BytesIO(copy_format.encode([batch])),
                )
        _tell(on, {name: machine.key for name, machine in machines.items()}, histories[1])
    return made


def _tell(on: Any, keys: dict[str, int], ill: History) -> None:
    end_us = int(ill.instants_us[-1])
    verdicts.open_incident(
        on,
        verdicts.Incident(
            machine_key=keys["pump-2"],
            kind="machine",
            began_us=end_us - 50_000_000,
            opened_us=end_us - 45_000_000,
            last_seen_us=end_us,
            peak_score=3.4,
            anomalies=80,
            root_sensor="vibration",
            evidence=(
                verdicts.Contribution(sensor="vibration", share=0.9, expected=0.2, observed=0.39),
            ),
            model_version=1,
        ),
    )
    verdicts.write_states(
        on,
        [
            verdicts.State(
                machine_key=key,
                instant_us=end_us,
                score=score,
                model_version=1,
                quality={"ready": True, "faults": []},
            )
            for key, score in ((keys["pump-1"], 0.31), (keys["pump-2"], 3.4))
        ],
    )
    for worker, stage, lag in (("p", "produce", None), ("c", "consume", 3), ("s", "score", 0)):
        rows(
            on,
            "INSERT INTO pipeline_rates (worker, stage, per_second, total, lag, updated_at)"
            " VALUES (%s, %s, 4, 2400, %s, now() + interval '1 hour')",
            (worker, stage, lag),
        )


def promote(database: StorageSettings, version: int, package: bytes) -> None:
    """Store a version and make it the champion."""
    with session(database) as on:
        models.add_version(
            on,
            models.StoredModel(
                machine_class="pump",
                version=version,
                run_id="run",
                sha256=hashlib.sha256(package).hexdigest(),
                package=package,
                metrics={"objective": 0.91, "detection": 0.95, "false_alarm_rate": 0.012},
                params={"detector": "pca", "window_s": 10.0},
            ),
            actor="test",
            reason="trained",
        )
        models.promote(on, "pump", version, actor="test", reason="it is the first of its class")


def reading() -> dict[str, Any]:
    """Return the short form of one healthy reading of pump-1, a second from now."""
    at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 1, UTC).isoformat()
    values = dict(zip(SENSORS, (0.2, 2.4, 125.0, 89.5), strict=True))
    return {"machine_id": "pump-1", "timestamp": at, "values": values}


def await_status(url: str, wanted: int, within_s: float = 15.0) -> httpx.Response:
    """Return the first answer of predict with this status."""
    deadline = monotonic() + within_s
    while True:
        answer = httpx.post(f"{url}/api/v1/predict", json=reading(), timeout=10)
        if answer.status_code == wanted:
            return answer
        assert monotonic() < deadline, answer.text


def test_predict_says_what_to_run_before_there_is_a_champion(
    site: str, packages: list[bytes]
) -> None:
    """503 over the real front door, as a problem."""
    assert packages
    answer = await_status(site, 503)

    assert answer.headers["content-type"] == "application/problem+json"
    assert "millwright sweep run" in answer.json()["detail"]


def test_the_first_promotion_is_served_within_seconds(
    site: str, database: StorageSettings, packages: list[bytes]
) -> None:
    """Nothing is restarted or deployed for it."""
    promote(database, 1, packages[0])
    told = await_status(site, 200).json()

    assert told["model"] == {"name": "pump", "version": 1}
    assert told["data_quality"]["context_rows"] > 0


def test_no_request_fails_while_champions_are_swapped(
    site: str, database: StorageSettings, packages: list[bytes]
) -> None:
    """Three clients ask without a pause while a new version and a rollback take over."""
    statuses: list[int] = []
    versions: set[int] = set()
    done = threading.Event()

    def hammer() -> None:
        with httpx.Client(timeout=20) as client:
            while not done.is_set():
                answer = client.post(f"{site}/api/v1/predict", json=reading())
                statuses.append(answer.status_code)
                if answer.status_code == 200:
                    versions.add(answer.json()["model"]["version"])

    def await_version(wanted: int) -> None:
        deadline = monotonic() + 15
        while await_status(site, 200).json()["model"]["version"] != wanted:
            assert monotonic() < deadline

    clients = [threading.Thread(target=hammer) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        promote(database, 2, packages[1])
        await_version(2)
        with session(database) as on:
            models.rollback(on, "pump", actor="test", reason="to see")
        await_version(1)
    finally:
        done.set()
        for client in clients:
            client.join()

    assert set(statuses) == {200}
    assert versions == {1, 2}


def replicas() -> list[psutil.Process]:
    """Return the processes that answer predict."""
    family = psutil.Process().children(recursive=True)
    return [
        one for one in family if "".join(one.cmdline()).startswith("ray::ServeReplica:predictor")
    ]


def test_past_the_bounds_callers_are_told_when_to_come_again(site: str) -> None:
    """More at once than two replicas take: the rest is refused with a time, and none is lost.

    Each caller holds the last byte back until somebody was refused, so that all are under way at
    once, however fast the machine is. Their bodies are larger than what HAProxy awaits by itself.
    """
    answers = asyncio.run(_ask_at_once(httpx.URL(site), 700))
    refused = [head for status, head in answers if status != 200]

    assert len(answers) == 700
    assert {status for status, _ in answers} == {200, 503}
    assert all(int(head["retry-after"]) >= 1 for head in refused)
    assert {head["content-type"] for head in refused} == {"application/problem+json"}


async def _ask_at_once(site: httpx.URL, callers: int) -> list[tuple[int, Message]]:
    body = json.dumps(reading()).encode() + b" " * 30_000
    request = (
        f"POST /api/v1/predict HTTP/1.1\r\nhost: {site.netloc.decode()}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    somebody_was_refused = asyncio.Event()

    async def ask() -> tuple[int, Message]:
        reader, writer = await asyncio.open_connection(site.host, site.port)
        try:
            writer.write(request[:-1])
            await writer.drain()
            told = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
            more = asyncio.create_task(somebody_was_refused.wait())
            await asyncio.wait({told, more}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                somebody_was_refused.set()
            else:
                writer.write(request[-1:])
            line, _, rest = (await told).partition(b"\r\n")
            return int(line.split()[1]), parse_headers(BytesIO(rest))
        finally:
            writer.close()

    async with asyncio.timeout(120):
        return list(await asyncio.gather(*(ask() for _ in range(callers))))


@pytest.mark.timeout(600)
def test_who_comes_again_is_answered_though_replicas_are_killed(site: str) -> None:
    """After kill -9 of the only replica refusals carry Retry-After, and the next one answers."""
    kills = 10 if os.environ.get("MILLWRIGHT_TEST_PROFILE") == "nightly" else 1
    for _ in range(kills):
        victims = replicas()
        assert victims
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, timeout=10)
        deadline = monotonic() + 90
        while True:
            answer = httpx.post(f"{site}/api/v1/predict", json=reading(), timeout=40)
            if answer.status_code == 200:
                break
            assert monotonic() < deadline, answer.text
            assert answer.status_code in {502, 503, 504}, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1


def test_of_the_front_only_its_port_is_open_and_only_on_loopback(site: str) -> None:
    """HAProxy's metrics and statistics would bind every interface."""
    assert site
    listens: list[str] = []
    for one in psutil.Process().children(recursive=True):
        # One that was reloaded before may end under our eyes.
        with suppress(psutil.NoSuchProcess):
            links = one.net_connections("tcp") if one.name() == "haproxy" else []
            listens += [link.laddr.ip for link in links if link.status == psutil.CONN_LISTEN]

    assert len(listens) >= 3
    assert set(listens) == {"127.0.0.1"}


def test_routes_reach_the_application_they_belong_to(site: str) -> None:
    """Prediction, API, console and health share one port."""
    assert httpx.get(f"{site}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{site}/readyz").json()["status"] == "ready"
    assert httpx.get(f"{site}/api/v1/machines").json()["items"][0]["id"] == "pump-1"
    assert httpx.get(f"{site}/v2/health/live").json() == {"live": True}
    assert httpx.get(f"{site}/v2/models/pump/ready").json()["name"] == "pump"
    assert httpx.get(f"{site}/v2/models/nothing").json().keys() == {"error"}
    paths = httpx.get(f"{site}/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/predict", "/api/v1/machines"} <= paths.keys()
    missing = httpx.get(f"{site}/api/v1/nothing")
    assert (missing.status_code, missing.json()["status"]) == (404, 404)
    wrong = httpx.get(f"{site}/api/v1/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert httpx.get(f"{site}/static/console.css").headers["content-type"].startswith("text/css")


def test_a_body_of_ten_megabytes_is_refused(site: str) -> None:
    """The limit holds behind the real proxy."""
    answer = httpx.post(
        f"{site}/api/v1/predict",
        content=b" " * 10_000_000,
        headers={"content-type": "application/json"},
        timeout=30,
    )

    assert answer.status_code == 413
    assert answer.json()["title"] == "Body too large"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a real Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium)
        yield opened
        opened.close()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_the_console_shows_the_fleet_and_stays_live(
    site: str, database: StorageSettings, browser: Any, width: int, scheme: str, tmp_path: Path
) -> None:
    """On a desk and on a phone: no sideways scrolling, no error, and news without a reload."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(site)
    row = page.locator("tr", has_text="pump-2")
    assert "anomalous" in row.inner_text()
    assert "vibration" in row.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown = f"news-{width}"
    with session(database) as on:
        roster_store.register_machines(on, [shown], "pump")
    page.get_by_text(shown).wait_for(timeout=10_000)
    page.screenshot(path=_picture(tmp_path, f"fleet-{width}-{scheme}"), full_page=True)
    page.locator("tbody").get_by_role("link", name="pump-2").click()
    page.get_by_role("heading", name="Timeline").wait_for()
    assert page.locator("figure svg").count() == 5
    assert page.locator("rect.shade").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=_picture(tmp_path, f"machine-{width}-{scheme}"), full_page=True)
    page.close()
    assert errors == []


@pytest.mark.browser
def test_the_console_says_when_it_is_not_live_any_more(site: str, browser: Any) -> None:
    """Old numbers are never shown as if they were new."""
    page = browser.new_page()
    page.goto(site)
    page.route("**/parts/**", lambda route: route.abort())
    page.get_by_text("not updated since").wait_for(timeout=10_000)
    page.unroute("**/parts/**")
    page.get_by_text("live", exact=True).wait_for(timeout=10_000)
    page.close()


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing_behind_the_real_front(
    site: str, database: StorageSettings
) -> None:
    """HAProxy and Serve answer for themselves as well: their refusals must be described ones.

    The last of this file, for it closes incidents.
    """
    with session(database) as on:
        key = api_keys.create(on, "schemathesis", "owner")

    schemathesis(site, key, "--max-examples", "5", "--seed", "11")


def _picture(folder: Path, name: str) -> str:
    """Return where a picture goes: kept when MILLWRIGHT_PICTURES names a folder."""
    return str(Path(os.environ.get("MILLWRIGHT_PICTURES", str(folder))) / f"{name}.png")


def test_failures_that_an_operator_reports_become_a_risk(
    site: str, database: StorageSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A simulated fleet wears and fails; its labels come over HTTP, its risk goes back that way."""
    labels = risk_support.simulated(database)
    with session(database) as on:
        key = api_keys.create(on, "plant", "operator")
    for one in labels:
        body = {
            "machine_id": one.machine,
            "kind": one.kind,
            "onset": format_instant(one.onset_us),
            "failed": format_instant(one.failed_us or 0),
            "ended": format_instant(one.end_us or 0),
        }
        keyed = {"authorization": f"Bearer {key}", "idempotency-key": f"label-{one.machine}"}
        for _ in range(2):
            made = httpx.post(f"{site}/api/v1/labels", json=body, headers=keyed)
            assert made.status_code == 201, made.text
    found = httpx.get(f"{site}/api/v1/labels", params={"machine_id": labels[0].machine}).json()
    assert len(found["items"]) == 1
    capsys.readouterr()
    assert run(["risk", "train", "fan", "--json"]) == 0
    learnt = json.loads(capsys.readouterr().out)
    assert (learnt["failures"], learnt["horizons"]) == (len(labels), ["1 h"])
    assert run(["modes", "fan", "--json"]) == 0
    modes = {one["name"] for one in json.loads(capsys.readouterr().out)}
    assert modes <= {one.kind for one in labels}
    assert modes

    def told(at_us: int) -> Any:
        with session(database) as on:
            before = read_history(on, [labels[0].machine], 0, at_us, last=10)[0]
            names = roster_store.load(on).classes["fan"].sensor_names
        readings = [
            {
                "timestamp": format_instant(int(instant)),
                "values": {k: v for k, v in zip(names, row, strict=True) if v == v},  # noqa: PLR0124 - not NaN
            }
            for instant, row in zip(before.instants_us, before.values.tolist(), strict=True)
        ]
        body = {"machine_id": labels[0].machine, "readings": readings}
        answer = httpx.post(f"{site}/api/v1/predict", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["failure"]

    deadline = monotonic() + 60
    # A second replica, which an earlier load brought, notices it by itself; callers take turns.
    while {told(labels[0].onset_us)["status"] for _ in range(6)} != {"known"}:
        assert monotonic() < deadline
        threading.Event().wait(0.2)
    well, ill = told(labels[0].onset_us), told(labels[0].failed_us or 0)
    assert ill["horizons"][0]["p"] > 0.5 > well["horizons"][0]["p"]
    assert ill["horizons"][1]["kind"] == "unknown"
    assert ill["remaining"]["seconds"] < well["remaining"]["seconds"]
    assert httpx.get(f"{site}/api/v1/failure-modes").json()["items"]
