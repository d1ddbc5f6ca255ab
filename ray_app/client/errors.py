"""What a client may meet.

ClientError
├── ProblemError       the server refused: an RFC 9457 problem
└── UnreachableError   nobody answered
"""

from typing import Any


class ClientError(Exception):
    """Root of the two below."""


class ProblemError(ClientError):
    """The server refused.

    Attributes:
        status: HTTP status.
        title: The kind in words.
        detail: What happened and what to do next.
        type: URN of the kind of problem; stable, for programs.
        errors: `{detail, pointer}` per wrong place in the body.
    """

    def __init__(
        self, status: int, title: str, detail: str, kind: str, errors: tuple[dict[str, Any], ...]
    ) -> None:
        super().__init__(status, title, detail, kind, errors)
        self.status, self.title, self.detail = status, title, detail
        self.type, self.errors = kind, errors

    def __str__(self) -> str:
        return f"{self.status} {self.title}: {self.detail}"


class UnreachableError(ClientError):
    """Nobody answered, also when asked again.

    Attributes:
        url: Who was asked.
        reason: What the connection said.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        return f"{self.url} does not answer: {self.reason}. Is `millwright up` running?"
