"""Bodies are read no further than their limit, in no more than their time, and as they are."""

import asyncio
from typing import Any

import pytest

from ray_app.serve import asgi
from ray_app.serve.asgi import ClientGoneError, Message, read_body, replayed
from ray_app.serve.problems import RefusedError


class Caller:
    """Sends pieces of a body, and then nothing more.

    Args:
        *pieces: What it sends.
        complete: Whether it says that the last one was the last.
    """

    def __init__(self, *pieces: bytes, complete: bool = True) -> None:
        self._left, self._complete = list(pieces), complete

    async def __call__(self) -> Message:
        """Return the next piece."""
        if not self._left:
            await asyncio.Event().wait()
        piece = self._left.pop(0)
        return {
            "type": "http.request",
            "body": piece,
            "more_body": bool(self._left) or not self._complete,
        }


def read(caller: Any, **headers: str) -> bytes:
    """Read a body of ten bytes at the most."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return asyncio.run(read_body({"headers": raw}, caller, 10))


@pytest.mark.parametrize("pieces", [(b"",), (b"all",), (b"12345", b"67890"), (b"", b"", b"late")])
def test_pieces_become_one_body(pieces: tuple[bytes, ...]) -> None:
    """Up to the very limit."""
    assert read(Caller(*pieces)) == b"".join(pieces)


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ((b"a" * 11,), {}),
        ((b"12345", b"67890", b"!"), {}),
        ((b"12345", b"67890a", b"never read"), {}),
        ((), {"content_length": "11"}),
    ],
)
def test_a_byte_more_than_the_limit_is_refused(
    pieces: tuple[bytes, ...], headers: dict[str, str]
) -> None:
    """Declared or not, in one piece or many."""
    with pytest.raises(RefusedError, match="larger than 10 bytes") as told:
        read(Caller(*pieces), **headers)

    assert told.value.status == 413


def test_a_body_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends a byte now and then would hold a place in a replica."""
    monkeypatch.setattr(asgi, "BODY_WITHIN_S", 0.05)
    with pytest.raises(RefusedError) as told:
        read(Caller(b"a", b"b", complete=False))

    assert told.value.status == 408
    assert dict(told.value.headers)["retry-after"] == "2"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_compressed_bodies_are_refused_before_they_are_read(coding: str) -> None:
    """Some kilobytes could become gigabytes."""
    with pytest.raises(RefusedError) as told:
        read(Caller(), content_encoding=coding)

    assert told.value.status == 415
    assert dict(told.value.headers)["accept-encoding"] == "identity"


def test_who_leaves_in_the_middle_is_noticed() -> None:
    """Nobody is there to be answered."""

    async def leaving() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGoneError):
        read(leaving)


def test_a_body_that_was_read_is_handed_on_once() -> None:
    """What follows is what the caller does next."""

    async def told() -> list[Message]:
        async def leaving() -> Message:
            return {"type": "http.disconnect"}

        again = replayed(b"all", leaving)
        return [await again(), await again()]

    first, second = asyncio.run(told())
    assert first == {"type": "http.request", "body": b"all", "more_body": False}
    assert second["type"] == "http.disconnect"
