"""What every application answers to bodies that are too large, compressed, broken or too deep."""

import gzip
from collections.abc import Iterator

import pytest

from ray_app.serve.api import BODY_LIMIT_BYTES as API_LIMIT_BYTES
from ray_app.serve.predictor import ARROW, BODY_LIMIT_BYTES
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import Site, bearer

_PREDICT, _INFER, _LABELS = "/api/v1/predict", "/v2/models/pump/infer", "/api/v1/labels"
_LIMITS = {_PREDICT: BODY_LIMIT_BYTES, _INFER: BODY_LIMIT_BYTES, _LABELS: API_LIMIT_BYTES}


@pytest.fixture(scope="module")
def package() -> bytes:
    """Return a trained model."""
    return serve_support.package()


@pytest.fixture
def site(database: StorageSettings, package: bytes) -> Iterator[tuple[Site, str]]:
    """Return the applications and an operator's key."""
    keys = serve_support.fill(database)
    serve_support.promote(database, 1, package)
    made = Site(database)
    made.champions.refresh()
    yield made, keys["operator"]
    made.pool.close()


_BROKEN = {
    "compressed, undeclared": gzip.compress(b'{"machine_id": "pump-1"}'),
    "half": b"{",
    "no text": b"\xff\xfe",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a long number": b'{"a": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("path", list(_LIMITS))
def test_a_body_that_cannot_be_read_is_the_callers_mistake(
    site: tuple[Site, str], path: str
) -> None:
    """Never ours: no 5xx, and words in the shape of the application."""
    app, key = site
    sent = bearer(key, **{"content-type": "application/json"})
    answers = {
        name: app.ask(path, "POST", content=content, headers=sent)
        for name, content in _BROKEN.items()
    }
    packed = {**sent, "content-encoding": "gzip"}
    compressed = app.ask(path, "POST", content=gzip.compress(b"{}"), headers=packed)

    wanted = 400 if path == _INFER else 422
    assert {name: one.status_code for name, one in answers.items()} == dict.fromkeys(
        _BROKEN, wanted
    )
    assert (compressed.status_code, compressed.headers["accept-encoding"]) == (415, "identity")
    for answer in (compressed, *answers.values()):
        assert answer.json().keys() & {"detail", "error"}


@pytest.mark.parametrize("path", list(_LIMITS))
def test_one_byte_more_than_the_limit_is_refused(site: tuple[Site, str], path: str) -> None:
    """In every application, with and without a declared length."""
    app, key = site
    sent = bearer(key, **{"content-type": "application/json"})

    async def pieces() -> object:
        for _ in range(_LIMITS[path] // 1_000 + 1):
            yield b" " * 1_000

    declared = app.ask(path, "POST", content=b" " * (_LIMITS[path] + 1), headers=sent)
    chunked = app.ask(path, "POST", content=pieces(), headers=sent)

    assert (declared.status_code, chunked.status_code) == (413, 413)


def test_arrow_that_is_none_is_the_callers_mistake(site: tuple[Site, str]) -> None:
    """What pyarrow says of it becomes a problem."""
    app, _ = site
    for content in (
        b"",
        b"nonsense",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xff\xff\xff\xff\x10\x00\x00\x00" * 9,
    ):
        answer = app.ask(_PREDICT, "POST", content=content, headers={"content-type": ARROW})

        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
