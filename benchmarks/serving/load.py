"""The load generator, a process of its own: keep-alive connections that never pause.

    python -m benchmarks.serving.load URL BODY_FILE --connections 16 --seconds 4

Plain sockets: a client library would cost more than the server. Prints one JSON object.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import numpy as np
import uvloop

_PATIENCE_S = 30.0
"""After the end of the load; who has not answered by then has failed."""


class Caller(asyncio.Protocol):
    """One connection: asks, awaits the whole answer, asks again until the deadline."""

    def __init__(self, request: bytes, until: float) -> None:
        self._request, self._until = request, until
        self.took: list[float] = []
        self.last = 0.0
        self.statuses: dict[str, int] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer, self._began = bytearray(), 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or len(self._buffer) < head + 4 + _length(bytes(self._buffer[:head])):
            return
        self.last = time.perf_counter()
        self.took.append(self.last - self._began)
        self._count(self._buffer[9:12].decode())
        closes = b"\r\nconnection: close" in bytes(self._buffer[:head]).lower()
        self._buffer.clear()
        if closes or time.perf_counter() >= self._until:
            self._finish()
        else:
            self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count an answer that never came."""
        if not self.done.done():
            self._count("lost")
            self._finish()

    def give_up(self) -> None:
        """Count an answer that takes too long, and leave."""
        self._count("late")
        self._finish()

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _count(self, status: str) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        self._transport.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("the answer does not say how long it is")


async def _keep(
    host: str, port: int, request: bytes, until: float, refused: list[str]
) -> list[Caller]:
    callers = []
    while time.perf_counter() < until:
        loop = asyncio.get_running_loop()
        try:
            _, caller = await loop.create_connection(lambda: Caller(request, until), host, port)
        except OSError:
            refused.append(host)
            await asyncio.sleep(0.01)
            continue
        callers.append(caller)
        try:
            await asyncio.wait_for(
                asyncio.shield(caller.done), until + _PATIENCE_S - time.perf_counter()
            )
        except TimeoutError:
            caller.give_up()
    return callers


async def drive(url: str, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Ask for some seconds; return what was measured.

    Returns:
        `per_s` (2xx answers), `p50_ms`, `p99_ms`, `worst_ms`, `good`, `failed`.
    """
    at = urlsplit(url)
    request = (
        f"POST {at.path} HTTP/1.1\r\nhost: {at.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    began = time.perf_counter()
    until = began + seconds
    refused: list[str] = []
    kept = [
        _keep(at.hostname or "", at.port or 80, request, until, refused) for _ in range(connections)
    ]
    callers = [one for part in await asyncio.gather(*kept) for one in part]
    # Until the last answer: one that never comes is a failure, not half a minute without work.
    elapsed = max([one.last for one in callers], default=began) - began
    took = np.array([each for caller in callers for each in caller.took])
    good = sum(caller.statuses.get("200", 0) for caller in callers)
    failed = sum(sum(caller.statuses.values()) for caller in callers) - good + len(refused)
    p50, p99 = np.percentile(took, (50, 99)) if len(took) else (np.nan, np.nan)
    return {
        "per_s": good / elapsed if elapsed > 0 else 0.0,
        "p50_ms": float(p50) * 1e3,
        "p99_ms": float(p99) * 1e3,
        "worst_ms": float(took.max(initial=0)) * 1e3,
        "good": good,
        "failed": failed,
    }


def main() -> None:
    """Ask, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4)
    given = parser.parse_args()
    body = given.body.read_bytes()
    found = uvloop.run(drive(given.url, body, given.connections, given.seconds))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
