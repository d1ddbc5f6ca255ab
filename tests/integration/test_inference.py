"""The Open Inference Protocol at `/v2`, over a real Postgres."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import ROWS, SENSORS, Site, bearer, readings

PATH = "/v2/models/pump/infer"


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


def matrix(rows: int = 40, first: int = ROWS) -> dict[str, Any]:
    """Return the input `sensors` with a window of pump-1 behind its stored readings."""
    values = readings(rows, 1, first).values
    return {
        "name": "sensors",
        "shape": list(values.shape),
        "datatype": "FP64",
        "data": values.tolist(),
    }


def instants(rows: int = 40, first: int = ROWS) -> dict[str, Any]:
    """Return the input `instants` of that window."""
    at = readings(rows, 1, first).instants_us
    return {"name": "instants", "shape": [rows], "datatype": "INT64", "data": at.tolist()}


def by_name(answer: Any) -> dict[str, Any]:
    """Return the outputs of an answer by their name."""
    return {one["name"]: one for one in answer.json()["outputs"]}


def test_a_window_scores_as_predict_scores_it(site: Site) -> None:
    """The same machine, the same stored readings before it, the same numbers to the bit."""
    window = readings(40, 1, ROWS)
    machine = {"machine_id": "pump-1"}
    told = site.ask(
        PATH, "POST", json={"id": "7", "inputs": [matrix(), instants()], "parameters": machine}
    )
    predicted = site.ask(
        "/api/v1/predict",
        "POST",
        json={
            "machine_id": "pump-1",
            "readings": [
                {
                    "timestamp": np.datetime_as_string(np.datetime64(int(at), "us")) + "Z",
                    "values": dict(zip(SENSORS, row.tolist(), strict=True)),
                }
                for at, row in zip(window.instants_us, window.values, strict=True)
            ],
        },
    ).json()
    outputs = by_name(told)

    assert told.json()["model_name"] == "pump"
    assert (told.json()["model_version"], told.json()["id"]) == ("1", "7")
    assert outputs["score"]["data"] == predicted["scores"]
    assert outputs["ready"]["data"][-1] is True
    parts = np.array(outputs["contributions"]["data"]).reshape(outputs["contributions"]["shape"])
    assert parts.sum(axis=1) == pytest.approx(outputs["score"]["data"])


def test_inputs_by_sensor_score_as_the_matrix(site: Site) -> None:
    """A client that has columns need not know the order; a sensor left out is missing."""
    values = readings(40, 1, ROWS).values
    columns = [
        {"name": name, "shape": [40], "datatype": "FP64", "data": values[:, at].tolist()}
        for at, name in enumerate(SENSORS)
    ]
    whole = by_name(site.ask(PATH, "POST", json={"inputs": [matrix()]}))
    single = by_name(site.ask(PATH, "POST", json={"inputs": columns[::-1]}))
    fewer = site.ask(PATH, "POST", json={"inputs": columns[:2]})

    assert single["score"]["data"] == whole["score"]["data"]
    assert fewer.status_code == 200


def test_the_binary_extension_carries_the_same_numbers(site: Site) -> None:
    """Values follow the JSON both ways; the header says where."""
    values = readings(40, 1, ROWS).values
    raw = values.astype("<f8").tobytes()
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "sensors",
                    "shape": [40, 4],
                    "datatype": "FP64",
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "outputs": [
                {"name": "score", "parameters": {"binary_data": True}},
                {"name": "is_anomaly"},
            ],
        }
    ).encode()
    answer = site.ask(
        PATH,
        "POST",
        content=head + raw,
        headers={"inference-header-content-length": str(len(head))},
    )
    plain = by_name(site.ask(PATH, "POST", json={"inputs": [matrix()]}))
    end = int(answer.headers["inference-header-content-length"])
    told = json.loads(answer.content[:end])["outputs"]

    assert answer.headers["content-type"] == "application/octet-stream"
    assert told[0]["parameters"] == {"binary_data_size": 320}
    assert np.frombuffer(answer.content[end:], "<f8").tolist() == plain["score"]["data"]
    assert told[1]["data"] == [False] * 40


def test_metadata_and_health_tell_what_there_is(site: Site) -> None:
    """A client finds names, shapes and types without reading a page of ours."""
    told = site.ask("/v2/models/pump").json()

    assert site.ask("/v2/health/live").json() == {"live": True}
    assert site.ask("/v2/health/ready").json() == {"ready": True}
    assert site.ask("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert site.ask("/v2/models/pump/ready").json() == {"ready": True, "name": "pump"}
    assert site.ask("/v2/models/pump/versions/1/ready").status_code == 200
    assert told["inputs"][0] == {"name": "sensors", "datatype": "FP64", "shape": [-1, 4]}
    assert [one["name"] for one in told["inputs"][2:]] == list(SENSORS)
    assert site.ask("/v2/models/pump/versions/1").json() == told


def _changed(**more: Any) -> dict[str, Any]:
    return {"inputs": [{**matrix(2), **more}]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "one input per sensor"),
        (_changed(name="vibratoin"), "vibratoin"),
        (_changed(shape=[3, 4]), "8 values"),
        (_changed(shape=[2, -4]), "shape"),
        (_changed(shape=[8]), "(n, 4)"),
        (_changed(datatype="INT64"), "INT64"),
        (_changed(datatype="BYTES"), "BYTES"),
        (_changed(data=["1"] * 8), "no number"),
        (_changed(data=[True] * 8), "no number"),
        (_changed(data=[None] * 8), "row 0"),
        (_changed(data=[1e200] * 8), "beyond 1e+150"),
        (_changed(data=[[1.0, 2.0], [3.0]]), "3 values"),
        (_changed(parameters={"binary_data_size": 64}), "binary_data_size"),
        ({"inputs": [matrix(2), matrix(2)]}, "twice"),
        ({"inputs": [matrix(2), instants(3)]}, "3 values"),
        (
            {"inputs": [matrix(1), {**instants(1), "data": [5]}]},
            "2000",
        ),
        ({"inputs": [matrix(2)], "outputs": [{"name": "nothing"}]}, "nothing"),
        ({"inputs": [matrix(2)], "parameters": {"machine_id": 1}}, "machine_id"),
        ({"inputs": [matrix(2)], "parameters": {"binary_data_output": 1}}, "binary_data_output"),
    ],
)
def test_a_wrong_request_is_the_protocols_error(
    site: Site, given: dict[str, Any], words: str
) -> None:
    """400 with one text that says what is wrong."""
    answer = site.ask(PATH, "POST", json=given)

    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v2/models/fan", "GET", 404),
        ("/v2/models/pump/versions/2", "GET", 404),
        ("/v2/models/pump/nothing", "GET", 404),
        ("/v2/nothing", "GET", 404),
        (PATH, "GET", 405),
        ("/v2/models/pump", "POST", 405),
    ],
)
def test_what_is_not_there_is_the_protocols_error(
    site: Site, path: str, method: str, status: int
) -> None:
    """Also of paths and methods."""
    answer = site.ask(path, method)

    assert answer.status_code == status
    assert answer.json().keys() == {"error"}


def test_without_a_champion_it_is_not_ready(database: StorageSettings) -> None:
    """503 until something is promoted, and health says so."""
    serve_support.fill(database)
    site = Site(database)

    assert site.ask("/v2/health/ready").status_code == 503
    assert site.ask(PATH, "POST", json={"inputs": [matrix()]}).status_code == 503
    site.pool.close()


def test_where_keys_are_required_only_health_is_open(
    database: StorageSettings, package: bytes
) -> None:
    """As for predict."""
    keys = serve_support.fill(database)
    serve_support.promote(database, 1, package)
    site = Site(database, required=True)
    site.champions.refresh()

    assert site.ask("/v2/health/ready").status_code == 200
    assert site.ask("/v2/models/pump").status_code == 401
    assert site.ask("/v2/models/pump", headers=bearer(keys["reader"])).status_code == 200
    site.pool.close()
