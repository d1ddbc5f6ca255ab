"""Predict in Arrow and by machine id alone, over a real Postgres."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ray_app.serve.predictor import ARROW
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import ROWS, SENSORS, Site, readings

PATH = "/api/v1/predict"


@pytest.fixture(scope="module")
def package() -> bytes:
    """Return a trained model."""
    return serve_support.package()


@pytest.fixture
def site(database: StorageSettings, package: bytes) -> Iterator[Site]:
    """Return the applications with a champion."""
    serve_support.fill(database)
    serve_support.promote(database, 1, package)
    made = Site(database)
    made.champions.refresh()
    yield made
    made.pool.close()


def stream(table: pa.Table, **options: Any) -> bytes:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table, max_chunksize=17)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


def mixed(rows: int = 30) -> pa.Table:
    """Return windows of both pumps, their rows mixed, a value missing."""
    names, at, values = [], [], []
    for row in range(rows):
        for seed in (2, 1):
            window = readings(rows, seed, ROWS)
            names.append(f"pump-{seed}")
            at.append(int(window.instants_us[row]))
            values.append(window.values[row].tolist())
    values[5][1] = None
    columns = {name: [row[at] for row in values] for at, name in enumerate(SENSORS)}
    return pa.table(
        {
            "machine_id": pa.array(names).dictionary_encode(),
            "timestamp": pa.array(at, pa.timestamp("us", tz="UTC")),
            **columns,
        }
    )


FAR = [253_402_300_800_000_000 + row for row in range(6)]


def post(site: Site, body: bytes, accept: str = ARROW) -> Any:
    """Ask in Arrow."""
    return site.ask(PATH, "POST", content=body, headers={"content-type": ARROW, "accept": accept})


def as_json(table: pa.Table) -> dict[str, Any]:
    """Return the same request in JSON."""
    requests: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        reading = {
            "timestamp": row["timestamp"].isoformat(),
            "values": {name: row[name] for name in SENSORS},
        }
        requests.setdefault(row["machine_id"], []).append(reading)
    return {"requests": [{"machine_id": name, "readings": one} for name, one in requests.items()]}


def test_arrow_scores_as_json_does(site: Site) -> None:
    """Rows come back where they stood, with the numbers that JSON gives, to the bit."""
    table = mixed()
    answer = post(site, stream(table))
    found = pa.ipc.open_stream(answer.content).read_all()
    told = site.ask(PATH, "POST", json=as_json(table)).json()["results"]

    assert answer.headers["content-type"] == ARROW
    assert found.column("machine_id").to_pylist() == table.column("machine_id").to_pylist()
    assert found.column("timestamp").equals(table.column("timestamp"))
    names = np.array(found.column("machine_id").to_pylist())
    for one in told:
        mine = found.filter(pa.array(names == one["machine_id"])).to_pylist()
        assert [row["score"] for row in mine] == one["scores"]
        last = mine[-1]
        assert last["model_version"] == 1
        assert last["is_anomaly"] == one["is_anomaly"]
        assert last["root_sensor"] == one["contributions"][0]["sensor"]
        assert sum(last["contributions"]) == pytest.approx(last["score"])
    assert json.loads(found.schema.metadata[b"sensors"]) == {"pump": list(SENSORS)}


def test_who_accepts_json_gets_a_verdict_per_machine(site: Site) -> None:
    """In the order in which the machines first appear."""
    answer = post(site, stream(mixed()), accept="application/json")
    told = site.ask(PATH, "POST", json=as_json(mixed())).json()

    assert answer.json() == told
    assert [one["machine_id"] for one in answer.json()["results"]] == ["pump-2", "pump-1"]


def test_a_list_column_is_a_row_of_the_class(site: Site) -> None:
    """Values as one list, in the class's order, score as columns do."""
    table = mixed()
    lists = [[row[name] for name in SENSORS] for row in table.to_pylist()]
    narrow = table.select(["machine_id", "timestamp"]).append_column("values", pa.array(lists))
    ours = pa.ipc.open_stream(post(site, stream(narrow)).content).read_all()
    theirs = pa.ipc.open_stream(post(site, stream(table)).content).read_all()

    assert ours.equals(theirs)


def test_machines_alone_are_judged_by_what_is_stored(site: Site) -> None:
    """In JSON and in Arrow: the newest stored reading, with those before it."""
    newest = datetime.fromtimestamp(readings(ROWS, 1).instants_us[-1] / 1e6, UTC)
    alone = site.ask(PATH, "POST", json={"machine_id": "pump-1"}).json()
    table = pa.table({"machine_id": ["pump-2", "pump-1"]})
    found = pa.ipc.open_stream(post(site, stream(table)).content).read_all().to_pylist()

    assert datetime.fromisoformat(alone["timestamp"]) == newest
    assert alone["data_quality"]["ready"]
    assert alone["data_quality"]["context_rows"] > 0
    assert [row["machine_id"] for row in found] == ["pump-2", "pump-1"]
    assert [found[1]["score"]] == alone["scores"]


def test_a_machine_that_never_sent_anything_has_nothing_to_be_judged_by(
    site: Site, database: StorageSettings
) -> None:
    """404 says to give readings."""
    from storage import roster_store
    from storage.connect import session

    with session(database) as on:
        roster_store.register_machines(on, ["pump-3"], "pump")
    answer = site.ask(PATH, "POST", json={"machine_id": "pump-3"})

    assert answer.status_code == 404
    assert "readings" in answer.json()["detail"]
    assert site.ask(PATH, "POST", json={"machine_class": "pump"}).status_code == 422
    none = site.ask(PATH, "POST", json={"machine_id": "pump-1", "context": "none"})
    assert none.status_code == 422


def _with(name: str, column: Any) -> pa.Table:
    table = mixed(3)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "cannot be read"),
        (b"not arrow", "cannot be read"),
        (stream(mixed())[:400], "cannot be read"),
        (stream(mixed(), options=pa.ipc.IpcWriteOptions(compression="zstd")), "compressed"),
        (stream(mixed(3).slice(0, 0)), "no rows"),
        (stream(mixed(3).drop_columns(["machine_id"])), "machine_id"),
        (stream(mixed(3).drop_columns(["timestamp"])), "timestamp"),
        (stream(_with("vibratoin", pa.array([1.0] * 6))), "vibratoin"),
        (stream(_with("flow", pa.array(["1"] * 6))), "numbers"),
        (stream(_with("flow", pa.array([float("inf")] * 6))), "infinite"),
        (stream(_with("flow", pa.array([1e200] * 6))), "beyond 1e+150"),
        (stream(_with("timestamp", pa.array(range(6)))), "timestamps"),
        (stream(_with("timestamp", pa.array(FAR, pa.timestamp("us")))), "9999"),
        (stream(_with("timestamp", pa.array([7] * 6, pa.timestamp("us")))), "not later"),
        (stream(_with("timestamp", pa.array(range(6), pa.timestamp("s")))), "2000"),
        (stream(_with("machine_id", pa.array([None] * 6, pa.string()))), "without nulls"),
        (stream(_with("machine_id", pa.array(["\0"] * 6))), "names no machine"),
        (stream(pa.table({"machine_id": ["pump-1", "pump-1"]})), "one row"),
        (stream(pa.table({"machine_id": ["pump-1"] * 100_001})), "100000 rows"),
        (stream(pa.table({"machine_id": ["pump-1"], "nothing": pa.nulls(1)})), "timestamp"),
    ],
)
def test_a_wrong_table_is_a_problem(site: Site, body: bytes, words: str) -> None:
    """422 with what is wrong; nothing of it is scored."""
    answer = post(site, body)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_a_machine_nobody_knows_is_404(site: Site) -> None:
    """As in JSON."""
    table = _with("machine_id", pa.array(["pump-9"] * 6))

    assert post(site, stream(table)).status_code == 404
