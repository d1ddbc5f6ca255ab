"""Brings what waits in the outbox to webhooks, in a thread of its own beside the scorer.

It shares nothing with the scorer but the process: connections, loop and faults are its own. A
receiver that hangs holds up its own messages and nobody else's.
"""

import asyncio
import logging
import threading
from datetime import UTC, datetime
from time import monotonic

import httpx

from domain.errors import PlatformError
from domain.webhooks import MAX_ATTEMPTS, Format, body_of, next_pause_s, signature
from observability.catalogue import WEBHOOKS
from observability.metric import Metrics
from storage import outbox
from storage.outbox import Delivery
from storage.pool import Pool
from storage.settings import StorageSettings

_log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""An attempt ends after so long, whatever the receiver does meanwhile."""

_LEASE_S = 30.0
_POLL_S = 0.5
_AT_ONCE = 16
_PAUSE_S = 2.0
_REMIND_S = 300.0
_KEPT_DAYS = 7
_SWEEP_EVERY_S = 60.0


class Courier:
    """Delivers until told otherwise.

    Args:
        storage: Where Postgres is.
        metrics: Told of every attempt.
        lease_s: Seconds until another courier takes what this one died with.
        timeout_s: Seconds that an attempt may last; less than the lease.
    """

    def __init__(
        self,
        storage: StorageSettings,
        metrics: Metrics,
        *,
        lease_s: float = _LEASE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._metrics, self._lease_s, self._timeout_s = metrics, lease_s, timeout_s
        self._pool = Pool(lambda: storage, keep=2, application="millwright courier")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._swept_at = -_SWEEP_EVERY_S

    def start(self) -> None:
        """Deliver in the background until `close`."""
        self._thread = threading.Thread(target=self.run, name="courier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let attempts under way end, which takes no longer than one may; then stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._pool.close()

    def run(self) -> None:
        """Deliver until stopped, whatever goes wrong."""
        while not self._stop.is_set():
            try:
                asyncio.run(self._deliver())
            except PlatformError as error:
                _log.warning("webhooks wait: %s", error)
                self._stop.wait(_PAUSE_S)
            except Exception:  # noqa: BLE001 - a thread that dies would leave every message undelivered
                _log.exception("webhooks wait")
                self._stop.wait(_PAUSE_S)

    async def _deliver(self) -> None:
        under_way: dict[asyncio.Task[str], Delivery] = {}
        async with httpx.AsyncClient(timeout=self._timeout_s, trust_env=False) as client:
            try:
                while not self._stop.is_set():
                    self._sweep()
                    busy = [one.webhook_id for one in under_way.values()]
                    for one in self._claim(_AT_ONCE - len(busy), busy):
                        task = asyncio.create_task(attempt(client, one, self._timeout_s))
                        under_way[task] = one
                    await self._settle_some(under_way, _POLL_S)
            finally:
                while under_way:
                    await self._settle_some(under_way, self._timeout_s)

    async def _settle_some(
        self, under_way: dict[asyncio.Task[str], Delivery], wait_s: float
    ) -> None:
        if not under_way:
            await asyncio.sleep(wait_s)
            return
        done, _ = await asyncio.wait(under_way, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            self._settle(under_way.pop(task), task.result())

    def _claim(self, most: int, busy: list[int]) -> list[Delivery]:
        if most <= 0:
            return []
        with self._pool.session() as on:
            return outbox.claim(on, most=most, lease_s=self._lease_s, busy=busy)

    def _settle(self, one: Delivery, error: str) -> None:
        dead = bool(error) and one.attempts >= MAX_ATTEMPTS
        outcome = "dead" if dead else "failed" if error else "delivered"
        self._metrics.add(WEBHOOKS, outcome=outcome)
        if error:
            _log.warning("webhook %d, delivery %d: %s", one.webhook_id, one.id, error)
        with self._pool.session() as on:
            pause_s = next_pause_s(one.attempts)
            outbox.settle(on, one, error=error, pause_s=pause_s, dead=dead)

    def _sweep(self) -> None:
        if monotonic() - self._swept_at < _SWEEP_EVERY_S:
            return
        with self._pool.session() as on:
            outbox.remind(on, every_s=_REMIND_S)
            outbox.prune(on, kept_days=_KEPT_DAYS)
        self._swept_at = monotonic()


async def attempt(client: httpx.AsyncClient, one: Delivery, timeout_s: float) -> str:
    """Send one message once; return why it was not taken, empty when it was.

    Whatever is returned names neither URL nor secret: it is shown to people.
    """
    now = datetime.now(UTC)
    body = body_of(Format(one.format), one.id, one.event, now)
    timestamp_s = int(now.timestamp())
    headers = {
        "content-type": "application/json",
        "user-agent": "millwright",
        "x-millwright-event": str(one.event["event"]),
        "x-millwright-delivery": str(one.id),
        "x-millwright-timestamp": str(timestamp_s),
    }
    if one.secret:
        headers["x-millwright-signature"] = signature(one.secret, timestamp_s, body)
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.stream("POST", one.url, content=body, headers=headers) as answer,
        ):
            # What it says beside is not read: it may be endless.
            return "" if answer.is_success else f"HTTP {answer.status_code}"
    except (TimeoutError, httpx.TimeoutException):
        return f"no answer within {timeout_s:g} s"
    except httpx.ConnectError as error:
        reason = error.__cause__ or error
        return f"cannot connect ({type(reason).__name__})"
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return f"{type(error).__name__} while it was sent"


def send_now(one: Delivery) -> str:
    """Send a message now, and return why it was not taken; for `webhook test`."""

    async def send() -> str:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            return await attempt(client, one, TIMEOUT_S)

    return asyncio.run(send())
