"""Sends calls over httpx: one who waits, one who is awaited, by the same decisions."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from ray_app.client.call import Call
from ray_app.client.errors import ProblemError, UnreachableError

_AGAIN = frozenset({408, 429, 502, 503, 504})
"""Statuses that pass by themselves."""

_NOT_BEGUN = frozenset({429, 503})
"""Of these the ones that say that nothing was done: also what is not safe may be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long is asked again.

    Attributes:
        tries: In all, the first one included; 1 never asks again.
        first_s: Before the second try, where the server names no time; doubled each time.
        most_s: Longest wait, also where the server names a longer one.
    """

    tries: int = 4
    first_s: float = 0.5
    most_s: float = 30.0

    def wait_s(self, tried: int, named: str) -> float:
        """Return the seconds until the next try.

        Args:
            tried: How often it was tried, 1 or more.
            named: `Retry-After` of the answer; empty where there is none.
        """
        if named.isdigit():
            return min(float(named), self.most_s)
        longest = min(self.first_s * 2.0 ** (tried - 1), self.most_s)
        # Clients that failed together should not come back together.
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class _Exchange[T]:
    """One call under way: decides after each try, and does no I/O itself."""

    def __init__(self, call: Call[T], patience: Patience) -> None:
        self._call, self._patience, self._tried = call, patience, 0

    def request(self) -> dict[str, Any]:
        """Return what httpx is to send."""
        call = self._call
        more: dict[str, Any] = {}
        headers = {"accept": "application/json", **call.headers}
        if call.body is not None:
            more["content"] = msgspec.json.encode(call.body)
            headers["content-type"] = "application/json"
        return {
            "method": call.method,
            "url": call.path,
            "params": dict(call.query),
            "headers": headers,
            **more,
        }

    def failed(self, error: httpx.TransportError, url: str) -> float:
        """Return the seconds until the next try.

        Raises:
            UnreachableError: There is none.
        """
        self._tried += 1
        begun = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        if self._tried >= self._patience.tries or (begun and not self._call.safe):
            raise UnreachableError(url, str(error) or type(error).__name__) from error
        return self._patience.wait_s(self._tried, "")

    def answered(self, answer: httpx.Response) -> float | None:
        """Return the seconds until the next try; None when the answer stands."""
        self._tried += 1
        status = answer.status_code
        again = status in _AGAIN and (self._call.safe or status in _NOT_BEGUN)
        if not again or self._tried >= self._patience.tries:
            return None
        return self._patience.wait_s(self._tried, answer.headers.get("retry-after", ""))

    def result(self, answer: httpx.Response) -> T:
        """Return what was answered.

        Raises:
            ProblemError: A refusal, or an answer that is none of this API.
        """
        if answer.is_success:
            try:
                return msgspec.json.decode(answer.content, type=self._call.answer)
            except msgspec.DecodeError as error:
                raise ProblemError(
                    answer.status_code, "Not understood", str(error), "about:blank", ()
                ) from error
        try:
            told = msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError:
            told = {}
        raise ProblemError(
            answer.status_code,
            str(told.get("title", answer.reason_phrase)),
            str(told.get("detail", answer.text[:300])),
            str(told.get("type", "about:blank")),
            tuple(told.get("errors", ())),
        )


class Client:
    """Sends calls and waits for their answers; safe to use from several threads.

    Args:
        url: Of the server, as `millwright env` says it.
        key: An API key; reading and predicting on loopback need none.
        patience: How often and how long is asked again.
        timeout_s: Of one try.
        transport: For tests.
        sleep: For tests.
    """

    def __init__(  # noqa: PLR0913 - keyword-only, each with its default
        self,
        url: str,
        *,
        key: str = "",
        patience: Patience | None = None,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience, self._sleep, self._url = patience or Patience(), sleep, url
        self._http = httpx.Client(
            base_url=url, headers=_headers(key), timeout=timeout_s, transport=transport
        )

    def send[T](self, call: Call[T]) -> T:
        """Return the answer to a call.

        Raises:
            ProblemError: The server refused.
            UnreachableError: Nobody answered.
        """
        exchange = _Exchange(call, self._patience)
        while True:
            try:
                answer = self._http.request(**exchange.request())
            except httpx.TransportError as error:
                self._sleep(exchange.failed(error, self._url))
                continue
            wait_s = exchange.answered(answer)
            if wait_s is None:
                return exchange.result(answer)
            self._sleep(wait_s)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """As `Client`, awaited.

    Args:
        url: Of the server.
        key: An API key.
        patience: How often and how long is asked again.
        timeout_s: Of one try.
        transport: For tests.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        patience: Patience | None = None,
        timeout_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._patience, self._url = patience or Patience(), url
        self._http = httpx.AsyncClient(
            base_url=url, headers=_headers(key), timeout=timeout_s, transport=transport
        )

    async def send[T](self, call: Call[T]) -> T:
        """Return the answer to a call.

        Raises:
            ProblemError: The server refused.
            UnreachableError: Nobody answered.
        """
        exchange = _Exchange(call, self._patience)
        while True:
            try:
                answer = await self._http.request(**exchange.request())
            except httpx.TransportError as error:
                await asyncio.sleep(exchange.failed(error, self._url))
                continue
            wait_s = exchange.answered(answer)
            if wait_s is None:
                return exchange.result(answer)
            await asyncio.sleep(wait_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}
