"""Who may do what over HTTP.

On loopback whoever is logged in to this host reads and predicts freely, and only what changes
something needs a key. Elsewhere, or with MILLWRIGHT_AUTH=required, everything needs one.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from ray_app.serve.asgi import Scope, header
from ray_app.serve.problems import RefusedError
from storage.api_keys import Holder, Role, digest

COOKIE = "millwright_key"
"""Holds the key of who logged in to the console."""

_REMEMBERED_S = 30.0
"""A revoked key opens for this long at most; a key outlives an absent database for as long."""

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Keys(Protocol):
    """Where keys are looked up."""

    def holder_of(self, key: str) -> Holder | None:
        """Return who holds a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a key is asked for.

    Attributes:
        reads: Also for reading and predicting.
    """

    reads: bool

    @classmethod
    def of(cls, auth: str, host: str) -> "Policy":
        """Return the policy of MILLWRIGHT_AUTH for a server that listens on `host`."""
        return cls(reads=auth == "required" or host not in _LOOPBACK)


class Guard:
    """Holds requests against a policy.

    Args:
        policy: When a key is asked for.
        keys: Where keys are looked up.
        clock: Monotonic seconds.
    """

    def __init__(
        self, policy: Policy, keys: Keys, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.policy = policy
        self._keys, self._clock = keys, clock
        self._remembered: dict[str, tuple[float, Holder]] = {}

    async def admit(self, scope: Scope, *, writes: bool, role: Role = "operator") -> Holder | None:
        """Let a request pass; return who asks, None for an anonymous reader.

        Args:
            scope: Of the request.
            writes: Whether it changes something.
            role: What a writer must at least be.

        Raises:
            RefusedError: A key is needed (401), or this one may not (403).
            ServiceUnavailableError: The key cannot be looked up now.
        """
        if not (writes or self.policy.reads):
            return None
        key = presented(scope, cookies=not writes)
        if not key:
            raise RefusedError(
                401,
                "Key needed",
                "send an API key as `Authorization: Bearer …`; `millwright key create` makes one",
                headers=(("www-authenticate", 'Bearer realm="millwright"'),),
            )
        holder = await self.holder(key)
        if holder is None:
            raise RefusedError(
                401,
                "Key needed",
                "this API key is unknown or was revoked",
                headers=(("www-authenticate", 'Bearer error="invalid_token"'),),
            )
        if writes and not holder.may(role):
            raise RefusedError(
                403, "Not allowed", f"{holder.name} is a {holder.role}; this needs the role {role}"
            )
        return holder

    async def holder(self, key: str) -> Holder | None:
        """Return who holds a key, remembered for a while."""
        mark, now = digest(key), self._clock()
        remembered = self._remembered.get(mark)
        if remembered is not None and now - remembered[0] < _REMEMBERED_S:
            return remembered[1]
        found = await asyncio.to_thread(self._keys.holder_of, key)
        if found is None:
            self._remembered.pop(mark, None)
        else:
            self._remembered[mark] = (now, found)
        return found


def presented(scope: Scope, *, cookies: bool) -> str:
    """Return the key a request presents; empty when it presents none.

    Args:
        scope: Of the request.
        cookies: Whether the console's cookie counts. It never does for what changes something,
            so that another site cannot make a browser change anything.
    """
    scheme, _, key = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    if not cookies:
        return ""
    try:
        found = SimpleCookie(header(scope, b"cookie")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
