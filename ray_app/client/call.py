"""What is to be asked: the value that the functions of `calls` return and a client sends.

What changes something carries an Idempotency-Key, so that it can be asked again when an answer got
lost; `Call.safe` says what may be asked again at all.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Call[T]:
    """What is to be asked.

    Attributes:
        operation: `operationId` of the OpenAPI description.
        method: HTTP method.
        path: Below the server's address.
        answer: The type that its answer decodes to.
        query: Parameters of the address; None is left out.
        body: Sent as JSON; None sends nothing.
        safe: Whether asking twice does no more than asking once.
        headers: Beside those that every request has.
    """

    operation: str
    method: str
    path: str
    answer: type[T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    safe: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


def get[T](
    operation: str, path: str, answer: type[T], query: Mapping[str, Any] | None = None
) -> Call[T]:
    """Return a call that only reads; parameters that are None or empty are left out."""
    given = {name: value for name, value in (query or {}).items() if value not in {None, ""}}
    return Call(
        operation=operation, method="GET", path=f"/api/v1{path}", answer=answer, query=given
    )


def post[T](  # noqa: PLR0913 - what a call is made of
    operation: str,
    path: str,
    answer: type[T],
    body: Any = None,
    *,
    safe: bool = True,
    key: str = "",
) -> Call[T]:
    """Return a call that changes something, with its Idempotency-Key where it takes one."""
    return Call(
        operation=operation,
        method="POST",
        path=f"/api/v1{path}",
        answer=answer,
        body=body,
        safe=safe,
        headers={"idempotency-key": key} if key else {},
    )


def part(name: str) -> str:
    """Return a name as a part of a path."""
    return quote(name, safe="")


def new_key() -> str:
    """Return an Idempotency-Key that nobody used."""
    return uuid.uuid4().hex
