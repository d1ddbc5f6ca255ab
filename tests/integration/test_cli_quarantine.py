"""`millwright quarantine` from a person's and a program's side."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from domain import wire
from ray_app.cli.main import run
from storage import quarantine, roster_store
from storage.connect import session
from storage.quarantine import Entry
from storage.settings import StorageSettings
from tests import environments
from tests.ingest_support import PUMP, batch, stored

type Told = Callable[..., str]


@pytest.fixture
def told(
    database: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Told:
    """Run `millwright quarantine …`; return what it printed. Four messages wait."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLWRIGHT_HOME", str(tmp_path / "home"))
    for name, value in environments.postgres(database).items():
        monkeypatch.setenv(name, value)
    made = batch(0, 0, 3)
    good = wire.encode("pump-1", made.instants_us, made.values, PUMP.sensor_names)
    with session(database) as on:
        quarantine.add(
            on,
            [
                Entry(
                    topic_id="one",
                    topic="readings",
                    partition=0,
                    offset=offset,
                    reason="unknown_machine" if offset < 3 else "not_utf8",
                    detail="as it was then",
                    key=None,
                    value=value,
                )
                for offset, value in enumerate([*good, b"\xff"])
            ],
        )

    def call(words: str, code: int = 0) -> str:
        assert run(["quarantine", *words.split()]) == code
        seen = capsys.readouterr()
        return seen.out if code == 0 else seen.err

    return call


def test_a_list_shows_places_and_reasons(told: Told) -> None:
    """Newest first, by rule, and as JSON."""
    lines = told("list").splitlines()
    assert lines[0].split() == [
        "ID",
        "PLACE",
        "REASON",
        "DETAIL",
        "QUARANTINED",
        "AT",
        "REDRIVEN",
        "AT",
    ]
    assert "readings[0]@3" in lines[1]
    assert len(lines) == 5
    assert len(json.loads(told("list --reason unknown_machine --limit 2 --json"))) == 2


def test_a_message_is_shown_with_its_bytes(told: Told) -> None:
    """And one that is not there is told by an exit code."""
    number = json.loads(told("list --json"))[0]["id"]

    assert r"b'\xff'" in told(f"show {number}")
    assert json.loads(told(f"show {number} --json"))["reason"] == "not_utf8"
    assert "999999" in told("show 999999", 4)


def test_a_redrive_tries_what_was_asked_for(told: Told, database: StorageSettings) -> None:
    """By rule, by number, or all; each reading arrives once."""
    assert told("redrive --dry-run") == "would try 4 messages again\n"
    assert told("redrive --reason not_utf8 --dry-run") == "would try 1 messages again\n"
    assert told("redrive") == "0 stored, 0 were there already, 4 still refused\n"
    with session(database) as on:
        roster_store.register_class(on, PUMP)

    number = json.loads(told("list --json"))[-1]["id"]
    assert json.loads(told(f"redrive {number} --json"))["stored"] == 1
    done = json.loads(told("redrive --reason unknown_machine --json"))
    assert done == {"stored": 2, "duplicates": 0, "refused": 0}
    assert told("redrive") == "0 stored, 0 were there already, 1 still refused\n"
    assert stored(database) == 3
    assert len(json.loads(told("list --all --json"))) == 4
