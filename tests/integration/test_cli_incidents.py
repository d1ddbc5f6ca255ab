"""`millwright incident`, `maintenance` and `webhook` from a person's and a program's side."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ray_app.cli.main import run
from storage import verdicts
from storage.connect import session
from storage.settings import StorageSettings
from tests import environments
from tests.webhook_support import SECRET, incident, machines, receiver

type Told = Callable[..., str]


@pytest.fixture
def told(
    database: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Told:
    """Run `millwright …`; return what it printed, or its error. One machine has an incident."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLWRIGHT_HOME", str(tmp_path / "home"))
    for name, value in environments.postgres(database).items():
        monkeypatch.setenv(name, value)
    (key,) = machines(database, "blower-1")
    with session(database) as on:
        verdicts.open_incident(on, incident(key))

    def call(words: str, code: int = 0) -> str:
        assert run(words.split()) == code
        seen = capsys.readouterr()
        return seen.out if code == 0 else seen.err

    return call


def test_an_incident_is_shown_and_feedback_tells_limits_before_and_after(told: Told) -> None:
    """The limits of its machine follow at once; another word replaces the first."""
    assert "blower-1" in told("incident list --live")
    assert "Nothing like it before" in told("incident show 1")
    assert "vibration: ×1.00 → ×0.76" in told("incident feedback 1 false")
    done = json.loads(told("incident feedback 1 true --note bearing --json"))
    assert done["before"]["vibration"] < 1 < done["after"]["vibration"]
    assert json.loads(told("incident show 1 --json"))["note"] == "bearing"
    assert "no incident '9'" in told("incident show 9", code=4)


def test_maintenance_is_entered_listed_and_ended(told: Told) -> None:
    """What makes no sense is refused with its flag, and a dry run enters nothing."""
    assert "No maintenance" in told("maintenance list")
    assert "would enter" in told("maintenance add blower-1 --dry-run")
    assert "No maintenance" in told("maintenance list")
    assert "maintenance" in told("maintenance add blower-1 --minutes 30 --note seals")
    assert "all of blower" in told("maintenance add --class blower --from 2026-01-01T00:00:00Z")
    first, second = json.loads(told("maintenance list --json"))
    assert (first["machine_class"], second["machine"], second["note"]) == (
        "blower",
        "blower-1",
        "seals",
    )
    assert "has ended" in told(f"maintenance end {first['id']}")
    assert "is not on now" in told(f"maintenance end {first['id']}", code=5)
    assert "one of the two" in told("maintenance add", code=2)
    assert "--from" in told("maintenance add blower-1 --from yesterday", code=2)


def test_a_repair_is_said_listed_and_taken_back(told: Told) -> None:
    """Now or since a time that has come, or at the end of a window; one line says what is wrong."""
    assert "learnt anew since" in told("maintenance repaired blower-1 --note seals")
    assert "all of blower" in told("maintenance repaired --class blower --at 2026-01-01T00:00:00Z")
    told("maintenance add blower-1")
    assert "learnt anew since" in told("maintenance end 3 --learn-anew")
    listed = json.loads(told("maintenance list --json"))
    assert [one["learn_anew"] for one in listed] == [True, True, True]
    assert "learnt before" in told("maintenance keep-level 1")
    assert "nobody said" in told("maintenance keep-level 1", code=5)
    assert "no maintenance '9'" in told("maintenance keep-level 9", code=4)
    assert "no machine 'nobody'" in told("maintenance repaired nobody", code=4)
    assert "has not come" in told("maintenance repaired blower-1 --at 2999-01-01T00:00Z", code=2)
    assert "--at" in told("maintenance repaired blower-1 --at noon", code=2)
    assert "one of the two" in told("maintenance repaired", code=2)
    assert "there is none" in told("maintenance add blower-1 --learn-anew", code=2)


def test_a_webhook_is_registered_tried_and_removed(told: Told, tmp_path: Path) -> None:
    """Its secret is printed once where it was made here, and never where it was brought."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    with receiver() as hook:
        brought = told(f"webhook add {hook.url} --secret-file {secret} --json")
        assert SECRET not in brought
        number = json.loads(brought)["id"]
        assert "took the message" in told(f"webhook test {number}")
        hook.mood = "fail"
        assert "HTTP 500" in told(f"webhook test {number}", code=3)
    assert "x-millwright-signature" in hook.taken[0].headers
    made = told("webhook add https://other.example/hook").splitlines()
    assert len(made[1]) == 64
    assert made[1] not in told("webhook list --json")
    assert "is registered already" in told("webhook add https://other.example/hook", code=5)
    assert "http://" in told("webhook add file:///etc/passwd", code=2)
    assert "forgot" in told(f"webhook remove {number}")
    assert len(json.loads(told("webhook list --json"))) == 1
    assert "0 messages" in told("webhook retry 2")
    assert "No challenger" in told("model shadow")
