"""The few lines of ASGI that the hot path needs: read a bounded body, send JSON, send a problem."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from ray_app.serve.problems import CONTENT_TYPE, RefusedError, headers_of, problem_of

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ENCODER = msgspec.json.Encoder()


class ClientGoneError(Exception):
    """The client left before its request was complete; nobody is there to be answered."""


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Read a body, no further than the limit.

    Raises:
        RefusedError: It is larger (413).
        ClientGoneError: The client disconnected.
    """
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def send_bytes(send: Send, body: bytes, content_type: str) -> None:
    """Send bytes as they are, with 200."""
    raw = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def send_json(
    send: Send,
    status: int,
    value: Any,
    *,
    content_type: str = "application/json",
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    """Send a value as JSON."""
    body = _ENCODER.encode(value)
    raw = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *((name.encode(), text.encode("latin-1", "replace")) for name, text in headers),
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def send_problem(scope: Scope, send: Send, error: Exception) -> int:
    """Send an error as a problem; return its status."""
    problem = problem_of(error, str(scope.get("path", "")))
    await send_json(
        send, problem.status, problem, content_type=CONTENT_TYPE, headers=headers_of(error)
    )
    return problem.status


def header(scope: Scope, name: bytes) -> str:
    """Return a header's value, empty when it is not there."""
    for key, value in scope.get("headers", ()):
        if key.lower() == name:
            return bytes(value).decode("latin-1").strip()
    return ""


async def lifespan(
    receive: Receive, send: Send, start: Callable[[], None], stop: Callable[[], None]
) -> None:
    """Speak the lifespan protocol: start before the first request, stop after the last."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            start()
            await send({"type": "lifespan.startup.complete"})
        else:
            stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _too_large(limit_bytes: int) -> RefusedError:
    return RefusedError(
        413,
        "Body too large",
        f"the body is larger than {limit_bytes} bytes; send several smaller requests",
        headers=(("connection", "close"),),
    )
