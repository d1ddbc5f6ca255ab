"""A small typed client of the HTTP API: `Client`, `AsyncClient`, and a function per operation.

    from ray_app.client import Client, calls

    with Client("http://127.0.0.1:8000") as millwright:
        told = millwright.send(calls.predict(calls.stored("pump-01")))

Each function of `calls` says what is to be asked and what comes back; the two clients send it, one
of them awaited. It needs httpx and msgspec and imports nothing else of Millwright.
"""

from ray_app.client import answers, calls
from ray_app.client.errors import ProblemError, UnreachableError
from ray_app.client.http import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "ProblemError", "UnreachableError", "answers", "calls"]
