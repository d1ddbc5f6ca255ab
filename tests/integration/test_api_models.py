"""Models and sweeps over HTTP, over a real Postgres."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.errors import ConflictError
from storage import models, sweeps
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import Site, bearer

BEFORE = (datetime.now(UTC) - timedelta(days=1)).isoformat()


@pytest.fixture(scope="module")
def packages() -> tuple[bytes, bytes]:
    """Return two trained models."""
    return serve_support.package(1), serve_support.package(2)


@pytest.fixture
def keys(database: StorageSettings) -> dict[str, str]:
    """Return a key of each role, over two pumps."""
    return serve_support.fill(database)


@pytest.fixture
def site(
    database: StorageSettings, keys: dict[str, str], packages: tuple[bytes, bytes]
) -> Iterator[Site]:
    """Return the applications; version 2 replaced version 1."""
    assert keys
    for version, package in enumerate(packages, 1):
        serve_support.promote(database, version, package)
    made = Site(database)
    made.champions.refresh()
    yield made
    made.pool.close()


def test_a_rollback_over_http_is_served_and_told(site: Site, keys: dict[str, str]) -> None:
    """The next answer comes from the version before; the history says who and why."""
    done = site.ask(
        "/api/v1/models/pump/rollback",
        "POST",
        headers=bearer(keys["owner"]),
        json={"reason": "too many alarms"},
    )
    site.champions.refresh()
    scored = site.ask("/api/v1/predict", "POST", json={"machine_id": "pump-1"}).json()
    newest = site.ask("/api/v1/models/pump/history").json()["items"][0]

    assert done.json() == {"machine_class": "pump", "version": 1}
    assert scored["model"]["version"] == 1
    assert (newest["event"], newest["actor"], newest["reason"]) == (
        "rolled_back",
        "owner",
        "too many alarms",
    )


def test_a_promotion_is_asked_for_once_however_often_it_is_sent(
    site: Site, keys: dict[str, str]
) -> None:
    """With the same Idempotency-Key the first answer comes back; with another request it is 422."""
    headers = bearer(keys["owner"], **{"idempotency-key": "k-1"})
    path = "/api/v1/models/pump/promote"
    answers = [site.ask(path, "POST", headers=headers, json={"version": 1}) for _ in range(3)]
    other = site.ask(path, "POST", headers=headers, json={"version": 2})
    again = site.ask(path, "POST", headers=bearer(keys["owner"]), json={"version": 1})

    assert [one.status_code for one in answers] == [200] * 3
    assert len({one.text for one in answers}) == 1
    assert other.status_code == 422
    assert again.status_code == 409


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_only_owners_choose_champions(site: Site, keys: dict[str, str], action: str) -> None:
    """An operator acts on incidents; what judges a fleet is its owner's."""
    path, body = f"/api/v1/models/pump/{action}", {"version": 1} if action == "promote" else {}
    statuses = [
        site.ask(path, "POST", headers=bearer(keys[role]), json=body).status_code
        for role in ("reader", "operator", "owner")
    ]

    assert statuses == [403, 403, 200]
    assert site.ask(path, "POST", json=body).status_code == 401


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/models/pump/promote", "POST", {"version": 9}, 404),
        ("/models/fan/promote", "POST", {"version": 1}, 404),
        ("/models/fan/rollback", "POST", {}, 404),
        ("/models/fan/history", "GET", None, 404),
        ("/models/pump/promote", "POST", {"version": 2}, 409),
        ("/models/pump/promote", "POST", {"version": 0}, 422),
        ("/models/pump/promote", "POST", {"version": 1, "reason": "\0"}, 422),
        ("/models/pu%00mp/history", "GET", None, 422),
        ("/machines/pump-9/model", "GET", None, 404),
        ("/sweeps", "POST", {"machine_class": "fan"}, 404),
        ("/sweeps", "POST", {"machine_class": "pump", "trials": 0}, 422),
        ("/sweeps/nothing", "GET", None, 404),
        ("/sweeps/nothing/cancel", "POST", None, 404),
    ],
)
def test_what_cannot_be_is_a_problem(
    site: Site, keys: dict[str, str], path: str, method: str, body: Any, status: int
) -> None:
    """Each refusal has its status and the one shape."""
    answer = site.ask(f"/api/v1{path}", method, headers=bearer(keys["owner"]), json=body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_history_comes_in_pages(site: Site) -> None:
    """Four events, two by two, the newest first."""
    first = site.ask("/api/v1/models/pump/history?limit=2").json()
    cursor = first["next_cursor"]
    second = site.ask(f"/api/v1/models/pump/history?limit=2&cursor={cursor}").json()
    told = [(one["event"], one["version"]) for one in first["items"] + second["items"]]

    assert told == [("promoted", 2), ("trained", 2), ("promoted", 1), ("trained", 1)]
    assert second["next_cursor"] is None
    versions = [
        site.ask(f"/api/v1/models?limit=1{more}").json()
        for more in ("", "&cursor=" + site.ask("/api/v1/models?limit=1").json()["next_cursor"])
    ]
    assert [one["items"][0]["version"] for one in versions] == [2, 1]


def test_what_scored_a_machine_at_a_time_is_known(site: Site, database: StorageSettings) -> None:
    """By the stored verdict on that reading, else by who was champion then."""
    with session(database) as on:
        events = models.history(on, "pump")
        key = rows(on, "SELECT key FROM machines WHERE name = 'pump-1'")[0][0]
        rows(
            on,
            "INSERT INTO anomalies (machine_key, instant, model_version, score, contributions) "
            "VALUES (%s, '2026-01-02T00:00:01Z', 7, 3.0, '[]')",
            (key,),
        )
    first = next(one for one in events if (one.event, one.version) == ("promoted", 1))

    def judge(at: str, machine: str = "pump-1") -> Any:
        return site.ask(f"/api/v1/machines/{machine}/model", params={"at": at} if at else {})

    then, now = judge(first.at.isoformat()).json(), judge("").json()
    told = judge("2026-01-02T00:00:01Z").json()

    assert (then["version"], then["source"]) == (1, "history")
    assert (now["version"], now["source"]) == (2, "history")
    assert (told["version"], told["source"]) == (7, "verdict")
    assert judge(BEFORE).status_code == 404
    at = site.ask("/api/v1/models/pump/history", params={"at": first.at.isoformat()}).json()
    assert [one["version"] for one in at["items"]] == [1]


def test_a_sweep_that_was_asked_for_waits_until_it_is_taken(
    site: Site, keys: dict[str, str], database: StorageSettings
) -> None:
    """202 with its place; a second one of the class is refused; the taker finds all wishes."""
    headers = bearer(keys["operator"], **{"idempotency-key": "k-2"})
    body = {"machine_class": "pump", "trials": 5, "lookback_hours": 2}
    taken = site.ask("/api/v1/sweeps", "POST", headers=headers, json=body)
    again = site.ask("/api/v1/sweeps", "POST", headers=headers, json=body)
    other = site.ask("/api/v1/sweeps", "POST", headers=bearer(keys["operator"]), json=body)

    assert taken.status_code == 202
    assert again.json() == taken.json()
    assert other.status_code == 409
    task = taken.headers["location"]
    shown = site.ask(task).json()
    assert (shown["state"], shown["asked_by"]) == ("queued", "operator")
    with session(database) as on:
        (wish,) = sweeps.waiting(on)
        assert (wish.sweep, wish.trials, wish.seed, wish.lookback_hours) == (
            shown["id"],
            5,
            None,
            2,
        )
        sweeps.begin(on, wish.sweep, wish.machine_class)
        assert not sweeps.waiting(on)
    assert site.ask(task).json()["state"] == "running"
    late = site.ask(f"{task}/cancel", "POST", headers=bearer(keys["operator"]))
    assert late.status_code == 409


def test_a_sweep_that_waits_can_be_taken_back(
    site: Site, keys: dict[str, str], database: StorageSettings
) -> None:
    """Nobody takes it afterwards, also who had read of it before."""
    headers = bearer(keys["operator"])
    taken = site.ask("/api/v1/sweeps", "POST", headers=headers, json={"machine_class": "pump"})
    task = taken.headers["location"]
    done = site.ask(f"{task}/cancel", "POST", headers=headers)

    assert (done.json()["state"], done.json()["outcome"]) == ("cancelled", "cancelled by operator")
    with session(database) as on:
        assert not sweeps.waiting(on)
        with pytest.raises(ConflictError, match="cancelled"):
            sweeps.begin(on, taken.json()["id"], "pump")


def test_sweeps_come_in_pages(site: Site, database: StorageSettings) -> None:
    """Also those that began in the same moment."""
    with session(database) as on:
        for name in ("a", "b", "c"):
            rows(
                on,
                "INSERT INTO sweeps (id, machine_class, state, started_at) "
                "VALUES (%s, 'pump', 'failed', '2026-01-01T00:00:00.123456Z')",
                (name,),
            )
    seen, cursor = [], ""
    while True:
        page = site.ask("/api/v1/sweeps", params={"limit": 1, "cursor": cursor}).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == ["c", "b", "a"]
