"""`millwright ingest` as a process: mapping files, what Kafka dropped, and an end in good order."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from domain.errors import OffsetsLostError
from ingestion.consume import Ingestion
from ingestion.kafka import ensure_topic, held
from ingestion.settings import KafkaSettings
from storage import history, roster_store
from storage.connect import session
from storage.settings import StorageSettings
from tests import environments
from tests.ingest_support import PUMP, quick_sink, running, send, settings_of, stored, until

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "mapping.md").read_text()


def block(marker: str) -> str:
    """Return the block of docs/mapping.md behind a marker."""
    found = re.search(rf"<!-- {re.escape(marker)}[^>]*-->\n```\w+\n(.*?)```", _PAGE, re.DOTALL)
    assert found, f"docs/mapping.md has no block {marker}"
    return found[1]


@pytest.fixture
def settings(kafka: str, topic: str) -> KafkaSettings:
    """Return settings of this test alone; one partition, so that offsets are known."""
    from dataclasses import replace

    found = replace(settings_of(kafka, topic), partitions=1)
    ensure_topic(found)
    return found


@pytest.fixture
def environment(kafka: str, database: StorageSettings, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a platform whose own topic is another one."""
    return environments.clean(
        tmp_path / "home",
        KAFKA_BOOTSTRAP_SERVERS=kafka,
        KAFKA_GROUP_ID="cli",
        COMMIT_INTERVAL_MS="200",
        **environments.postgres(database),
    )


def millwright(*words: str, environment: dict[str, str], cwd: Path) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [sys.executable, "-m", "ray_app.cli.main", *words],
        env=environment,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """Return what a command printed, once it ended with the code."""
    told, trouble = process.communicate(timeout=120)
    assert process.returncode == code, trouble
    assert "Traceback" not in trouble
    return told, trouble


@contextmanager
def ingesting(*words: str, environment: dict[str, str], cwd: Path) -> Iterator[dict[str, Any]]:
    """Run `millwright ingest` until the block ends; what it counted is there afterwards."""
    counted: dict[str, Any] = {}
    process = millwright("ingest", "--json", *words, environment=environment, cwd=cwd)
    try:
        yield counted
    finally:
        process.send_signal(signal.SIGINT)
        told, trouble = process.communicate(timeout=120)
    assert process.returncode == 0, trouble
    counted |= json.loads(told)
    counted["said"] = trouble


def published(settings: KafkaSettings, lines: str, key: bytes | None) -> int:
    """Send one message per line; return how many."""
    with quick_sink(settings) as sink:
        sink.send(settings.topic, key, [line.encode() for line in lines.splitlines()])
    return len(lines.splitlines())


@pytest.mark.parametrize(("name", "key"), [("furnace.toml", None), ("press.toml", b"press-1")])
def test_the_examples_of_the_page_do_what_it_says(
    settings: KafkaSettings,
    database: StorageSettings,
    environment: dict[str, str],
    tmp_path: Path,
    name: str,
    key: bytes | None,
) -> None:
    """The dry run prints what the page shows and stores nothing; the real one stores just that."""
    (tmp_path / name).write_text(block(f"example: {name}"))
    count = published(settings, block(f"messages: {name}"), key)
    words = ("--mapping", name, "--topic", settings.topic)

    told, _ = done(millwright("ingest", *words, "--dry-run", environment=environment, cwd=tmp_path))
    assert told == block(f"dry run: {name}").replace("plant[", f"{settings.topic}[")
    assert stored(database) == 0
    told, _ = done(
        millwright("ingest", *words, "--dry-run", "--json", environment=environment, cwd=tmp_path)
    )
    seen = json.loads(told)

    with ingesting(*words, environment=environment, cwd=tmp_path) as counted:
        until(lambda: stored(database) == len(seen["readings"]), within_s=120)
    assert counted["quarantined"] == len(seen["refused"])
    assert seen["messages"] == count
    with session(database) as on:
        machine = seen["readings"][0]["machine"]
        names = roster_store.load(on).classes[name.removesuffix(".toml")].sensor_names
        (found,) = history.read_history(on, [machine], 0, 2**62)
    wanted = [[one["values"].get(each, np.nan) for each in names] for one in seen["readings"]]
    assert np.array_equal(found.values, wanted, equal_nan=True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--mapping", "none.toml"], 4, "none.toml"),
        (
            ["--mapping", "bad.toml"],
            2,
            "bad.toml: colour is not known here; machine is missing: it must be text",
        ),
        (["--mapping", "good.toml"], 2, "--topic: no topic is named"),
        (["--mapping", "good.toml", "--topic", "no.such.topic"], 4, "no.such.topic"),
        (["--mapping", "good.toml", "--topic", "machine.sensor.readings"], 2, "own topic"),
        (["--topic", "x"], 2, "--topic: it needs a --mapping"),
        (["--dry-run"], 2, "--dry-run: it needs a --mapping"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_read(
    environment: dict[str, str], tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    """File and key, what is allowed, and a stable exit code; no topic is made by a typo."""
    good = block("example: furnace.toml")
    (tmp_path / "good.toml").write_text(good)
    (tmp_path / "bad.toml").write_text("colour = 1\n" + good.split("\n", 1)[1])

    _, told = done(millwright("ingest", *words, environment=environment, cwd=tmp_path), code)

    assert len(told.strip().splitlines()) == 1
    assert all(part in told for part in said.split("; "))


def test_what_kafka_dropped_stops_ingestion_until_a_person_accepts_the_gap(
    settings: KafkaSettings,
    database: StorageSettings,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """The exact gap is named; `--accept-gap` goes on behind it, and only behind it."""
    own = environment | {"KAFKA_TOPIC": settings.topic, "KAFKA_GROUP_ID": settings.group_id}
    with session(database) as on:
        roster_store.register_class(on, PUMP)
    send(settings, "pump-1", 0, 100)
    with running(Ingestion(settings, database)) as first:
        until(lambda: first.totals.consumed == 100)
    send(settings, "pump-1", 100, 100)
    _drop_before(settings, 150)

    with pytest.raises(OffsetsLostError, match="lost offsets 100 to 149"):
        Ingestion(settings, database).run()
    _, told = done(millwright("ingest", environment=own, cwd=tmp_path), 1)
    assert "lost offsets 100 to 149" in told
    assert "--accept-gap" in told
    assert stored(database) == 100

    with ingesting("--accept-gap", environment=own, cwd=tmp_path) as counted:
        until(lambda: stored(database) == 150, within_s=120)
    assert (counted["stored"], counted["duplicates"]) == (50, 0)
    assert f"{settings.topic}[0]: went on behind 50 lost messages" in counted["said"]

    with ingesting("--accept-gap", environment=own, cwd=tmp_path) as counted:
        send(settings, "pump-1", 200, 10)
        until(lambda: stored(database) == 160, within_s=120)
    assert "lost messages" not in counted["said"]


def _drop_before(settings: KafkaSettings, offset: int) -> None:
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    place = TopicPartition(settings.topic, 0, offset)
    for future in admin.delete_records([place]).values():
        future.result(30)
    assert held(settings)[0].earliest == offset


def test_keys_are_made_listed_and_closed(
    database: StorageSettings,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A key is printed once and opens what its role may; the list never shows it."""
    from ray_app.cli.main import run
    from storage import api_keys

    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def told(words: str, code: int = 0) -> str:
        assert run(["key", *words.split()]) == code
        seen = capsys.readouterr()
        return seen.out if code == 0 else seen.err

    assert told("list") == "No keys yet: `millwright key create NAME`.\n"
    key = told("create ada").strip()
    made = json.loads(told("create bob --role reader --json"))
    assert (made["name"], made["role"]) == ("bob", "reader")
    assert "there is a key named 'ada' already" in told("create ada", 5)
    assert "Allowed are reader, operator, owner" in told("create eve --role king", 2)
    listed = told("list")
    assert key not in listed
    assert [row.split()[:2] for row in listed.splitlines()[1:]] == [
        ["ada", "operator"],
        ["bob", "reader"],
    ]
    assert _holder(database, key, api_keys.holder_of) == ("ada", "operator")
    assert "ada is revoked" in told("revoke ada")
    assert "eve" in told("revoke eve --json", 4)
    assert _holder(database, key, api_keys.holder_of) is None
    rows = json.loads(told("list --json"))
    assert [(row["name"], row["revoked"]) for row in rows] == [("ada", True), ("bob", False)]


def _holder(
    database: StorageSettings, key: str, look: Callable[..., Any]
) -> tuple[str, str] | None:
    with session(database) as on:
        found = look(on, key)
    return None if found is None else (found.name, found.role)
