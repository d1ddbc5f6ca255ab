"""The few lines of ASGI that the hot path needs: read a bounded body, send JSON, send a problem."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import nullcontext
from typing import Any

import msgspec

from ray_app.serve.problems import CONTENT_TYPE, RefusedError, headers_of, problem_of

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ENCODER = msgspec.json.Encoder()


BODY_WITHIN_S = 20.0
"""From the first piece of a body to its last; a replica's place is not a slow caller's to hold."""


class ClientGoneError(Exception):
    """The client left before its request was complete; nobody is there to be answered."""


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Read a body, no further than the limit.

    A body that comes in one piece, as HAProxy hands over every small one, costs no timer.

    Raises:
        RefusedError: It is larger (413), encoded (415), or takes too long (408).
        ClientGoneError: The client disconnected.
    """
    if header(scope, b"content-encoding") not in {"", "identity"}:
        raise _encoded()
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    piece, more = await _piece(receive)
    pieces, size = [piece], len(piece)
    try:
        async with asyncio.timeout(BODY_WITHIN_S) if more else nullcontext():
            while more and size <= limit_bytes:
                piece, more = await _piece(receive)
                pieces.append(piece)
                size += len(piece)
    except TimeoutError as error:
        raise _too_slow() from error
    if size > limit_bytes:
        raise _too_large(limit_bytes)
    return b"".join(pieces)


async def _piece(receive: Receive) -> tuple[bytes, bool]:
    """Return the next piece of a body and whether there are more."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message.get("body", b""), bool(message.get("more_body", False))


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that hands over a body that was read, and then what comes behind it."""
    first = True

    async def again() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


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


async def is_request(
    scope: Scope,
    receive: Receive,
    send: Send,
    start: Callable[[], None],
    stop: Callable[[], None],
) -> bool:
    """Return whether an HTTP request is to be answered; the lifespan is gone through here.

    What else there is, such as a websocket, nobody here speaks.
    """
    if scope["type"] == "lifespan":
        await _lifespan(receive, send, start, stop)
    return bool(scope["type"] == "http")


async def _lifespan(
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


def _encoded() -> RefusedError:
    return RefusedError(
        415,
        "Unsupported media type",
        "bodies are not compressed here: some kilobytes could fill the memory; send it as it is, "
        "or in Arrow, which is smaller",
        headers=(("accept-encoding", "identity"),),
    )


def _too_slow() -> RefusedError:
    return RefusedError(
        408,
        "Too slow",
        f"the body was not there within {BODY_WITHIN_S:.0f} s; send several smaller requests",
        headers=(("connection", "close"), ("retry-after", "2")),
    )
