"""Answers to requests with an Idempotency-Key: the same key asks for the same work once.

The key belongs to who asked and to one request. Whoever repeats it gets the first answer; whoever
repeats it while the work is under way is told to wait; with another request it is refused. What
was begun and never answered, because the process died, may be begun again after `_GIVEN_UP`: the
work behind such a key must itself be safe to repeat.
"""

import hashlib
from dataclasses import dataclass

from domain.errors import BadInputError, ConflictError
from storage.connect import Connection, rows

_KEPT = "1 day"
_GIVEN_UP = "10 minutes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that may be repeated.

    Attributes:
        holder: Name of the API key's holder.
        key: The Idempotency-Key.
        request: Method, path and body; equal texts are equal requests.
    """

    holder: str
    key: str
    request: str

    @property
    def sha256(self) -> str:
        """What the database keeps of the request."""
        return hashlib.sha256(self.request.encode()).hexdigest()


def begin(on: Connection, asked: Asked) -> str | None:
    """Begin the work, or return what was answered to it before.

    Raises:
        ConflictError: It is under way.
        BadInputError: The key was used for another request.
    """
    rows(
        on,
        "DELETE FROM answers WHERE begun_at < clock_timestamp() - %s::interval "
        "OR (answer IS NULL AND begun_at < clock_timestamp() - %s::interval)",
        (_KEPT, _GIVEN_UP),
    )
    begun = rows(
        on,
        "INSERT INTO answers (holder, key, request_sha256) VALUES (%s, %s, %s) "
        "ON CONFLICT DO NOTHING RETURNING 1",
        (asked.holder, asked.key, asked.sha256),
    )
    if begun:
        return None
    found = rows(
        on,
        "SELECT request_sha256, answer FROM answers WHERE holder = %s AND key = %s",
        (asked.holder, asked.key),
    )
    if found and found[0][0] != asked.sha256:
        raise BadInputError(
            "the key was used for another request", "Idempotency-Key", "Take a new key"
        )
    if not found or found[0][1] is None:
        raise ConflictError(
            f"the request with Idempotency-Key {asked.key!r} is under way: ask again soon"
        )
    return str(found[0][1])


def finish(on: Connection, asked: Asked, answer: str) -> None:
    """Keep the answer for a day."""
    rows(
        on,
        "UPDATE answers SET answer = %s WHERE holder = %s AND key = %s",
        (answer, asked.holder, asked.key),
    )


def abandon(on: Connection, asked: Asked) -> None:
    """Forget a request whose work failed, so that it may be asked for again."""
    rows(
        on,
        "DELETE FROM answers WHERE holder = %s AND key = %s AND answer IS NULL",
        (asked.holder, asked.key),
    )
