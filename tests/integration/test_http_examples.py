"""The commands of `docs/http.md`, and that their answers are what the page shows.

MILLWRIGHT_UPDATE_DOCS=1 writes the answers anew.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import Site, listening

PAGE = Path(__file__).parents[2] / "docs" / "http.md"
_COMMANDS = re.compile(r"<!-- commands: (\w+) -->\n```sh\n(.*?)```", re.DOTALL)
_ANSWER = re.compile(r"<!-- answer: (\w+) -->\n```json\n(.*?)```", re.DOTALL)
_WIDTH = 112
_CHANGES = re.compile(r"\d{4}-\d\d-\d\dT.*Z|[0-9a-f]{12}|[0-9a-f]{64}")
"""Instants of now, ids and checksums are others with every run."""


@pytest.fixture
def site(database: StorageSettings) -> Iterator[dict[str, str]]:
    """Return the environment of a reader of the page: a fleet with two versions of its model."""
    keys = serve_support.fill(database)
    for version in (1, 2):
        serve_support.promote(database, version, serve_support.package(version))
    made = Site(database)
    made.champions.start(poll_s=0.05)
    with listening(made) as url:
        yield {
            **os.environ,
            "MILLWRIGHT_API": url,
            "KEY": keys["owner"],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
    made.champions.close()
    made.pool.close()


def written(told: Any, indent: int = 0) -> str:
    """Return an answer for the eye: what fits into a line stands in one."""
    line = json.dumps(told, ensure_ascii=False)
    if len(line) + indent <= _WIDTH or not told or not isinstance(told, dict | list):
        return line
    deeper = " " * (indent + 2)
    if isinstance(told, dict):
        parts = [f"{json.dumps(name)}: {written(one, indent + 2)}" for name, one in told.items()]
    else:
        parts = [written(one, indent + 2) for one in told]
    begin, end = ("{", "}") if isinstance(told, dict) else ("[", "]")
    inner = ",\n".join(deeper + part for part in parts)
    return f"{begin}\n{inner}\n{' ' * indent}{end}"


def alike(told: Any, shown: Any) -> bool:
    """Say whether an answer is the one the page shows, but for what changes with every run."""
    match told, shown:
        case dict(), dict():
            return list(told) == list(shown) and all(alike(told[one], shown[one]) for one in told)
        case list(), list():
            return len(told) == len(shown) and all(map(alike, told, shown))
        case float(), float():
            return told == pytest.approx(shown, rel=1e-6, abs=1e-9)
        case str(), str() if _CHANGES.fullmatch(told):
            return _CHANGES.fullmatch(shown) is not None
        case _:
            return bool(told == shown)


def test_answers_that_differ_are_seen() -> None:
    """The comparison of the test below can fail."""
    shown = {"id": "0123456789ab", "score": 0.5, "items": [1, None]}

    assert alike({"id": "ba9876543210", "score": 0.5, "items": [1, None]}, shown)
    assert not alike({**shown, "score": 0.6}, shown)
    assert not alike({**shown, "items": [1]}, shown)
    assert not alike({**shown, "id": "other"}, shown)


def test_the_page_shows_what_the_commands_answer(site: dict[str, str]) -> None:
    """In the order of the page, each command's last line against its answer."""
    text = PAGE.read_text(encoding="utf-8")
    answers = {name: json.loads(shown) for name, shown in _ANSWER.findall(text)}
    commands = dict(_COMMANDS.findall(text))
    assert commands.keys() == answers.keys()
    for name, command in commands.items():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            env=site,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        told = json.loads(done.stdout.strip().splitlines()[-1])
        if os.environ.get("MILLWRIGHT_UPDATE_DOCS"):
            block = f"<!-- answer: {name} -->\n```json\n"
            made = written(told)
            head, _, rest = text.partition(block)
            text = f"{head}{block}{made}\n```{rest.partition('```')[2]}"
        else:
            assert alike(told, answers[name]), f"{name}: {json.dumps(told, indent=2)}"
    if os.environ.get("MILLWRIGHT_UPDATE_DOCS"):
        PAGE.write_text(text, encoding="utf-8")
